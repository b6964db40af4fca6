// SPDX-License-Identifier: Apache-2.0
#include "realserver/status_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

namespace lb::realserver {

void print_status(const Journal& journal, const Plan& plan, bool is_fine) {
  const auto& setup = journal.setup();
  std::vector<std::string> vips;
  for (const auto& vip : setup.vips) vips.push_back(vip.to_text());
  fmt::print("mode {}, virtual addresses {}, interfaces {}\n", name_of(setup.mode),
             fmt::join(vips, " "), fmt::join(setup.interfaces, " "));
  for (const auto& change : journal.changes()) fmt::print("  changed: {}\n", text_of(change));
  for (const auto& missing : plan.changes) fmt::print("  MISSING: {}\n", text_of(missing));
  for (const auto& reason : plan.refusals) fmt::print("  WRONG: {}\n", reason);
  for (const auto& warning : plan.warnings) fmt::print("  warning: {}\n", warning);
  if (!journal.is_complete()) {
    fmt::print("`up' was ended in the middle: run it again, or `down'\n");
  } else if (is_fine) {
    fmt::print("all is in place\n");
  } else {
    fmt::print("not all is in place: `up' again mends it\n");
  }
}

std::string status_json(const Journal& journal, const Plan& plan, bool is_fine) {
  const auto& setup = journal.setup();
  auto changes = nlohmann::json::array();
  for (const auto& change : journal.changes()) changes.push_back(text_of(change));
  auto missing = nlohmann::json::array();
  for (const auto& change : plan.changes) missing.push_back(text_of(change));
  auto vips = nlohmann::json::array();
  for (const auto& vip : setup.vips) vips.push_back(vip.to_text());
  const nlohmann::json all{{"up", true},
                           {"complete", journal.is_complete()},
                           {"ok", is_fine},
                           {"mode", name_of(setup.mode)},
                           {"vips", std::move(vips)},
                           {"interfaces", setup.interfaces},
                           {"changed", std::move(changes)},
                           {"missing", std::move(missing)},
                           {"wrong", plan.refusals},
                           {"warnings", plan.warnings}};
  return all.dump(2) + '\n';
}

}  // namespace lb::realserver
