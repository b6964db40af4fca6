// SPDX-License-Identifier: Apache-2.0
#include "engine/rehearsal.hpp"

#include "engine/director_state.hpp"
#include "engine/snat.hpp"

namespace lb::engine {

std::unique_ptr<Director> make_rehearsal(const Director& director) {
  const auto& state = director.state();
  // Only what decides about requests: never the memory of the real tables, or hints about it.
  DirectorOptions options;
  options.connection_capacity = 1;
  options.hash_key = state.options.hash_key;
  options.shown_table_size = state.options.shown_table_size;
  options.missing_schedulers = state.options.missing_schedulers;
  auto rehearsal = std::make_unique<Director>(options, state.network);
  auto& own = rehearsal->state();
  own.now = state.now;
  own.settings = state.settings;
  own.connections.timeouts() = state.connections.timeouts();
  own.mark_rules = state.mark_rules;
  // A daemon that runs forbids some destinations; this one sends nothing.
  own.sync.master = state.sync.master;
  own.sync.backup = state.sync.backup;
  for (const auto* entry : state.snat.rules.in_order()) {
    static_cast<void>(add_snat_rule(*rehearsal, entry->rule));  // they stand beside each other here
  }
  return rehearsal;
}

}  // namespace lb::engine
