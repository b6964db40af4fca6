// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/flow_hops.hpp"

#include <algorithm>
#include <cstring>

#include "engine/flow/flow_ends.hpp"
#include "engine/flow/published.hpp"

namespace lb::engine {

FlowHops::FlowHops(const FlowMemory& memory, const NetworkView& network)
    : memory_(memory), network_(network), uses_(FLOW_HOPS), freed_(FLOW_HOPS) {}

void FlowHops::add_device(InterfaceId interface, std::uint16_t device, bool turns) noexcept {
  remove_device(interface);
  devices_[device] = {.interface = interface, .turns = turns};
  refresh();
}

void FlowHops::remove_device(InterfaceId interface) noexcept {
  for (auto& device : devices_) {
    if (device.interface == interface) device = {};
  }
  refresh();
}

const FlowHops::Device* FlowHops::device_of(InterfaceId interface) const noexcept {
  const auto found = std::find_if(devices_.begin(), devices_.end(), [&](const Device& device) {
    return device.interface == interface;
  });
  return interface == InterfaceId::kNone || found == devices_.end() ? nullptr : &*found;
}

std::size_t FlowHops::chain_of(InterfaceId out, const net::IpAddress& address) noexcept {
  const auto words = halves(address);
  return flow_mix(words[0] ^ words[1], static_cast<std::uint64_t>(out)) % kChains;
}

std::uint32_t FlowHops::take_number(Timestamp now) noexcept {
  if (next_fresh_ < FLOW_HOPS) return next_fresh_++;
  // Some are in use again, or were until just now: those go to the end.
  constexpr int kTries = 16;
  for (int i = 0; i < kTries && freed_count_ != 0; ++i) {
    const auto number = freed_[freed_head_];
    freed_head_ = (freed_head_ + 1) % FLOW_HOPS;
    --freed_count_;
    auto& use = uses_[number];
    use.is_freed = false;
    if (use.references != 0) continue;
    if (now - use.last_used >= FlowEnds::kRest) {
      forget(number);
      return number;
    }
    put_by(number);
  }
  return 0;
}

/// Keeps a number without references for the time when numbers run out.
void FlowHops::put_by(std::uint32_t number) noexcept {
  auto& use = uses_[number];
  if (use.is_freed) return;
  use.is_freed = true;
  freed_[(freed_head_ + freed_count_) % FLOW_HOPS] = static_cast<std::uint16_t>(number);
  ++freed_count_;
}

/// The neighbour has no number any more.
void FlowHops::forget(std::uint32_t number) noexcept {
  const auto& use = uses_[number];
  auto* link = &chains_[chain_of(use.out, use.address)];
  while (*link != 0 && *link != number) link = &uses_[*link].next;
  if (*link == number) *link = use.next;
}

std::uint32_t FlowHops::acquire(const NextHop& hop, Timestamp now) noexcept {
  auto& first = chains_[chain_of(hop.out, hop.address)];
  for (std::uint32_t number = first; number != 0; number = uses_[number].next) {
    if (!is_for(number, hop)) continue;
    if (uses_[number].references++ == 0) write(number);
    return number;
  }
  const auto number = take_number(now);
  if (number == 0) return 0;
  uses_[number] = {.out = hop.out, .address = hop.address, .references = 1, .next = first};
  first = static_cast<std::uint16_t>(number);
  write(number);
  return number;
}

void FlowHops::release(std::uint32_t number, Timestamp now) noexcept {
  auto& use = uses_[number];
  if (--use.references != 0) return;
  use.last_used = now;
  put_by(number);
}

void FlowHops::begin_adoption() noexcept {
  for (std::uint32_t number = 1; number < FLOW_HOPS; ++number) {
    auto& entry = memory_.hops[number];
    if ((entry.sequence & 1U) != 0)
      change_shared(entry, [](flow_hop& place) { place.ifindex = 0; });
    if (entry.ifindex != 0) left_ = number + 1;
  }
  next_fresh_ = left_;
}

void FlowHops::end_adoption(Timestamp now) noexcept {
  for (std::uint32_t number = 1; number < left_; ++number) {
    write(number);
    uses_[number].last_used = now;
    put_by(number);
  }
}

bool FlowHops::is_usable(std::uint32_t number) const noexcept {
  return number != 0 && memory_.hops[number].ifindex != 0;
}

bool FlowHops::is_for(std::uint32_t number, const NextHop& hop) const noexcept {
  return uses_[number].out == hop.out && uses_[number].address == hop.address;
}

void FlowHops::refresh() noexcept {
  for (std::uint32_t number = 1; number < next_fresh_; ++number) {
    if (uses_[number].references != 0) write(number);
  }
}

void FlowHops::write(std::uint32_t number) noexcept {
  const auto& use = uses_[number];
  flow_hop fresh{};
  const auto* device = device_of(use.out);
  const auto* interface = network_.interface(use.out);
  const auto mac = network_.neighbour(use.out, use.address);
  if (device != nullptr && interface != nullptr && mac) {
    fresh.ifindex = static_cast<std::uint32_t>(use.out);
    fresh.mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(interface->mtu, 0xffff));
    fresh.device = static_cast<std::uint16_t>(device - devices_.data());
    fresh.by_redirect = device->turns ? 0 : 1;
    std::memcpy(fresh.destination_mac, mac->bytes.data(), mac->bytes.size());
    std::memcpy(fresh.source_mac, interface->mac.bytes.data(), interface->mac.bytes.size());
  }
  auto& entry = memory_.hops[number];
  fresh.sequence = entry.sequence;
  if (std::memcmp(&entry, &fresh, sizeof(entry)) == 0) return;
  change_shared(entry, [&](flow_hop& place) {
    fresh.sequence = place.sequence;
    place = fresh;
  });
}

}  // namespace lb::engine
