// SPDX-License-Identifier: Apache-2.0
// What the director does as time goes by.
#include "engine/director.hpp"
#include "engine/director_marks.hpp"
#include "engine/director_saving.hpp"
#include "engine/director_state.hpp"
#include "engine/snat_steering.hpp"
#include "engine/stand_in_flows.hpp"
#include "engine/sync/sync_master.hpp"

namespace lb::engine {
namespace {

constexpr auto kEstimateInterval = std::chrono::seconds(2);
constexpr auto kSweepInterval = std::chrono::seconds(60);
constexpr auto kDefenceInterval = std::chrono::seconds(1);
constexpr auto kMarkSteeringInterval = std::chrono::seconds(1);
// After a jump of the clock old averages say nothing; so many missed ticks are enough to forget
// them.
constexpr int kMaxTicksAtOnce = 64;
// A piece of them (256 destinations) each time: under load there are ten turns in a millisecond.
constexpr Duration kSaveInterval = std::chrono::milliseconds(5);
// Some tens of microseconds, even if each holds a connection that goes.
constexpr std::uint32_t kOrphanSlotsAtOnce = 1U << 9;

void estimate(DirectorState& state) {
  if (state.settings.run_estimation == 0) return;
  ++state.estimation_tick;  // the estimators catch up when they are used
}

void sweep(DirectorState& state) {
  for (const auto id : state.destinations.sweep(state.now)) state.saved.forget_destination(id);
  for (const auto& service : state.services.all()) {
    if (service->scheduler != nullptr) {
      service->scheduler->sweep(service->context(state.settings, state.now));
    }
  }
}

// As the operator is warned of it: one in ten is free, for connections that prove to be some.
bool is_nearly_full(const Connections& connections) {
  const auto most = connections.limit();
  return connections.table().size() >= most - most / 10;
}

// True if there is more to do.
bool advance_stand_in(DirectorState& state, std::size_t budget) {
  if (!state.stand_in) return false;
  const auto established = static_cast<std::size_t>(TcpState::kEstablished);
  const bool is_limited = state.settings.punt_limit > 0;
  state.stand_in->set_limits(state.settings.punt_limit,
                             state.connections.timeouts().tcp[established],
                             is_limited && is_nearly_full(state.connections), state.now);
  state.connections.give_up_half_open(is_limited);
  const bool is_more_noted = adopt_notes(state, budget);
  return state.stand_in->publish_due(state.now) || is_more_noted;
}

// Runs `work` once for each interval that has passed since `next`.
template <class Work>
void every(Timestamp& next, Duration interval, Timestamp now, Work work) {
  for (int i = 0; next <= now && i < kMaxTicksAtOnce; ++i) {
    work();
    next = next + interval;
  }
  if (next <= now) next = now + interval;
}

}  // namespace

bool Director::advance(Timestamp now, std::size_t budget) noexcept {
  auto& state = *state_;
  state.now = now;
  every(state.next_defence, kDefenceInterval, now, [&] { state.defence.update(state.settings); });
  every(state.next_mark_steering, kMarkSteeringInterval, now, [&] {
    update_mark_steering(state);
    update_snat_steering(state);
  });
  bool are_targets_due = false;
  if (state.fast_path) {
    state.fast_path->enable(state.uses_fast_path());
    are_targets_due = state.fast_path->advance(now);
  }
  const bool is_stand_in_due = advance_stand_in(state, budget);
  every(state.next_estimate, kEstimateInterval, now, [&] { estimate(state); });
  every(state.next_sweep, kSweepInterval, now, [&] { sweep(state); });
  state.counters.dropped[static_cast<std::size_t>(DropReason::kFragmentTimeout)] +=
      state.reassembler.expire(now);
  if (state.orphan_cursor != 0) {
    state.orphan_cursor =
        state.connections.expire_orphans(state.orphan_cursor, kOrphanSlotsAtOnce, now);
  }
  if (now >= state.next_save) {
    state.next_save = now + kSaveInterval;
    save_counters(state);
  }
  state.connections.make_room(now);
  const bool are_timers_due = state.connections.expire_due(now, budget);
  tell_of_published(state);
  send_sync_messages(state);
  return are_timers_due || are_targets_due || is_stand_in_due || state.orphan_cursor != 0;
}

}  // namespace lb::engine
