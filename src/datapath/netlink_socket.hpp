// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <libmnl/libmnl.h>
#include <linux/netlink.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "datapath/file_descriptor.hpp"
#include "datapath/outcome.hpp"
#include "net/address.hpp"

namespace lb::datapath {

/// A routing netlink socket. Messages from the kernel are walked with their lengths checked.
class NetlinkSocket {
 public:
  using Handler = std::function<void(const nlmsghdr&)>;
  enum class Received : std::uint8_t {
    kAll,   ///< nothing more is waiting
    kLost,  ///< the kernel dropped messages (ENOBUFS): ask for everything again
  };

  /// Opens a socket that hears `groups` (RTNLGRP_ numbers).
  [[nodiscard]] static Outcome<NetlinkSocket> open(std::span<const unsigned> groups);

  /// Hands on every message that waits, without blocking.
  [[nodiscard]] Outcome<Received> receive(const Handler& handler);
  /// Asks for all objects of a kind (RTM_GETLINK, ...; `family` AF_UNSPEC or one) and hands on
  /// the answer; blocks until it is complete. Begins again if the kernel's table changed
  /// meanwhile: `restarted` is called then, for what was handed on is void.
  [[nodiscard]] Outcome<void> dump(std::uint16_t type, std::uint8_t family, const Handler& handler,
                                   const std::function<void()>& restarted);
  /// Sends a request and waits for the kernel's answer; returns 0 or the errno.
  [[nodiscard]] int request(nlmsghdr& message);
  /// Sends one message without blocking; returns 0 or the errno.
  [[nodiscard]] int send(const nlmsghdr& message) noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  enum class DumpEnd : std::uint8_t { kComplete, kInterrupted };
  [[nodiscard]] Outcome<DumpEnd> receive_dump(std::uint32_t sequence, const Handler& handler);

  FileDescriptor fd_;
  std::uint32_t sequence_ = 0;
  std::vector<std::byte> buffer_;
};

/// The attributes of one message by type; those beyond `N` are ignored, of two equal the last
/// counts. Bounded by the lengths that the message announces.
template <std::size_t N>
class Attributes {
 public:
  Attributes(const nlmsghdr& message, std::size_t header_size) {
    const std::size_t size = mnl_nlmsg_get_payload_len(&message);
    const std::size_t skip = MNL_ALIGN(header_size);
    if (size < skip) return;
    walk(static_cast<const std::byte*>(mnl_nlmsg_get_payload(&message)) + skip, size - skip);
  }
  /// Those inside of an attribute.
  explicit Attributes(const nlattr& nest) {
    walk(static_cast<const std::byte*>(mnl_attr_get_payload(&nest)),
         mnl_attr_get_payload_len(&nest));
  }
  Attributes(const std::byte* bytes, std::size_t size) { walk(bytes, size); }

  [[nodiscard]] const nlattr* find(std::size_t type) const noexcept {
    return type < N ? found_[type] : nullptr;
  }
  /// The value of a 32-bit attribute, or `absent` if it is missing or has another size.
  [[nodiscard]] std::uint32_t u32(std::size_t type, std::uint32_t absent = 0) const noexcept {
    const nlattr* attribute = find(type);
    if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != sizeof(std::uint32_t)) {
      return absent;
    }
    return mnl_attr_get_u32(attribute);
  }

 private:
  void walk(const std::byte* bytes, std::size_t left) noexcept {
    while (left >= sizeof(nlattr)) {
      const auto* attribute = reinterpret_cast<const nlattr*>(bytes);
      const std::size_t length = attribute->nla_len;
      if (length < sizeof(nlattr) || length > left) return;
      const auto type = mnl_attr_get_type(attribute);
      if (type < N) found_[type] = attribute;
      const std::size_t step = std::min<std::size_t>(MNL_ALIGN(length), left);
      bytes += step;
      left -= step;
    }
  }
  std::array<const nlattr*, N> found_{};
};

/// An address attribute of the size that `family` (AF_INET, AF_INET6) demands, or null.
[[nodiscard]] std::optional<net::IpAddress> address_from(const nlattr* attribute,
                                                         std::uint8_t family) noexcept;

}  // namespace lb::datapath
