// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/flow_ends.hpp"

#include <algorithm>
#include <cstring>

#include "engine/flow/published.hpp"

namespace lb::engine {
namespace {

std::uint64_t end_key4(const FlowEnd& end) noexcept {
  return flow_end_key4(end.end.address.word(0).to_network(), end.end.port.to_network(),
                       static_cast<std::uint8_t>(end.protocol),
                       static_cast<std::uint8_t>(end.side));
}

std::uint64_t end_tail6(const FlowEnd& end) noexcept {
  return flow_end_tail6(end.end.port.to_network(), static_cast<std::uint8_t>(end.protocol),
                        static_cast<std::uint8_t>(end.side));
}

constexpr std::uint64_t kTailWithoutNumber = 0xffffffff;

}  // namespace

FlowEnds::FlowEnds(const FlowMemory& memory)
    : memory_(memory), uses_(FLOW_ENDS), freed_(FLOW_ENDS) {}

flow_end4* FlowEnds::slot4(const FlowEnd& end, std::uint64_t key) const noexcept {
  const auto hash = flow_hash4(memory_.settings, end_key4(end));
  const auto count = static_cast<std::uint32_t>(memory_.ends4.size());
  for (const auto place : {flow_first(hash, count), flow_second(hash, count)}) {
    for (auto& slot : memory_.ends4[place].slots) {
      if (slot.key == key) return &slot;
    }
  }
  return nullptr;
}

flow_end6* FlowEnds::slot6(const FlowEnd& end, bool is_free) const noexcept {
  const auto address = halves(end.end.address);
  const auto tail = end_tail6(end);
  const auto hash = flow_hash6(memory_.settings, address[0], address[1], tail);
  const auto count = static_cast<std::uint32_t>(memory_.ends6.size());
  for (const auto place : {flow_first(hash, count), flow_second(hash, count)}) {
    for (auto& slot : memory_.ends6[place].slots) {
      const bool is_wanted = is_free ? slot.tail == 0
                                     : (slot.tail & kTailWithoutNumber) == tail &&
                                           slot.address[0] == address[0] &&
                                           slot.address[1] == address[1];
      if (is_wanted) return &slot;
    }
  }
  return nullptr;
}

std::uint32_t FlowEnds::find(const FlowEnd& end) const noexcept {
  if (end.end.address.is_v4()) {
    const auto* slot = slot4(end, end_key4(end));
    return slot == nullptr ? 0 : static_cast<std::uint32_t>(slot->number);
  }
  const auto* slot = slot6(end, false);
  return slot == nullptr ? 0 : static_cast<std::uint32_t>(slot->tail >> 32U);
}

bool FlowEnds::enter(const FlowEnd& end, std::uint32_t number) noexcept {
  if (end.end.address.is_v4()) {
    auto* slot = slot4(end, 0);
    if (slot == nullptr) return false;
    store_shared<__u64>(slot->number, number);
    store_shared<__u64>(slot->key, end_key4(end));
    return true;
  }
  auto* slot = slot6(end, true);
  if (slot == nullptr) return false;
  change_shared(*slot, [&](flow_end6& entry) {
    const auto address = halves(end.end.address);
    store_shared<__u64>(entry.address[0], address[0]);
    store_shared<__u64>(entry.address[1], address[1]);
    store_shared<__u64>(entry.tail, end_tail6(end) | std::uint64_t{number} << 32U);
  });
  return true;
}

void FlowEnds::take_out(const FlowEnd& end) noexcept {
  if (end.end.address.is_v4()) {
    if (auto* slot = slot4(end, end_key4(end))) store_shared<__u64>(slot->key, 0);
  } else if (auto* slot = slot6(end, false)) {
    change_shared(*slot, [](flow_end6& entry) { store_shared<__u64>(entry.tail, 0); });
  }
}

FlowEnd FlowEnds::describe(std::uint32_t number) const noexcept {
  const auto& endpoint = memory_.endpoints[number];
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), endpoint.address, bytes.size());
  const auto wide = net::IpAddress::v6(bytes);
  const auto is_v4 = endpoint.family == static_cast<std::uint8_t>(net::Family::kIpv4);
  return {.side = uses_[number].side,
          .protocol = net::Protocol{endpoint.protocol},
          .end = {.address = is_v4 ? net::IpAddress::v4(wide.word(0)) : wide,
                  .port = net::Port::from_network(endpoint.port)}};
}

std::uint32_t FlowEnds::take_number(Timestamp now) noexcept {
  if (next_fresh_ < FLOW_ENDS) return next_fresh_++;
  if (freed_count_ == 0) return 0;
  const auto& oldest = freed_[freed_head_];
  if (now - oldest.since < kRest) return 0;
  freed_head_ = (freed_head_ + 1) % FLOW_ENDS;
  --freed_count_;
  return oldest.number;
}

void FlowEnds::give_number(std::uint32_t number, Timestamp now) noexcept {
  freed_[(freed_head_ + freed_count_) % FLOW_ENDS] = {.number = number, .since = now};
  ++freed_count_;
}

std::uint32_t FlowEnds::acquire(const FlowEnd& end, Timestamp now) noexcept {
  if (const auto number = find(end); number != 0) {
    ++uses_[number].references;
    return number;
  }
  const auto number = take_number(now);
  if (number == 0) return 0;
  // What answers take their source from must be there before the number is found.
  change_shared(memory_.endpoints[number], [&](flow_endpoint& entry) {
    entry.port = end.end.port.to_network();
    entry.protocol = static_cast<std::uint8_t>(end.protocol);
    entry.family = static_cast<std::uint8_t>(end.end.address.family());
    std::memcpy(entry.address, end.end.address.bytes().data(), sizeof(entry.address));
  });
  if (!enter(end, number)) {
    give_number(number, now);
    return 0;
  }
  uses_[number] = {.references = 1, .side = end.side, .is_entered = true};
  ++size_;
  return number;
}

void FlowEnds::release(std::uint32_t number, Timestamp now) noexcept {
  if (--uses_[number].references != 0) return;
  take_out(describe(number));
  uses_[number].is_entered = false;
  give_number(number, now);
  --size_;
}

void FlowEnds::begin_adoption() noexcept {
  const auto note = [&](std::uint64_t number, std::uint64_t side) {
    if (number == 0 || number >= FLOW_ENDS) return;
    uses_[number] = {.references = 0, .side = static_cast<flow_side>(side), .is_entered = true};
    next_fresh_ = std::max(next_fresh_, static_cast<std::uint32_t>(number) + 1);
    ++size_;
  };
  for (const auto& bucket : memory_.ends4) {
    for (const auto& slot : bucket.slots) {
      if (slot.key != 0) note(slot.number, slot.key >> 56U);
    }
  }
  for (auto& bucket : memory_.ends6) {
    for (auto& slot : bucket.slots) {
      // The process may have ended while it changed the entry.
      if ((slot.sequence & 1U) != 0) change_shared(slot, [](flow_end6& entry) { entry.tail = 0; });
      if (slot.tail != 0) note(slot.tail >> 32U, slot.tail >> 24U & 0xffU);
    }
  }
}

void FlowEnds::end_adoption(Timestamp now) noexcept {
  for (std::uint32_t number = 1; number < next_fresh_; ++number) {
    auto& use = uses_[number];
    if (use.references != 0) continue;
    if (use.is_entered) {
      take_out(describe(number));
      use.is_entered = false;
      --size_;
    }
    give_number(number, now);
  }
}

}  // namespace lb::engine
