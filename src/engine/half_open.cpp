// SPDX-License-Identifier: Apache-2.0
// Which connections make room in a full table.
#include "engine/connections.hpp"

namespace lb::engine {

// Of those that are being replaced or wait for their client's port, somebody knows the id.
bool Connections::is_half_open(ConnectionId id) noexcept {
  constexpr std::uint32_t kOthers = kConnectionTemplate | kConnectionNoClientPort |
                                    kConnectionDetached | kConnectionSnat | kConnectionFastRequest |
                                    kConnectionFastReply;
  const auto& record = table_.at(id);
  if (record.committed == 0 || (record.flags & kOthers) != 0 || controls_others(id)) return false;
  if (record.protocol == net::Protocol::kUdp) return record.packets_in == 1;
  return record.protocol == net::Protocol::kTcp &&
         static_cast<TcpState>(record.state) == TcpState::kSynRecv;
}

// The cursor goes round, and what is freed is used at once: the oldest go first. A table that is
// full of others costs a flood's packet no more than these looks, at records that lie in a row.
void Connections::give_one_up(Timestamp now) noexcept {
  constexpr int kLooks = 64;
  for (int i = 0; i < kLooks; ++i) {
    const auto id = give_up_cursor_;
    give_up_cursor_ = id + 1 < table_.end() ? id + 1 : 1;
    if (!table_.contains(id) || !is_half_open(id)) continue;
    destroy(id, now);
    ++given_up_;
    return;
  }
}

}  // namespace lb::engine
