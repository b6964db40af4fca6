// SPDX-License-Identifier: Apache-2.0
#include "realserver/setup.hpp"

#include <fmt/format.h>

namespace lb::realserver {

std::string_view name_of(Mode mode) {
  switch (mode) {
    case Mode::kDirect:
      return "dr";
    case Mode::kTunnel:
      return "tun";
    case Mode::kNat:
      return "nat";
  }
  return {};
}

std::optional<Mode> mode_of(std::string_view name) {
  for (const auto mode : {Mode::kDirect, Mode::kTunnel, Mode::kNat}) {
    if (name == name_of(mode)) return mode;
  }
  return {};
}

std::string text_of(const Change& change) {
  switch (change.kind) {
    case Change::Kind::kSysctl:
      return fmt::format("{} = {} (was {})", change.what, change.after, change.before);
    case Change::Kind::kAddress:
      return fmt::format("{} on lo", change.what);
    case Change::Kind::kDecap:
      return fmt::format("tunnels are stripped on {}", change.what);
  }
  return {};
}

}  // namespace lb::realserver
