// SPDX-License-Identifier: Apache-2.0
// The XDP program's prefixes of source NAT.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "bpf/steer_abi.h"
#include "datapath/steering_maps.hpp"
#include "net/byte_order.hpp"

namespace lb::datapath {
namespace {

steer_prefix key_of(const engine::SnatPrefix& prefix) noexcept {
  steer_prefix key{};
  key.bits = STEER_PREFIX_FAMILY_BITS + std::uint32_t{prefix.length};
  key.family =
      net::Be32::from_host(static_cast<std::uint32_t>(prefix.address.family())).to_network();
  std::memcpy(key.address, prefix.address.bytes().data(), sizeof(key.address));
  return key;
}

steer_prefix_use use_of(const engine::SnatPrefix& prefix) noexcept {
  steer_prefix_use use{};
  if (prefix.is_inside) use.flags |= STEER_PREFIX_INSIDE;
  if (prefix.is_outside) use.flags |= STEER_PREFIX_OUTSIDE;
  if (prefix.is_own) use.flags |= STEER_PREFIX_OWN;
  use.first_port = prefix.ports.first;
  use.last_port = prefix.ports.last;
  return use;
}

bool is_same(const steer_prefix& a, const steer_prefix& b) noexcept {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

bool is_before(const steer_prefix& a, const steer_prefix& b) noexcept {
  return std::memcmp(&a, &b, sizeof(a)) < 0;
}

}  // namespace

void SteeringMaps::snat_changed(std::span<const engine::SnatPrefix> prefixes) noexcept {
  std::vector<steer_prefix> kept;
  for (const auto& prefix : prefixes) {
    const auto key = key_of(prefix);
    const auto use = use_of(prefix);
    if (::bpf_map_update_elem(maps_.snat_prefixes, &key, &use, BPF_ANY) == 0) {
      kept.push_back(key);
      continue;
    }
    log_(LogLevel::kError,
         fmt::format("cannot steer the packets of source NAT for {}/{} (and perhaps others): the "
                     "map of prefixes: {}; the host gets them",
                     prefix.address.to_text(), prefix.length, std::strerror(errno)));
    break;
  }
  // What an earlier set, or an earlier director, had.
  std::sort(kept.begin(), kept.end(), is_before);
  std::vector<steer_prefix> left;
  steer_prefix key{};
  bool is_more = ::bpf_map_get_next_key(maps_.snat_prefixes, nullptr, &key) == 0;
  while (is_more) {
    const auto at = std::lower_bound(kept.begin(), kept.end(), key, is_before);
    if (at == kept.end() || !is_same(*at, key)) left.push_back(key);
    auto next = key;
    is_more = ::bpf_map_get_next_key(maps_.snat_prefixes, &key, &next) == 0;
    key = next;
  }
  for (const auto& old : left) ::bpf_map_delete_elem(maps_.snat_prefixes, &old);
  const std::uint32_t first = 0;
  const std::uint32_t in_use = kept.empty() ? 0 : 1;
  ::bpf_map_update_elem(maps_.snat_in_use, &first, &in_use, BPF_ANY);
}

}  // namespace lb::datapath
