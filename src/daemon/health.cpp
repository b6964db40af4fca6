// SPDX-License-Identifier: Apache-2.0
#include "daemon/health.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace lb::daemon {
namespace {

/// Nine tenths: early enough to act, late enough to be no false alarm of a sized table.
bool is_nearly_full(const HealthSigns& signs) {
  return signs.connections >= signs.capacity - signs.capacity / 10;
}

}  // namespace

bool Health::look(const HealthSigns& signs, Timestamp now) {
  std::vector<std::string> reasons;
  for (const auto& interface : signs.interfaces) {
    if (interface.xdp_mode == "none") {
      reasons.push_back(fmt::format("interface {} is gone", interface.name));
    }
    if (grew_lately(frames_of(interface.name), interface.receive_drops, now)) {
      reasons.push_back(fmt::format("interface {} loses frames", interface.name));
    }
  }
  warn_of_full_table(signs, now);
  if (grew_lately(table_full_, signs.table_full_drops, now)) {
    reasons.emplace_back("the connection table is full, new connections are refused");
  } else if (is_nearly_full(signs)) {
    reasons.emplace_back("the connection table is nearly full");
  }

  auto text =
      reasons.empty() ? std::string("ok") : fmt::format("degraded: {}", fmt::join(reasons, "; "));
  if (text == text_) return false;
  text_ = std::move(text);
  log_(reasons.empty() ? datapath::LogLevel::kInfo : datapath::LogLevel::kWarning,
       fmt::format("health: {}", text_));
  return true;
}

bool Health::grew_lately(Watched& watched, std::uint64_t value, Timestamp now) const {
  if (value > watched.last) watched.grew = now;
  watched.last = value;  // a counter starts anew with an interface that comes back
  return watched.grew && now.since_start - watched.grew->since_start < kMemory;
}

Health::Watched& Health::frames_of(std::string_view interface) {
  const auto found = std::find_if(frames_.begin(), frames_.end(),
                                  [&](const Watched& one) { return one.name == interface; });
  if (found != frames_.end()) return *found;
  return frames_.emplace_back(
      Watched{.name = std::string(interface), .last = 0, .grew = std::nullopt});
}

/// One line a minute at most, whatever comes.
void Health::warn_of_full_table(const HealthSigns& signs, Timestamp now) {
  if (signs.table_full_drops == told_drops_) return;
  if (warned_ && now.since_start - warned_->since_start < kMemory) return;
  log_(datapath::LogLevel::kWarning,
       fmt::format("the connection table is full ({} of {}): {} packets of new connections were "
                   "dropped (table_full); raise table_size or look for a flood",
                   signs.connections, signs.capacity, signs.table_full_drops - told_drops_));
  told_drops_ = signs.table_full_drops;
  warned_ = now;
}

}  // namespace lb::daemon
