// SPDX-License-Identifier: Apache-2.0
// A handler on requests that nobody meant. It may refuse or obey, but every datagram it answers
// must consist of whole messages. Meant to be run with the sanitizers as well.
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <vector>

#include "control/request_handler.hpp"
#include "control/test_director.hpp"
#include "net/bytes.hpp"
#include "wire/family.hpp"
#include "wire/recorded_messages.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::control {
namespace {

using wire::Message;

/// Takes the whole answer to `request`; returns the number of messages in it.
std::size_t exhaust(const RequestHandler& handler, const Message& request) {
  const auto answer = handler.handle(request, 1);
  std::vector<std::byte> datagram;
  std::size_t messages = 0;
  while (answer->next(datagram)) {
    std::span<const std::byte> rest = datagram;
    while (wire::take_message(rest)) ++messages;
    EXPECT_TRUE(rest.empty());
  }
  return messages;
}

/// The recorded requests, as for our own family.
std::vector<Message> requests() {
  std::vector<Message> result;
  for (auto& message : wire::distinct_recorded_messages()) {
    if (!message.to_kernel) continue;
    constexpr std::size_t kTypeAt = offsetof(nlmsghdr, nlmsg_type);
    if (net::load<std::uint16_t>(message.bytes, kTypeAt) == wire::kRecordedIpvsFamily) {
      net::store(message.bytes, kTypeAt, wire::kIpvsFamily);
    }
    result.push_back(std::move(message.bytes));
  }
  return result;
}

TEST(HostileRequest, EveryTruncation) {
  TestDirector own;
  const RequestHandler handler(own.director, nullptr);
  for (const auto& seed : requests()) {
    EXPECT_GE(exhaust(handler, seed), 1U);
    for (std::size_t size = 0; size < seed.size(); ++size) {
      Message cut(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(exhaust(handler, cut), 0U);
      if (size < sizeof(nlmsghdr)) continue;
      net::store(cut, 0, static_cast<std::uint32_t>(size));
      EXPECT_GE(exhaust(handler, cut), 1U);
    }
  }
}

TEST(HostileRequest, EveryCommandWithTheAttributesOfAnother) {
  TestDirector own;
  own.add_interface(1, {"192.0.2.1/24", "10.0.0.1/24"});
  const RequestHandler handler(own.director, nullptr);
  constexpr std::size_t kCommandAt = sizeof(nlmsghdr);
  constexpr auto kHighestCommand = static_cast<unsigned>(wire::SluiceCommand::kNewSnatConflict);
  for (const auto type : {wire::kControllerFamily, wire::kIpvsFamily, wire::kSluiceFamily}) {
    for (auto seed : requests()) {
      net::store(seed, offsetof(nlmsghdr, nlmsg_type), type);
      for (unsigned command = 0; command <= kHighestCommand + 1; ++command) {
        seed[kCommandAt] = static_cast<std::byte>(command);
        EXPECT_GE(exhaust(handler, seed), 1U);
      }
    }
  }
}

TEST(HostileRequest, EveryLengthAndNumber) {
  TestDirector own;
  own.add_interface(1, {"192.0.2.1/24", "10.0.0.1/24"});
  const RequestHandler handler(own.director, nullptr);
  constexpr std::size_t kAttributesAt = sizeof(nlmsghdr) + 4;
  constexpr auto kValues = std::to_array<std::uint16_t>({0, 1, 3, 4, 8, 0x7fff, 0x8000, 0xffff});
  for (const auto& seed : requests()) {
    for (std::size_t at = kAttributesAt; at + 2 <= seed.size(); at += 2) {
      for (const auto value : kValues) {
        auto changed = seed;
        net::store(changed, at, value);
        EXPECT_GE(exhaust(handler, changed), 1U);
      }
    }
  }
}

RC_GTEST_PROP(HostileRequest, AnyBytes, (const std::vector<std::uint8_t>& bytes)) {
  TestDirector own;
  const RequestHandler handler(own.director, nullptr);
  Message datagram(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) datagram[i] = std::byte{bytes[i]};
  RC_ASSERT(exhaust(handler, datagram) <= datagram.size());
}

}  // namespace
}  // namespace lb::control
