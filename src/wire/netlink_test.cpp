// SPDX-License-Identifier: Apache-2.0
#include "wire/netlink.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cerrno>
#include <string>

#include "net/bytes.hpp"

namespace lb::wire {
namespace {

using Kind = AttributeRule::Kind;

constexpr std::array<AttributeRule, 7> kRules{{
    {},
    {Kind::kAtLeast, 4},
    {Kind::kAtMost, 16},
    {Kind::kText, 16},
    {Kind::kNested, 0},
    {},
    {Kind::kAtLeast, 8},
}};

template <class Fill>
Message attributes(Fill fill) {
  Message message;
  MessageWriter writer(message);
  fill(writer);
  return message;
}

int error_of(const Message& bytes) {
  const auto table = AttributeTable::parse(bytes, kRules);
  return table ? 0 : table.error().code;
}

TEST(AttributeTable, IgnoresWhatItDoesNotKnow) {
  const auto bytes = attributes([](MessageWriter& writer) {
    writer.put_u8(0, 1);
    writer.put_u32(5, 7);   // no rule
    writer.put_u32(99, 8);  // beyond the rules
    writer.put_u32(1, 42);
  });
  const auto table = AttributeTable::parse(bytes, kRules);
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ(table->u32(1), 42U);
  EXPECT_FALSE(table->has(0));
  EXPECT_FALSE(table->has(5));
  EXPECT_FALSE(table->has(99));
  EXPECT_EQ(table->u32(99), 0U);
}

TEST(AttributeTable, LastOneOfATypeCounts) {
  const auto bytes = attributes([](MessageWriter& writer) {
    writer.put_u32(1, 1);
    writer.put_u32(1, 2);
  });
  EXPECT_EQ(AttributeTable::parse(bytes, kRules)->u32(1), 2U);
}

TEST(AttributeTable, NestsMayBeMarkedOrNot) {
  for (const unsigned bit : {0U, unsigned{NLA_F_NESTED}}) {
    const auto bytes = attributes([&](MessageWriter& writer) {
      const auto nest = writer.begin_nest(4 | bit);
      writer.put_u32(1, 5);
      writer.end_nest(nest);
    });
    const auto outer = AttributeTable::parse(bytes, kRules);
    ASSERT_TRUE(outer.has_value());
    EXPECT_EQ(AttributeTable::parse(outer->bytes(4), kRules)->u32(1), 5U);
  }
}

TEST(AttributeTable, BytesThatAreNoAttributeEndTheList) {
  auto bytes = attributes([](MessageWriter& writer) { writer.put_u32(1, 9); });
  bytes.resize(bytes.size() + 3);
  EXPECT_EQ(AttributeTable::parse(bytes, kRules)->u32(1), 9U);
  // Lengths that are too short (an endless loop, if believed) or too long.
  for (const auto length : std::to_array<std::uint16_t>({0, 3, 200})) {
    auto broken = attributes([](MessageWriter& writer) {
      writer.put_u32(1, 9);
      writer.put_u32(2, 1);
    });
    net::store(broken, 8, length);
    const auto table = AttributeTable::parse(broken, kRules);
    ASSERT_TRUE(table.has_value());
    EXPECT_EQ(table->u32(1), 9U);
    EXPECT_FALSE(table->has(2));
  }
}

TEST(AttributeTable, LengthsAreThoseOfTheKernel) {
  const auto with = [](unsigned type, std::size_t size) {
    return attributes([&](MessageWriter& writer) { writer.put_bytes(type, Message(size)); });
  };
  EXPECT_EQ(error_of(with(1, 3)), ERANGE);
  EXPECT_EQ(error_of(with(1, 4)), 0);
  EXPECT_EQ(error_of(with(1, 5)), 0);
  EXPECT_EQ(error_of(with(2, 0)), 0);
  EXPECT_EQ(error_of(with(2, 16)), 0);
  EXPECT_EQ(error_of(with(2, 17)), ERANGE);
  EXPECT_EQ(error_of(with(4, 0)), 0);
  EXPECT_EQ(error_of(with(4, 3)), ERANGE);
  EXPECT_EQ(error_of(with(4, 4)), 0);
}

TEST(AttributeTable, TextNeedsItsZero) {
  const auto raw = [](const std::string& text) {
    return attributes(
        [&](MessageWriter& writer) { writer.put_bytes(3, std::as_bytes(std::span(text))); });
  };
  using namespace std::string_literals;
  EXPECT_EQ(error_of(raw("rr")), EINVAL);
  EXPECT_EQ(error_of(raw("")), EINVAL);
  EXPECT_EQ(error_of(raw("rr\0"s)), 0);
  EXPECT_EQ(error_of(raw(std::string(16, 'x') + "\0"s)), 0);
  EXPECT_EQ(error_of(raw(std::string(17, 'x') + "\0"s)), EINVAL);
  EXPECT_EQ(error_of(raw("rr\0"s + std::string(17, 'x'))), ERANGE);
  EXPECT_EQ(AttributeTable::parse(raw("rr\0more"s), kRules)->text(3), "rr");
}

TEST(MessageWriter, PadsBefore64BitNumbersThatWouldLieAskew) {
  Message message;
  MessageWriter writer(message);
  writer.begin({.type = 0x20, .command = 1});  // 20 bytes: data of the next attribute is at 24
  writer.put_u64_aligned(6, 1, 5);
  EXPECT_EQ(message.size(), 32U);
  writer.put_u64_aligned(6, 1, 5);
  EXPECT_EQ(message.size(), 48U);  // 4 of padding, 12 of number
  writer.end();
  EXPECT_EQ(net::load<std::uint32_t>(message), 48U);
}

TEST(MessageWriter, CutsWhatNoAttributeCanHold) {
  Message message;
  MessageWriter writer(message);
  writer.begin({.type = 0x20, .command = 1});
  writer.put_string(3, std::string(100'000, 'x'));
  writer.end();
  auto rest = view_message(message)->attributes;
  const auto attribute = take_attribute(rest);
  ASSERT_TRUE(attribute.has_value());
  EXPECT_EQ(attribute->data.size(), 0xffffU - 4);
  EXPECT_EQ(attribute->data.back(), std::byte{0});
}

TEST(TakeMessage, SplitsADatagram) {
  Message datagram;
  MessageWriter writer(datagram);
  for (std::uint8_t command = 1; command <= 3; ++command) {
    writer.begin({.type = 0x20, .command = command});
    writer.put_u8(1, command);
    writer.end();
  }
  std::span<const std::byte> rest = datagram;
  for (unsigned command = 1; command <= 3; ++command) {
    const auto view = take_message(rest);
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(view->header.command, command);
  }
  EXPECT_FALSE(take_message(rest).has_value());
}

TEST(TakeMessage, RefusesWrongLengths) {
  Message message;
  MessageWriter writer(message);
  writer.begin({.type = 0x20, .command = 1});
  writer.end();
  for (const std::uint32_t length : {0U, 15U, 21U, 0xffffffffU}) {
    net::store(message, 0, length);
    EXPECT_FALSE(view_message(message).has_value()) << length;
  }
  net::store(message, 0, std::uint32_t{18});
  ASSERT_TRUE(view_message(message).has_value());
  EXPECT_FALSE(view_message(message)->has_command);
}

}  // namespace
}  // namespace lb::wire
