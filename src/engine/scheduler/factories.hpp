// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "engine/scheduler/scheduler.hpp"

/// One maker for each scheduler, known to the registry only.
namespace lb::engine {

std::unique_ptr<Scheduler> make_round_robin();
std::unique_ptr<Scheduler> make_weighted_round_robin();
std::unique_ptr<Scheduler> make_least_connection();
std::unique_ptr<Scheduler> make_weighted_least_connection();
std::unique_ptr<Scheduler> make_shortest_expected_delay();
std::unique_ptr<Scheduler> make_never_queue();
std::unique_ptr<Scheduler> make_failover();
std::unique_ptr<Scheduler> make_overflow();
std::unique_ptr<Scheduler> make_destination_hash();
std::unique_ptr<Scheduler> make_source_hash();
std::unique_ptr<Scheduler> make_maglev_hash();
std::unique_ptr<Scheduler> make_locality(std::uint64_t seed);
std::unique_ptr<Scheduler> make_locality_with_replication(std::uint64_t seed);
std::unique_ptr<Scheduler> make_two_choices(std::uint64_t seed);

}  // namespace lb::engine
