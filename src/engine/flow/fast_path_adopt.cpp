// SPDX-License-Identifier: Apache-2.0
// How a fast path takes over what an earlier one published, while XDP goes on forwarding by it.
#include <algorithm>

#include "engine/flow/fast_path.hpp"
#include "engine/flow/published.hpp"

namespace lb::engine {

void FastPath::begin_adoption(std::span<const SavedDestination> saved, Timestamp now) noexcept {
  const auto count = std::min(saved.size(), targets_.size());
  for (std::size_t id = 1; id < count; ++id) {
    if (saved[id].committed != 0) counted_[id] = saved[id].fast;
    auto& entry = memory_.targets[id];
    // The process may have ended while it changed the entry.
    if ((entry.sequence & 1U) != 0) {
      change_shared(entry, [](flow_target& place) { place.method = FLOW_PUNT; });
    }
  }
  ends_.begin_adoption();
  hops_.begin_adoption();
  flows_.adopt([this](const FlowKey& key) { return is_ours(key); });
  for (ConnectionId id = 1; id < connections_.table().end(); ++id) {
    if (connections_.table().contains(id)) adopt_connection(id, now);
  }
}

/// True if the connection that a flow belongs to was adopted and knows of it.
bool FastPath::is_ours(const FlowKey& key) noexcept {
  const auto end = ends_.describe(key.end);
  const net::Endpoint client{key.client, key.client_port};
  if (end.side == FLOW_VIRTUAL) {
    const auto id = connections_.find(end.protocol, client, end.end);
    return id != 0 && (connections_.at(id).flags & kConnectionFastRequest) != 0;
  }
  const auto id = connections_.find_reply(end.protocol, end.end, client);
  return id != 0 && (connections_.at(id).flags & kConnectionFastReply) != 0;
}

/// Makes what the connection says of its flows true, and counts what they refer to.
void FastPath::adopt_connection(ConnectionId id, Timestamp now) noexcept {
  auto& record = connections_.at(id);
  const bool had_request = (record.flags & kConnectionFastRequest) != 0;
  const bool had_reply = (record.flags & kConnectionFastReply) != 0;
  if (!had_request && !had_reply) return;
  record.flags &= ~std::uint32_t{kConnectionFastRequest | kConnectionFastReply};
  const auto client = connections_.client_end(record);
  const auto number = ends_.find(virtual_end(record));
  const FlowKey request{.client = client.address, .client_port = client.port, .end = number};
  const auto words = number == 0 ? 0 : flows_.find(request);
  const bool has_request = had_request && words != 0;
  // Seen, before the ages are lost.
  if (has_request) connections_.seen(id, last_seen_ms(words, now));
  const auto reply = had_reply ? reply_words(record) : 0;
  if (reply != 0) connections_.seen(id, last_seen_ms(reply, now));
  const bool is_snat = (record.flags & kConnectionSnat) != 0;
  constexpr std::uint64_t kWithoutAge = ~std::uint64_t{0} >> 16U;
  if (has_request && is_snat && flow_target_of(words) == record.destination) {
    // Goes by a next hop as well, see below.
    offer_inward(id, now);
    if ((record.flags & kConnectionFastRequest) == 0) {
      flows_.erase(request);
    } else {
      (void)flows_.put(request, (flows_.find(request) & kWithoutAge) | (words & ~kWithoutAge));
    }
  } else if (has_request && flow_target_of(words) == record.destination) {
    ends_.retain(number);
    retain_target(*connections_.destination(record), now);
    record.flags |= kConnectionFastRequest;
  } else if (words != 0) {
    flows_.erase(request);
  }
  // An answer goes by a next hop, which has a number of this director's from now on.
  if (reply == 0) return;
  offer_reply(id, now);
  const FlowKey key{
      .client = client.address, .client_port = client.port, .end = ends_.find(real_end(record))};
  if ((record.flags & kConnectionFastReply) == 0) return flows_.erase(key);
  (void)flows_.put(key, (flows_.find(key) & kWithoutAge) | (reply & ~kWithoutAge));
}

}  // namespace lb::engine
