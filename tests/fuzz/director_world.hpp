// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "engine/director.hpp"
#include "engine/snat.hpp"
#include "fuzz/expect.hpp"
#include "fuzz/world.hpp"

namespace lb::fuzz {

/// A director in its network. Making one is far dearer than what an input does with it, so that
/// one serves many inputs, one after the other (`serve`), and is cleared in between.
class DirectorWorld {
 public:
  explicit DirectorWorld(std::uint32_t capacity)
      : director({.connection_capacity = capacity, .missing_schedulers = {}}, network) {
    fill(network);
    director.advance(now);
    timeouts_ = director.timeouts();
    generation_ = network.generation();
  }

  /// Takes everything back to where it began but for the time, and checks that nothing is left.
  void clear() {
    director.flush();
    static_cast<void>(director.stop_sync_daemon(model::SyncRole::kMaster));
    static_cast<void>(director.stop_sync_daemon(model::SyncRole::kBackup));
    director.flush_mark_rules();
    engine::flush_snat_rules(director);
    director.set_settings({});
    static_cast<void>(director.set_timeouts(timeouts_));
    pass_until_nothing_is_left();
    expect(director.connection_count() == 0, "nothing is left when all time is over");
    expect(director.service_count() == 0, "nothing is left of the services");
    if (network.generation() != generation_) {
      network.forget_path_mtus();
      fill_paths(network);
      generation_ = network.generation();
    }
  }

  engine::NetworkView network;
  engine::Director director;
  Timestamp now{std::chrono::hours(1)};

 private:
  void pass_until_nothing_is_left() {
    using std::chrono::hours;
    // Longer than the longest timeout (65535 s of a template) and again for those that others held;
    // then longer than what a sync daemon's message can say (2^32 s).
    constexpr std::array kTimes{hours(20), hours(20), hours(20), hours(24) * 365 * 140, hours(20)};
    bool is_first = true;
    for (const auto time : kTimes) {
      if (!is_first && director.connection_count() == 0) return;
      is_first = false;
      now = now + time;
      while (director.advance(now)) {
      }
    }
  }

  model::Timeouts timeouts_;
  std::uint64_t generation_ = 0;
};

/// A `World` to give inputs to: always the same one, until it is 50 years old. (Time in nanoseconds
/// lasts for 292.)
template <class World, class... Arguments>
World& serve(const Arguments&... arguments) {
  constexpr Timestamp kOld{std::chrono::hours(24) * 365 * 50};
  static std::optional<World> world;
  if (!world || world->now > kOld) world.emplace(arguments...);
  return *world;
}

}  // namespace lb::fuzz
