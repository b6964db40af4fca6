// SPDX-License-Identifier: Apache-2.0
// How the engine reads, and takes away, what XDP noted of flows that began without it.
#include <array>
#include <cstring>

#include "engine/flow/published.hpp"
#include "engine/flow/stand_in.hpp"

namespace lb::engine {
namespace {

constexpr std::uint32_t kPortMask = 0xffff;

net::IpAddress address_of(const __u64 (&words)[2], net::Family family) noexcept {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), words, bytes.size());
  const auto wide = net::IpAddress::v6(bytes);
  return family == net::Family::kIpv4 ? net::IpAddress::v4(wide.word(0)) : wide;
}

}  // namespace

std::uint64_t StandIn::noted() const noexcept { return load_shared(memory_.control->noted); }

bool StandIn::has_notes() const noexcept { return noted() != taken_; }

std::optional<StandIn::Note> StandIn::take_note(stand_in_note& place) noexcept {
  const auto state = load_shared(place.state);
  if ((state & STAND_IN_NOTED) == 0) return std::nullopt;
  const auto end = place.flow >> 16U;
  Note note{.virtual_end = fast_path_.ends().describe(end),
            .client = {},
            .target = place.target,
            .state = state,
            .words = flow_words(0, 0, 0, place.age)};
  note.client = {address_of(place.client, note.virtual_end.end.address.family()),
                 net::Port::from_network(static_cast<std::uint16_t>(place.flow & kPortMask))};
  // XDP may mark it once more; then it is taken again, and the connection is there.
  store_shared<__u32>(place.state, STAND_IN_FREE);
  // A number that means nothing (any more), or not a virtual endpoint.
  const bool is_virtual =
      note.virtual_end.side == FLOW_VIRTUAL && fast_path_.ends().find(note.virtual_end) == end;
  if (!is_virtual) {
    count_note(false);
    return std::nullopt;
  }
  return note;
}

std::optional<StandIn::Note> StandIn::take_note_of(const FlowEnd& virtual_end,
                                                   const net::Endpoint& client) noexcept {
  if (!has_notes() || memory_.notes.empty()) return std::nullopt;
  const auto number = fast_path_.ends().find(virtual_end);
  if (number == 0) return std::nullopt;
  const auto words = halves(client.address);
  const __u64 address[2] = {words[0], words[1]};
  const auto flow = stand_in_flow(client.port.to_network(), number);
  const auto count = static_cast<std::uint32_t>(memory_.notes.size());
  const auto first = stand_in_place(memory_.settings, address, flow, count);
  for (std::uint32_t i = 0; i < STAND_IN_PROBES; ++i) {
    auto& place = memory_.notes[(first + i) % count];
    if ((load_shared(place.state) & STAND_IN_NOTED) == 0 || place.flow != flow) continue;
    if (place.client[0] == address[0] && place.client[1] == address[1]) return take_note(place);
  }
  return std::nullopt;
}

}  // namespace lb::engine
