// SPDX-License-Identifier: Apache-2.0
#include "cli/scheduler_flags.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/service.hpp"

namespace lb::cli {
namespace {

struct FlagName {
  std::string_view name;
  std::uint32_t flag;
  std::string_view scheduler;  // empty: of any
};

constexpr std::array<FlagName, 7> kFlagNames = {{
    {"flag-1", model::kServiceSched1, ""},
    {"flag-2", model::kServiceSched2, ""},
    {"flag-3", model::kServiceSched3, ""},
    {"sh-fallback", model::kServiceSched1, "sh"},
    {"sh-port", model::kServiceSched2, "sh"},
    {"mh-fallback", model::kServiceSched1, "mh"},
    {"mh-port", model::kServiceSched2, "mh"},
}};

}  // namespace

tl::expected<std::uint32_t, Stop> parse_scheduler_flags(std::string_view scheduler,
                                                        std::string_view text) {
  std::uint32_t flags = 0;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    const auto name = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (name.empty()) continue;
    const auto* const found = std::find_if(kFlagNames.begin(), kFlagNames.end(),
                                           [&](const auto& entry) { return entry.name == name; });
    if (found == kFlagNames.end()) {
      return usage_error(fmt::format("invalid scheduler flag `{}'", name));
    }
    if (!found->scheduler.empty() && found->scheduler != scheduler) {
      return usage_error(fmt::format("incompatible scheduler flag `{}'", name));
    }
    flags |= found->flag;
  }
  return flags;
}

std::string scheduler_flags_text(std::string_view scheduler, std::uint32_t flags) {
  // sh and mh have own names, and none for the third flag.
  const bool has_own_names = scheduler == "sh" || scheduler == "mh";
  std::string text;
  for (const auto& entry : kFlagNames) {
    if ((flags & entry.flag) == 0) continue;
    if (entry.scheduler != (has_own_names ? scheduler : std::string_view())) continue;
    if (!text.empty()) text += ',';
    text += entry.name;
  }
  return text;
}

bool has_scheduler_flags(std::uint32_t flags) noexcept {
  return (flags & (model::kServiceSched1 | model::kServiceSched2 | model::kServiceSched3)) != 0;
}

}  // namespace lb::cli
