// SPDX-License-Identifier: Apache-2.0
#include "shim/module_loader.hpp"

#include <string_view>

#include "shim/director_link.hpp"
#include "shim/next.hpp"

namespace lb::shim {

Execution judge_execution(const char* path, char* const* arguments) noexcept {
  if (path == nullptr || arguments == nullptr || arguments[0] == nullptr) {
    return Execution::kAsAsked;
  }
  const std::string_view whole(path);
  if (whole.substr(whole.rfind('/') + 1) != "modprobe") return Execution::kAsAsked;
  for (auto* argument = arguments + 1; *argument != nullptr; ++argument) {
    const std::string_view name(*argument);
    if (name != "ip_vs" && !name.starts_with("ip_vs_")) continue;
    const auto connected = connect_director(-1);
    if (!connected) return Execution::kNoSuchModule;
    LB_NEXT(close)(*connected);
    return Execution::kAlreadyLoaded;
  }
  return Execution::kAsAsked;
}

}  // namespace lb::shim
