// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/scheduler.hpp"

namespace lb::engine {

void Scheduler::destination_added(const SchedulingContext&, Destination&) {}
void Scheduler::destination_removed(const SchedulingContext&, Destination&) {}
void Scheduler::destination_updated(const SchedulingContext&, Destination&) {}
void Scheduler::sweep(const SchedulingContext&) noexcept {}

namespace {

struct Registered {
  std::string_view name;
  std::unique_ptr<Scheduler> (*make)(std::uint64_t seed);
};

template <std::unique_ptr<Scheduler> (*Make)()>
std::unique_ptr<Scheduler> without_seed(std::uint64_t) {
  return Make();
}

constexpr std::array kSchedulers{
    Registered{"rr", without_seed<make_round_robin>},
    Registered{"wrr", without_seed<make_weighted_round_robin>},
    Registered{"lc", without_seed<make_least_connection>},
    Registered{"wlc", without_seed<make_weighted_least_connection>},
    Registered{"sed", without_seed<make_shortest_expected_delay>},
    Registered{"nq", without_seed<make_never_queue>},
    Registered{"fo", without_seed<make_failover>},
    Registered{"ovf", without_seed<make_overflow>},
    Registered{"dh", without_seed<make_destination_hash>},
    Registered{"sh", without_seed<make_source_hash>},
    Registered{"mh", without_seed<make_maglev_hash>},
    Registered{"lblc", make_locality},
    Registered{"lblcr", make_locality_with_replication},
    Registered{"twos", make_two_choices},
};

}  // namespace

std::unique_ptr<Scheduler> make_scheduler(std::string_view name, std::uint64_t seed) {
  for (const Registered& scheduler : kSchedulers) {
    if (scheduler.name == name) return scheduler.make(seed);
  }
  return nullptr;
}

}  // namespace lb::engine
