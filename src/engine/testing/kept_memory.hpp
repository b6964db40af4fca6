// SPDX-License-Identifier: Apache-2.0
// Memory that outlives a director, for tests: it can be copied at any moment, as if the process had
// ended there.
#pragma once

#include <vector>

#include "engine/director_memory.hpp"

namespace lb::engine::test {

struct KeptMemory {
  explicit KeptMemory(std::size_t connections)
      : records(connections + 1),
        virtual_ends(DirectorMemory::endpoints_for(connections)),
        real_ends(DirectorMemory::endpoints_for(connections)),
        services(64),
        destinations(256),
        mark_rules(16) {}

  [[nodiscard]] DirectorMemory memory() {
    return {.records = records,
            .virtual_ends = virtual_ends,
            .real_ends = real_ends,
            .services = services,
            .destinations = destinations,
            .mark_rules = mark_rules,
            .globals = &globals};
  }

  std::vector<ConnectionRecord> records;
  std::vector<EndpointTable::Entry> virtual_ends;
  std::vector<EndpointTable::Entry> real_ends;
  std::vector<SavedService> services;
  std::vector<SavedDestination> destinations;
  std::vector<model::MarkRule> mark_rules;
  SavedGlobals globals;
};

}  // namespace lb::engine::test
