// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "model/destination.hpp"
#include "model/service.hpp"
#include "model/sync_daemon.hpp"
#include "net/result.hpp"
#include "wire/family.hpp"

/// The director's half of the IPVS family (linux/ip_vs.h): requests of any client, read by the
/// kernel's rules with the kernel's errors, and answers byte for byte as the kernel writes them.
namespace lb::wire {

/// The top level of a request. ERANGE or EINVAL if an attribute has no valid form.
struct IpvsRequest {
  std::optional<std::span<const std::byte>> service;
  std::optional<std::span<const std::byte>> destination;
  std::optional<std::span<const std::byte>> daemon;
  model::Timeouts timeouts;  ///< 0: absent, or to be left as it is

  [[nodiscard]] static Result<IpvsRequest> parse(std::span<const std::byte> attributes) noexcept;
};

enum class Detail : std::uint8_t {
  kIdentity,  ///< only what identifies it is read and required
  kFull,      ///< also everything that can be set is required
};

/// A service as the request names it. EINVAL: an attribute is missing or malformed;
/// EAFNOSUPPORT: neither IPv4 nor IPv6.
///
/// The kernel looks the service up between reading its identity and demanding the rest; since
/// both failures of the second part are EINVAL and the look-up has no effect, that order can't
/// be observed.
[[nodiscard]] Result<model::ServiceSpec> parse_service(
    const std::optional<std::span<const std::byte>>& nest, Detail detail) noexcept;

/// A destination as the request describes it, before the rules that need its service.
struct DestinationRequest {
  std::uint16_t family = 0;  ///< 0: that of the service
  std::array<std::uint8_t, 16> address{};
  model::DestinationSpec spec;  ///< without address
};
/// EINVAL: an attribute is missing or malformed.
[[nodiscard]] Result<DestinationRequest> parse_destination(
    const std::optional<std::span<const std::byte>>& nest, Detail detail) noexcept;

/// A daemon to start (kFull) or stop. EINVAL: an attribute is missing or malformed.
[[nodiscard]] Result<model::SyncDaemonSpec> parse_daemon(
    const std::optional<std::span<const std::byte>>& nest, Detail detail) noexcept;

// Each appends one answer message. `flags`: NLM_F_MULTI in a dump.

void encode_service(Message& out, const MessageView& request, std::uint32_t port_id,
                    std::uint16_t flags, const model::ServiceInfo& service);
void encode_destination(Message& out, const MessageView& request, std::uint32_t port_id,
                        std::uint16_t flags, const model::DestinationInfo& destination);
void encode_daemon(Message& out, const MessageView& request, std::uint32_t port_id,
                   std::uint16_t flags, const model::SyncDaemonSpec& daemon);
void encode_timeouts(Message& out, const MessageView& request, std::uint32_t port_id,
                     const model::Timeouts& timeouts);
void encode_info(Message& out, const MessageView& request, std::uint32_t port_id,
                 std::uint32_t table_size);

}  // namespace lb::wire
