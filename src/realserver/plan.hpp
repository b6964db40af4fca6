// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "host/rtnetlink.hpp"
#include "realserver/setup.hpp"

namespace lb::realserver {

/// What a plan is made from.
struct HostState {
  std::vector<host::Link> links;
  std::vector<host::LinkAddress> addresses;
  std::vector<host::Route> routes;
  std::vector<std::string> decapsulating;  ///< interfaces that have our program
  std::function<std::optional<int>(const std::string& path)> sysctl;
};

struct Plan {
  std::vector<Change> changes;        ///< in the order of doing; empty: all is as it should be
  std::vector<std::string> refusals;  ///< why it must not be done
  std::vector<std::string> warnings;
  std::vector<std::string> advice;
};

/// What has to change on the host for `setup`. Nothing is asked or done here.
[[nodiscard]] Plan make_plan(const Setup& setup, const HostState& state);

/// The interfaces by which a default route leaves, each once; without one, all Ethernet interfaces
/// that are up.
[[nodiscard]] std::vector<std::string> likely_interfaces(const HostState& state);

}  // namespace lb::realserver
