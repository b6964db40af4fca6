// SPDX-License-Identifier: Apache-2.0
#include "wire/ipvs_attributes.hpp"

#include <algorithm>
#include <cstring>

#include "net/bytes.hpp"

namespace lb::wire {
namespace {

/// In the order of IPVS_STATS_ATTR_CONNS ... IPVS_STATS_ATTR_OUTBPS.
std::array<std::uint64_t, 10> flatten(const model::Statistics& statistics) noexcept {
  const auto& [counters, rates] = statistics;
  return {counters.connections, counters.packets_in, counters.packets_out, counters.bytes_in,
          counters.bytes_out,   rates.connections,   rates.packets_in,     rates.packets_out,
          rates.bytes_in,       rates.bytes_out};
}

model::Statistics unflatten(const std::array<std::uint64_t, 10>& n) noexcept {
  return {.counters = {n[0], n[1], n[2], n[3], n[4]}, .rates = {n[5], n[6], n[7], n[8], n[9]}};
}

constexpr bool is_bytes(unsigned attribute) {
  return attribute == IPVS_STATS_ATTR_INBYTES || attribute == IPVS_STATS_ATTR_OUTBYTES;
}

constexpr std::array<AttributeRule, IPVS_STATS_ATTR_PAD> kStatisticsRules = [] {
  std::array<AttributeRule, IPVS_STATS_ATTR_PAD> rules{};
  // Lengths are looked at when the numbers are read.
  rules.fill({AttributeRule::Kind::kAtLeast, 0});
  return rules;
}();

}  // namespace

std::array<std::uint8_t, 16> address_bytes(std::span<const std::byte> data) noexcept {
  std::array<std::uint8_t, 16> bytes{};
  if (!data.empty()) std::memcpy(bytes.data(), data.data(), std::min(data.size(), bytes.size()));
  return bytes;
}

net::IpAddress make_address(net::Family family,
                            const std::array<std::uint8_t, 16>& bytes) noexcept {
  if (family == net::Family::kIpv6) return net::IpAddress::v6(bytes);
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data(), sizeof word);
  return net::IpAddress::v4(net::Be32::from_network(word));
}

void put_address(MessageWriter& writer, unsigned type, const net::IpAddress& address) {
  writer.put_bytes(type, std::as_bytes(std::span(address.bytes())));
}

std::span<const std::byte> sized_bytes(const net::IpAddress& address) noexcept {
  return std::as_bytes(std::span(address.bytes())).first(address.size());
}

std::optional<net::IpAddress> sized_address(std::span<const std::byte> bytes) noexcept {
  for (const auto family : {net::Family::kIpv4, net::Family::kIpv6}) {
    if (bytes.size() != net::IpAddress::any(family).size()) continue;
    return make_address(family, address_bytes(bytes));
  }
  return std::nullopt;
}

model::ServiceKey read_service_key(const AttributeTable& table, net::Family family) {
  model::ServiceKey key;
  key.family = family;
  key.address = net::IpAddress::any(family);
  if (table.has(IPVS_SVC_ATTR_FWMARK)) {
    key.fwmark = table.u32(IPVS_SVC_ATTR_FWMARK);
    return key;
  }
  key.protocol = static_cast<net::Protocol>(table.u16(IPVS_SVC_ATTR_PROTOCOL));
  key.address = make_address(family, address_bytes(table.bytes(IPVS_SVC_ATTR_ADDR)));
  key.port = table.be16(IPVS_SVC_ATTR_PORT);
  return key;
}

void read_service_settings(const AttributeTable& table, model::ServiceSpec& spec) {
  spec.scheduler = table.text(IPVS_SVC_ATTR_SCHED_NAME);
  spec.persistence_engine = table.text(IPVS_SVC_ATTR_PE_NAME);
  // A shorter attribute is filled up with zeros.
  ip_vs_flags flags{};
  const auto data = table.bytes(IPVS_SVC_ATTR_FLAGS);
  if (!data.empty()) std::memcpy(&flags, data.data(), std::min(data.size(), sizeof flags));
  spec.flags = flags.flags;
  spec.flags_mask = flags.mask;
  spec.timeout = table.u32(IPVS_SVC_ATTR_TIMEOUT);
  spec.netmask = table.u32(IPVS_SVC_ATTR_NETMASK);
}

