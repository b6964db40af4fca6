// SPDX-License-Identifier: Apache-2.0
#include "wire/netlink.hpp"

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/bytes.hpp"

namespace lb::wire {
namespace {

constexpr std::size_t align(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

constexpr std::size_t kHeaderSize = sizeof(nlmsghdr);
constexpr std::size_t kCommandSize = sizeof(genlmsghdr);
constexpr std::size_t kAttributeHeaderSize = sizeof(nlattr);
/// The length field has 16 bits and counts the header.
constexpr std::size_t kMaxAttributeData = 0xffff - kAttributeHeaderSize;

bool follows(const AttributeRule& rule, std::span<const std::byte> data, int& error) noexcept {
  using Kind = AttributeRule::Kind;
  error = ERANGE;
  switch (rule.kind) {
    case Kind::kIgnored:
      return true;
    case Kind::kAtLeast:
      return data.size() >= rule.size;
    case Kind::kAtMost:
      return data.size() <= rule.size;
    case Kind::kNested:
      return data.empty() || data.size() >= kAttributeHeaderSize;
    case Kind::kText: {
      const auto searched = data.first(std::min<std::size_t>(data.size(), rule.size + 1U));
      if (std::find(searched.begin(), searched.end(), std::byte{0}) == searched.end()) {
        error = EINVAL;
        return false;
      }
      const auto length = data.back() == std::byte{0} ? data.size() - 1 : data.size();
      return length <= rule.size;
    }
  }
  return false;
}

template <class T>
T number(std::span<const std::byte> data) noexcept {
  return net::holds(data, 0, sizeof(T)) ? net::load<T>(data) : T{0};
}

}  // namespace

std::optional<MessageView> take_message(std::span<const std::byte>& bytes) noexcept {
  if (!net::holds(bytes, 0, kHeaderSize)) return std::nullopt;
  const auto raw = net::load<nlmsghdr>(bytes);
  if (raw.nlmsg_len < kHeaderSize || raw.nlmsg_len > bytes.size()) return std::nullopt;

  MessageView view;
  view.bytes = bytes.first(raw.nlmsg_len);
  view.payload = view.bytes.subspan(kHeaderSize);
  view.header.type = raw.nlmsg_type;
  view.header.flags = raw.nlmsg_flags;
  view.header.sequence = raw.nlmsg_seq;
  view.header.port_id = raw.nlmsg_pid;
  if (raw.nlmsg_type >= NLMSG_MIN_TYPE && net::holds(view.payload, 0, kCommandSize)) {
    const auto command = net::load<genlmsghdr>(view.payload);
    view.has_command = true;
    view.header.command = command.cmd;
    view.header.version = command.version;
    view.attributes = view.payload.subspan(kCommandSize);
  }
  bytes = bytes.subspan(std::min<std::size_t>(align(raw.nlmsg_len), bytes.size()));
  return view;
}

std::optional<MessageView> view_message(std::span<const std::byte> bytes) noexcept {
  return take_message(bytes);
}

void MessageWriter::append(const void* data, std::size_t size) {
  const auto old = out_.size();
  out_.resize(old + align(size));
  if (size != 0) std::memcpy(out_.data() + old, data, size);
}

void MessageWriter::begin_plain(const MessageHeader& header) {
  start_ = out_.size();
  const nlmsghdr raw{.nlmsg_len = 0,
                     .nlmsg_type = header.type,
                     .nlmsg_flags = header.flags,
                     .nlmsg_seq = header.sequence,
                     .nlmsg_pid = header.port_id};
  append(&raw, sizeof raw);
}

void MessageWriter::begin(const MessageHeader& header) {
  begin_plain(header);
  const genlmsghdr raw{.cmd = header.command, .version = header.version, .reserved = 0};
  append(&raw, sizeof raw);
}

void MessageWriter::end() {
  net::store(out_, start_, static_cast<std::uint32_t>(out_.size() - start_));
}

void MessageWriter::put(unsigned type, const void* data, std::size_t size) {
  const auto kept = std::min(size, kMaxAttributeData);
  const nlattr header{.nla_len = static_cast<std::uint16_t>(kAttributeHeaderSize + kept),
                      .nla_type = static_cast<std::uint16_t>(type)};
  append(&header, sizeof header);
  append(data, kept);
}

void MessageWriter::put_u8(unsigned type, std::uint8_t value) { put(type, &value, sizeof value); }
void MessageWriter::put_u16(unsigned type, std::uint16_t value) { put(type, &value, sizeof value); }
void MessageWriter::put_u32(unsigned type, std::uint32_t value) { put(type, &value, sizeof value); }
void MessageWriter::put_u64(unsigned type, std::uint64_t value) { put(type, &value, sizeof value); }

void MessageWriter::put_u64_aligned(unsigned type, std::uint64_t value, unsigned pad) {
  if ((out_.size() - start_) % sizeof value == 0) put(pad, nullptr, 0);
  put_u64(type, value);
}

void MessageWriter::put_string(unsigned type, std::string_view text) {
  text = text.substr(0, kMaxAttributeData - 1);
  const nlattr header{.nla_len = static_cast<std::uint16_t>(kAttributeHeaderSize + text.size() + 1),
                      .nla_type = static_cast<std::uint16_t>(type)};
  append(&header, sizeof header);
  const auto old = out_.size();
  out_.resize(old + align(text.size() + 1));
  std::copy_n(std::as_bytes(std::span(text)).begin(), text.size(),
              out_.begin() + static_cast<std::ptrdiff_t>(old));
}

void MessageWriter::put_bytes(unsigned type, std::span<const std::byte> data) {
  put(type, data.data(), data.size());
}

std::size_t MessageWriter::begin_nest(unsigned type) {
  const auto nest = out_.size();
  put(type, nullptr, 0);
  return nest;
}

void MessageWriter::end_nest(std::size_t nest) {
  net::store(out_, nest, static_cast<std::uint16_t>(out_.size() - nest));
}

void MessageWriter::put_raw(std::span<const std::byte> data) { append(data.data(), data.size()); }

std::optional<Attribute> take_attribute(std::span<const std::byte>& bytes) noexcept {
  if (!net::holds(bytes, 0, kAttributeHeaderSize)) return std::nullopt;
  const auto header = net::load<nlattr>(bytes);
  if (header.nla_len < kAttributeHeaderSize || header.nla_len > bytes.size()) return std::nullopt;
  Attribute attribute;
  attribute.type = header.nla_type & static_cast<unsigned>(NLA_TYPE_MASK);
  attribute.data = bytes.first(header.nla_len).subspan(kAttributeHeaderSize);
  bytes = bytes.subspan(std::min(align(header.nla_len), bytes.size()));
  return attribute;
}

Result<AttributeTable> AttributeTable::parse(std::span<const std::byte> bytes,
                                             AttributeRules rules) noexcept {
  AttributeTable table;
  while (const auto attribute = take_attribute(bytes)) {
    const auto type = attribute->type;
    if (type == 0 || type >= rules.size()) continue;
    int error = 0;
    if (!follows(rules[type], attribute->data, error)) return failure(error);
    if (rules[type].kind != AttributeRule::Kind::kIgnored) {
      table.attributes_[type] = attribute->data;
    }
  }
  return table;
}

std::uint8_t AttributeTable::u8(unsigned type) const noexcept {
  return number<std::uint8_t>(bytes(type));
}
std::uint16_t AttributeTable::u16(unsigned type) const noexcept {
  return number<std::uint16_t>(bytes(type));
}
std::uint32_t AttributeTable::u32(unsigned type) const noexcept {
  return number<std::uint32_t>(bytes(type));
}
std::uint64_t AttributeTable::u64(unsigned type) const noexcept {
  return number<std::uint64_t>(bytes(type));
}

std::string_view AttributeTable::text(unsigned type) const noexcept {
  const auto data = bytes(type);
  const auto zero = std::find(data.begin(), data.end(), std::byte{0});
  // char may alias any object, std::byte included.
  return {static_cast<const char*>(static_cast<const void*>(data.data())),
          static_cast<std::size_t>(zero - data.begin())};
}

}  // namespace lb::wire
