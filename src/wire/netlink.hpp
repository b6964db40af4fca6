// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "net/byte_order.hpp"
#include "net/result.hpp"
#include "wire/transport.hpp"

/// Netlink messages (RFC 3549, linux/netlink.h) and their attributes as bytes.
///
/// A message is a 16-byte header, for generic netlink a 4-byte command header, then attributes:
/// 16-bit length (header included), 16-bit type, data, padding to 4. An attribute may hold
/// attributes. All numbers are in host order unless a name says otherwise.
///
/// Reading follows the kernel's "liberal" rules: unknown types are ignored, data longer than a
/// number needs is tolerated, of several attributes of one type the last counts, and bytes that
/// don't form an attribute end the list.
namespace lb::wire {

/// The fields of the message header and of the generic-netlink header.
struct MessageHeader {
  std::uint16_t type = 0;  ///< a family id, or NLMSG_ERROR, NLMSG_DONE
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;
  std::uint8_t command = 0;  ///< 0 for types below NLMSG_MIN_TYPE
  std::uint8_t version = 1;
};

/// A message inside a longer span of bytes.
struct MessageView {
  MessageHeader header;
  std::span<const std::byte> bytes{};    ///< the whole message, headers included
  std::span<const std::byte> payload{};  ///< behind the netlink header
  /// False for a family message that is too short for its command header.
  bool has_command = false;
  std::span<const std::byte> attributes{};  ///< behind the generic-netlink header
};

/// Takes the first message off `bytes`, or returns nothing if there is no whole one.
[[nodiscard]] std::optional<MessageView> take_message(std::span<const std::byte>& bytes) noexcept;
/// As `take_message`, of a span that holds one message.
[[nodiscard]] std::optional<MessageView> view_message(std::span<const std::byte> bytes) noexcept;

/// Appends messages to a buffer.
class MessageWriter {
 public:
  /// `out` must outlive the writer. What it holds already stays in front.
  explicit MessageWriter(Message& out) noexcept : out_(out) {}

  /// Starts a family message (both headers).
  void begin(const MessageHeader& header);
  /// Starts a message without command header (NLMSG_ERROR, NLMSG_DONE).
  void begin_plain(const MessageHeader& header);
  /// Completes the length of the message in work.
  void end();

  void put_u8(unsigned type, std::uint8_t value);
  void put_u16(unsigned type, std::uint16_t value);
  void put_u32(unsigned type, std::uint32_t value);
  void put_u64(unsigned type, std::uint64_t value);
  /// As the kernel's nla_put_64bit: puts an empty attribute `pad` first if otherwise the value
  /// would not lie on an 8-byte border of the message.
  void put_u64_aligned(unsigned type, std::uint64_t value, unsigned pad);
  void put_be16(unsigned type, net::Be16 value) { put_u16(type, value.to_network()); }
  void put_be32(unsigned type, net::Be32 value) { put_u32(type, value.to_network()); }
  /// Text with a terminating zero. What doesn't fit an attribute is cut off.
  void put_string(unsigned type, std::string_view text);
  void put_bytes(unsigned type, std::span<const std::byte> data);
  /// Starts a nested attribute; hand the result to `end_nest`.
  [[nodiscard]] std::size_t begin_nest(unsigned type);
  void end_nest(std::size_t nest);
  /// Appends bytes that are no attribute, padded to 4.
  void put_raw(std::span<const std::byte> data);

 private:
  void append(const void* data, std::size_t size);
  void put(unsigned type, const void* data, std::size_t size);

  Message& out_;
  std::size_t start_ = 0;  ///< of the message in work
};

struct Attribute {
  unsigned type = 0;  ///< without the flag bits NLA_F_NESTED and NLA_F_NET_BYTEORDER
  std::span<const std::byte> data;
};
/// Takes the first attribute off `bytes`, or returns nothing if there is no whole one.
[[nodiscard]] std::optional<Attribute> take_attribute(std::span<const std::byte>& bytes) noexcept;

/// What an attribute must look like (nla_policy, linux/netlink.h).
struct AttributeRule {
  enum class Kind : std::uint8_t {
    kIgnored,  ///< no such attribute, or one that is not read
    kAtLeast,  ///< `size` bytes or more: a number
    kAtMost,   ///< `size` bytes or less
    kText,     ///< at most `size` characters and a zero
    kNested,   ///< empty, or room for one attribute header
  };
  Kind kind = Kind::kIgnored;
  std::uint16_t size = 0;
};

/// The rules of one level: `rules[t]` is for type t.
class AttributeRules {
 public:
  static constexpr std::size_t kMost = 64;

  template <std::size_t N>
  constexpr AttributeRules(const std::array<AttributeRule, N>& rules) noexcept  // NOLINT: a view
      : rules_(rules) {
    static_assert(N <= kMost, "attributes beyond would read as absent: raise kMost");
  }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return rules_.size(); }
  [[nodiscard]] constexpr const AttributeRule& operator[](std::size_t type) const noexcept {
    return rules_[type];
  }

 private:
  std::span<const AttributeRule> rules_;
};

/// The attributes of one level by type. Those absent, and those without a rule, read as absent.
class AttributeTable {
 public:
  /// Sorts the attributes of `bytes`. ERANGE or EINVAL, as the kernel gives, if one breaks its
  /// rule.
  [[nodiscard]] static Result<AttributeTable> parse(std::span<const std::byte> bytes,
                                                    AttributeRules rules) noexcept;

  [[nodiscard]] bool has(unsigned type) const noexcept {
    return type < attributes_.size() && attributes_[type].data() != nullptr;
  }
  /// The data of an attribute, or no bytes if it is absent.
  [[nodiscard]] std::span<const std::byte> bytes(unsigned type) const noexcept {
    return type < attributes_.size() ? attributes_[type] : std::span<const std::byte>{};
  }
  /// Numbers; 0 if absent or too short.
  [[nodiscard]] std::uint8_t u8(unsigned type) const noexcept;
  [[nodiscard]] std::uint16_t u16(unsigned type) const noexcept;
  [[nodiscard]] std::uint32_t u32(unsigned type) const noexcept;
  [[nodiscard]] std::uint64_t u64(unsigned type) const noexcept;
  [[nodiscard]] net::Be16 be16(unsigned type) const noexcept {
    return net::Be16::from_network(u16(type));
  }
  [[nodiscard]] net::Be32 be32(unsigned type) const noexcept {
    return net::Be32::from_network(u32(type));
  }
  /// Text up to its first zero or its end.
  [[nodiscard]] std::string_view text(unsigned type) const noexcept;

 private:
  /// Into the message; null: absent (an empty one has a place).
  std::array<std::span<const std::byte>, AttributeRules::kMost> attributes_{};
};

}  // namespace lb::wire