void put_service_key(MessageWriter& writer, const model::ServiceKey& key) {
  writer.put_u16(IPVS_SVC_ATTR_AF, static_cast<std::uint16_t>(key.family));
  if (key.fwmark != 0) {
    writer.put_u32(IPVS_SVC_ATTR_FWMARK, key.fwmark);
    return;
  }
  writer.put_u16(IPVS_SVC_ATTR_PROTOCOL, static_cast<std::uint16_t>(key.protocol));
  put_address(writer, IPVS_SVC_ATTR_ADDR, key.address);
  writer.put_be16(IPVS_SVC_ATTR_PORT, key.port);
}

void read_destination_settings(const AttributeTable& table, model::DestinationSpec& spec) {
  spec.port = table.be16(IPVS_DEST_ATTR_PORT);
  spec.method = static_cast<model::ForwardingMethod>(table.u32(IPVS_DEST_ATTR_FWD_METHOD) &
                                                     IP_VS_CONN_F_FWD_MASK);
  spec.weight = static_cast<std::int32_t>(table.u32(IPVS_DEST_ATTR_WEIGHT));
  spec.upper_threshold = table.u32(IPVS_DEST_ATTR_U_THRESH);
  spec.lower_threshold = table.u32(IPVS_DEST_ATTR_L_THRESH);
  spec.tunnel.type = static_cast<model::TunnelType>(table.u8(IPVS_DEST_ATTR_TUN_TYPE));
  spec.tunnel.port = table.be16(IPVS_DEST_ATTR_TUN_PORT);
  spec.tunnel.flags = table.u16(IPVS_DEST_ATTR_TUN_FLAGS);
}

void put_destination_settings(MessageWriter& writer, const model::DestinationSpec& spec) {
  writer.put_be16(IPVS_DEST_ATTR_PORT, spec.port);
  writer.put_u32(IPVS_DEST_ATTR_FWD_METHOD, static_cast<std::uint32_t>(spec.method));
  writer.put_u32(IPVS_DEST_ATTR_WEIGHT, static_cast<std::uint32_t>(spec.weight));
  writer.put_u8(IPVS_DEST_ATTR_TUN_TYPE, static_cast<std::uint8_t>(spec.tunnel.type));
  writer.put_be16(IPVS_DEST_ATTR_TUN_PORT, spec.tunnel.port);
  writer.put_u16(IPVS_DEST_ATTR_TUN_FLAGS, spec.tunnel.flags);
  writer.put_u32(IPVS_DEST_ATTR_U_THRESH, spec.upper_threshold);
  writer.put_u32(IPVS_DEST_ATTR_L_THRESH, spec.lower_threshold);
}

void put_statistics(MessageWriter& writer, unsigned type, const model::Statistics& statistics) {
  const auto nest = writer.begin_nest(type);
  unsigned attribute = IPVS_STATS_ATTR_CONNS;
  for (const auto value : flatten(statistics)) {
    if (is_bytes(attribute)) {
      writer.put_u64_aligned(attribute, value, IPVS_STATS_ATTR_PAD);
    } else {
      writer.put_u32(attribute, static_cast<std::uint32_t>(value));
    }
    ++attribute;
  }
  writer.end_nest(nest);
}

void put_statistics64(MessageWriter& writer, unsigned type, const model::Statistics& statistics) {
  const auto nest = writer.begin_nest(type);
  unsigned attribute = IPVS_STATS_ATTR_CONNS;
  for (const auto value : flatten(statistics)) {
    writer.put_u64_aligned(attribute++, value, IPVS_STATS_ATTR_PAD);
  }
  writer.end_nest(nest);
}

model::Statistics read_statistics(std::span<const std::byte> nest) noexcept {
  std::array<std::uint64_t, 10> numbers{};
  const auto table = AttributeTable::parse(nest, kStatisticsRules);
  if (!table) return {};
  for (unsigned i = 0; i < numbers.size(); ++i) {
    const unsigned attribute = IPVS_STATS_ATTR_CONNS + i;
    numbers[i] = is_bytes(attribute) ? table->u64(attribute) : table->u32(attribute);
  }
  return unflatten(numbers);
}

model::Statistics read_statistics64(std::span<const std::byte> nest) noexcept {
  std::array<std::uint64_t, 10> numbers{};
  const auto table = AttributeTable::parse(nest, kStatisticsRules);
  if (!table) return {};
  for (unsigned i = 0; i < numbers.size(); ++i) numbers[i] = table->u64(IPVS_STATS_ATTR_CONNS + i);
  return unflatten(numbers);
}

}  // namespace lb::wire
