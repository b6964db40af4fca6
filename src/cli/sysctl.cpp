// SPDX-License-Identifier: Apache-2.0
#include "cli/sysctl.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <string_view>

#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"

namespace lb::cli {
namespace {

constexpr std::string_view kPrefix = "net.ipv4.vs.";

std::string line_of(const wire::Setting& setting) {
  return fmt::format("{} = {}\n", setting.name, setting.value);
}

std::string reason(const wire::Setting& asked, Error error) {
  if (error.code == ENOENT) return fmt::format("there is no setting `{}'", asked.name);
  if (error.code == EINVAL) return fmt::format("{} cannot be `{}'", asked.name, asked.value);
  return unanswered_text(error);
}

wire::Setting parse(const std::string& argument, bool& has_value) {
  const auto equals = argument.find('=');
  has_value = equals != std::string::npos;
  wire::Setting setting{.name = argument.substr(0, equals),
                        .value = has_value ? argument.substr(equals + 1) : std::string()};
  // As sysctl(8) takes them: "drop_entry = 1" in one word.
  const auto trim = [](std::string& text) {
    while (!text.empty() && text.back() == ' ') text.pop_back();
    while (!text.empty() && text.front() == ' ') text.erase(0, 1);
  };
  trim(setting.name);
  trim(setting.value);
  if (setting.name.find_first_of("./") == std::string::npos) {
    setting.name.insert(0, kPrefix);
  }
  return setting;
}

}  // namespace

ProgramResult run_sysctl(std::span<const std::string> arguments, wire::Transport& transport) {
  IpvsClient client(transport);
  ProgramResult result;
  const auto fail = [&](const std::string& text) {
    result.exit_status = 1;
    result.err += fmt::format("sluice: {}\n", text);
  };
  if (arguments.empty()) {
    const auto settings = client.settings();
    if (!settings) fail(unanswered_text(settings.error()));
    if (settings) {
      for (const auto& setting : *settings) result.out += line_of(setting);
    }
    return result;
  }
  for (const auto& argument : arguments) {
    bool has_value = false;
    const auto asked = parse(argument, has_value);
    if (has_value) {
      if (const auto done = client.set_setting(asked); !done) {
        fail(reason(asked, done.error()));
        continue;
      }
    }
    const auto setting = client.setting(asked.name);
    if (!setting) {
      fail(reason(asked, setting.error()));
      continue;
    }
    result.out += line_of(*setting);
  }
  return result;
}

}  // namespace lb::cli
