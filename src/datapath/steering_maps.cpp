// SPDX-License-Identifier: Apache-2.0
#include "datapath/steering_maps.hpp"

#include <bpf/bpf.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "bpf/steer_abi.h"
#include "datapath/outcome.hpp"

namespace lb::datapath {
namespace {

steer_endpoint endpoint_key(const engine::SteeredEndpoint& endpoint) noexcept {
  steer_endpoint key{};
  const auto& bytes = endpoint.end.address.bytes();
  std::memcpy(key.address, bytes.data(), bytes.size());
  key.port = endpoint.end.port.to_network();
  key.protocol = static_cast<std::uint8_t>(endpoint.protocol);
  key.family = static_cast<std::uint8_t>(endpoint.end.address.family());
  return key;
}

steer_address address_key(const net::IpAddress& address) noexcept {
  steer_address key{};
  std::memcpy(key.address, address.bytes().data(), address.bytes().size());
  key.family = static_cast<std::uint32_t>(address.family());
  return key;
}

/// Every packet to the address: no entry of the map says that, only the mark of the address does.
bool is_whole_address(const engine::SteeredEndpoint& endpoint) noexcept {
  return endpoint.protocol == net::Protocol::kIp;
}

}  // namespace

void SteeringMaps::endpoint_added(const engine::SteeredEndpoint& endpoint) noexcept {
  if (is_whole_address(endpoint)) return change_use(endpoint, 1, 1);
  const auto key = endpoint_key(endpoint);
  const std::uint32_t in_use = 1;
  const bool is_in_map = ::bpf_map_update_elem(map_of(endpoint.side), &key, &in_use, BPF_ANY) == 0;
  if (!is_in_map && !has_warned_) {
    has_warned_ = true;
    log_(
        LogLevel::kWarning,
        fmt::format("the map of steered endpoints takes no more ({}); all packets of the addresses "
                    "concerned go to the engine",
                    std::strerror(errno)));
  }
  change_use(endpoint, 1, is_in_map ? 0 : 1);
}

void SteeringMaps::endpoint_removed(const engine::SteeredEndpoint& endpoint) noexcept {
  if (is_whole_address(endpoint)) return change_use(endpoint, -1, -1);
  const auto key = endpoint_key(endpoint);
  const bool was_in_map = ::bpf_map_delete_elem(map_of(endpoint.side), &key) == 0;
  change_use(endpoint, -1, was_in_map ? 0 : -1);
}

void SteeringMaps::change_use(const engine::SteeredEndpoint& endpoint, int endpoints,
                              int not_in_map) noexcept {
  const auto& address = endpoint.end.address;
  const std::pair use_key{address, endpoint.side};
  auto& use = uses_[use_key];
  const auto before = flags_of(address);
  use.endpoints += static_cast<std::uint32_t>(endpoints);
  use.not_in_map += static_cast<std::uint32_t>(not_in_map);
  if (use.endpoints == 0) uses_.erase(use_key);
  const auto after = flags_of(address);
  if (after == before) return;

  const auto key = address_key(address);
  if (after == 0) {
    ::bpf_map_delete_elem(maps_.addresses, &key);
  } else if (::bpf_map_update_elem(maps_.addresses, &key, &after, BPF_ANY) != 0) {
    log_(LogLevel::kError,
         fmt::format("cannot steer the packets of {}: the map of addresses: {}; the host gets them",
                     address.to_text(), std::strerror(errno)));
  }
}

void SteeringMaps::drop_unused() noexcept {
  steer_address key{};
  steer_address next{};
  bool is_more = ::bpf_map_get_next_key(maps_.addresses, nullptr, &next) == 0;
  while (is_more) {
    key = next;
    is_more = ::bpf_map_get_next_key(maps_.addresses, &key, &next) == 0;
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), key.address, bytes.size());
    const auto wide = net::IpAddress::v6(bytes);
    const auto address = key.family == static_cast<std::uint32_t>(net::Family::kIpv4)
                             ? net::IpAddress::v4(wide.word(0))
                             : wide;
    if (flags_of(address) == 0) ::bpf_map_delete_elem(maps_.addresses, &key);
  }
}

std::uint32_t SteeringMaps::flags_of(const net::IpAddress& address) const {
  std::uint32_t flags = 0;
  if (const auto use = uses_.find({address, Side::kVirtual});
      use != uses_.end() && use->second.endpoints != 0) {
    flags |= STEER_ADDRESS_VIRTUAL;
    if (use->second.not_in_map != 0) flags |= STEER_ADDRESS_VIRTUAL_ALL;
  }
  if (const auto use = uses_.find({address, Side::kReal});
      use != uses_.end() && use->second.endpoints != 0) {
    flags |= STEER_ADDRESS_REAL;
    if (use->second.not_in_map != 0) flags |= STEER_ADDRESS_REAL_ALL;
  }
  return flags;
}

}  // namespace lb::datapath
