// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/ip_vs.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "model/destination.hpp"
#include "model/service.hpp"
#include "model/statistics.hpp"
#include "net/address.hpp"
#include "wire/netlink.hpp"

/// What both halves of the IPVS codec share: the forms of attributes (as the kernel demands
/// them), addresses and statistics.
namespace lb::wire {

inline constexpr AttributeRule kU8{AttributeRule::Kind::kAtLeast, 1};
inline constexpr AttributeRule kU16{AttributeRule::Kind::kAtLeast, 2};
inline constexpr AttributeRule kU32{AttributeRule::Kind::kAtLeast, 4};
inline constexpr AttributeRule kU64{AttributeRule::Kind::kAtLeast, 8};
inline constexpr AttributeRule kNested{AttributeRule::Kind::kNested, 0};
inline constexpr AttributeRule kAddressBytes{AttributeRule::Kind::kAtMost, 16};
/// Room for 15 characters is meant, but the kernel accepts 16.
inline constexpr AttributeRule kShortName{AttributeRule::Kind::kText, 16};

inline constexpr auto kRequestRules = [] {
  std::array<AttributeRule, IPVS_CMD_ATTR_MAX + 1> rules{};
  rules[IPVS_CMD_ATTR_SERVICE] = kNested;
  rules[IPVS_CMD_ATTR_DEST] = kNested;
  rules[IPVS_CMD_ATTR_DAEMON] = kNested;
  rules[IPVS_CMD_ATTR_TIMEOUT_TCP] = kU32;
  rules[IPVS_CMD_ATTR_TIMEOUT_TCP_FIN] = kU32;
  rules[IPVS_CMD_ATTR_TIMEOUT_UDP] = kU32;
  return rules;
}();

inline constexpr auto kServiceRules = [] {
  std::array<AttributeRule, IPVS_SVC_ATTR_MAX + 1> rules{};
  rules[IPVS_SVC_ATTR_AF] = kU16;
  rules[IPVS_SVC_ATTR_PROTOCOL] = kU16;
  rules[IPVS_SVC_ATTR_ADDR] = kAddressBytes;
  rules[IPVS_SVC_ATTR_PORT] = kU16;
  rules[IPVS_SVC_ATTR_FWMARK] = kU32;
  rules[IPVS_SVC_ATTR_SCHED_NAME] = kShortName;
  rules[IPVS_SVC_ATTR_PE_NAME] = kShortName;
  rules[IPVS_SVC_ATTR_FLAGS] = {AttributeRule::Kind::kAtMost, sizeof(ip_vs_flags)};
  rules[IPVS_SVC_ATTR_TIMEOUT] = kU32;
  rules[IPVS_SVC_ATTR_NETMASK] = kU32;
  rules[IPVS_SVC_ATTR_STATS] = kNested;
  rules[IPVS_SVC_ATTR_STATS64] = kNested;
  return rules;
}();

inline constexpr auto kDestinationRules = [] {
  std::array<AttributeRule, IPVS_DEST_ATTR_MAX + 1> rules{};
  rules[IPVS_DEST_ATTR_ADDR] = kAddressBytes;
  rules[IPVS_DEST_ATTR_PORT] = kU16;
  rules[IPVS_DEST_ATTR_FWD_METHOD] = kU32;
  rules[IPVS_DEST_ATTR_WEIGHT] = kU32;
  rules[IPVS_DEST_ATTR_U_THRESH] = kU32;
  rules[IPVS_DEST_ATTR_L_THRESH] = kU32;
  rules[IPVS_DEST_ATTR_ACTIVE_CONNS] = kU32;
  rules[IPVS_DEST_ATTR_INACT_CONNS] = kU32;
  rules[IPVS_DEST_ATTR_PERSIST_CONNS] = kU32;
  rules[IPVS_DEST_ATTR_STATS] = kNested;
  rules[IPVS_DEST_ATTR_STATS64] = kNested;
  rules[IPVS_DEST_ATTR_ADDR_FAMILY] = kU16;
  rules[IPVS_DEST_ATTR_TUN_TYPE] = kU8;
  rules[IPVS_DEST_ATTR_TUN_PORT] = kU16;
  rules[IPVS_DEST_ATTR_TUN_FLAGS] = kU16;
  return rules;
}();

inline constexpr auto kDaemonRules = [] {
  std::array<AttributeRule, IPVS_DAEMON_ATTR_MAX + 1> rules{};
  rules[IPVS_DAEMON_ATTR_STATE] = kU32;
  rules[IPVS_DAEMON_ATTR_MCAST_IFN] = kShortName;
  rules[IPVS_DAEMON_ATTR_SYNC_ID] = kU32;
  rules[IPVS_DAEMON_ATTR_SYNC_MAXLEN] = kU16;
  rules[IPVS_DAEMON_ATTR_MCAST_GROUP] = kU32;
  rules[IPVS_DAEMON_ATTR_MCAST_GROUP6] = {AttributeRule::Kind::kAtLeast, 16};
  rules[IPVS_DAEMON_ATTR_MCAST_PORT] = kU16;
  rules[IPVS_DAEMON_ATTR_MCAST_TTL] = kU8;
  return rules;
}();

/// Address bytes as an attribute has them, shorter ones filled up with zeros.
[[nodiscard]] std::array<std::uint8_t, 16> address_bytes(std::span<const std::byte> data) noexcept;
/// The address in `bytes`; of IPv4 the first four count.
[[nodiscard]] net::IpAddress make_address(net::Family family,
                                          const std::array<std::uint8_t, 16>& bytes) noexcept;
/// All 16 bytes, as the kernel and ipvsadm write addresses of both families.
void put_address(MessageWriter& writer, unsigned type, const net::IpAddress& address);

/// The 4 or 16 bytes of an address; its family follows from how many they are.
[[nodiscard]] std::span<const std::byte> sized_bytes(const net::IpAddress& address) noexcept;
/// Null: neither 4 nor 16 bytes.
[[nodiscard]] std::optional<net::IpAddress> sized_address(
    std::span<const std::byte> bytes) noexcept;

/// What a service attribute says; absent parts stay as in a default ServiceSpec, the family must
/// have been checked by the caller.
[[nodiscard]] model::ServiceKey read_service_key(const AttributeTable& table, net::Family family);
void read_service_settings(const AttributeTable& table, model::ServiceSpec& spec);
/// Family, and mark or (protocol, address, port).
void put_service_key(MessageWriter& writer, const model::ServiceKey& key);

/// The same of a destination, from port to thresholds.
void read_destination_settings(const AttributeTable& table, model::DestinationSpec& spec);
void put_destination_settings(MessageWriter& writer, const model::DestinationSpec& spec);

/// Nested statistics: `put_statistics` has 32-bit numbers but for bytes, `put_statistics64`
/// only 64-bit ones.
void put_statistics(MessageWriter& writer, unsigned type, const model::Statistics& statistics);
void put_statistics64(MessageWriter& writer, unsigned type, const model::Statistics& statistics);
[[nodiscard]] model::Statistics read_statistics(std::span<const std::byte> nest) noexcept;
[[nodiscard]] model::Statistics read_statistics64(std::span<const std::byte> nest) noexcept;

}  // namespace lb::wire
