// SPDX-License-Identifier: Apache-2.0
#include "doctor/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "doctor/check.hpp"
#include "doctor/gather.hpp"
#include "doctor/options.hpp"
#include "host/sysctl.hpp"

namespace lb::doctor {
namespace {

// As monitoring plugins have them.
constexpr int kExitFine = 0, kExitWarning = 1, kExitError = 2, kExitUnknown = 3;

constexpr std::string_view kUsage = R"(Usage: sluice doctor [OPTION]...
Looks at this host, as a director or as a real server, for what breaks LVS in practice, and says
what to do. Asks on the wire who has the virtual addresses; changes nothing. Needs root.

  -j, --json               as a JSON object
  -l, --list               the checks, and exit
  -h, --help               print this and exit

As a real server (what is not given is taken from `sluice realserver up', or looked up):
  -V, --vip ADDRESS[,...]  virtual addresses
  -m, --mode MODE          how the director forwards: dr, tun or nat
  -i, --interface NAME     where the director's packets come in; may be repeated
  -D, --director ADDRESS   the director's own address
  -s, --state DIRECTORY    of `sluice realserver up'

Exit status: 0 nothing is wrong, 1 there are warnings, 2 there are errors, 3 it can't be told.
)";

int fail(std::string_view reason) {
  fmt::print(stderr, "sluice doctor: {}\n", reason);
  return kExitUnknown;
}

std::size_t count(const std::vector<Finding>& findings, Severity severity) {
  return static_cast<std::size_t>(
      std::count_if(findings.begin(), findings.end(),
                    [&](const Finding& one) { return one.severity == severity; }));
}

bool concerns(const Check& check, const Facts& facts) {
  return (facts.director && check.on_director != nullptr) ||
         (facts.server && check.on_server != nullptr);
}

std::string roles(const Facts& facts) {
  if (facts.director && facts.server) return "a director and a real server";
  return facts.director ? "a director" : "a real server";
}

void print_text(const Facts& facts, const std::vector<Finding>& findings) {
  for (const auto severity : {Severity::kError, Severity::kWarning, Severity::kNote}) {
    for (const auto& one : findings) {
      if (one.severity != severity) continue;
      fmt::print("{}: {}: {}\n    what to do: {}\n", name_of(severity), one.check, one.what,
                 one.remedy);
    }
  }
  const auto checks = std::count_if(all_checks().begin(), all_checks().end(),
                                    [&](const Check& check) { return concerns(check, facts); });
  fmt::print("this host is {}; {} checks: {} errors, {} warnings, {} notes\n", roles(facts), checks,
             count(findings, Severity::kError), count(findings, Severity::kWarning),
             count(findings, Severity::kNote));
}

void print_json(const Facts& facts, const std::vector<Finding>& findings) {
  auto listed = nlohmann::json::array();
  for (const auto& one : findings) {
    listed.push_back({{"severity", name_of(one.severity)},
                      {"check", one.check},
                      {"what", one.what},
                      {"remedy", one.remedy}});
  }
  auto checks = nlohmann::json::array();
  for (const auto& check : all_checks()) {
    if (concerns(check, facts)) checks.push_back(check.name);
  }
  const nlohmann::json all{{"director", facts.director.has_value()},
                           {"real_server", facts.server.has_value()},
                           {"checks", std::move(checks)},
                           {"findings", std::move(listed)},
                           {"errors", count(findings, Severity::kError)},
                           {"warnings", count(findings, Severity::kWarning)},
                           {"notes", count(findings, Severity::kNote)}};
  fmt::print("{}\n", all.dump(2));
}

int run(const Options& options, const AskDirector& ask) {
  if (const auto missing = host::missing_privilege()) {
    return fail(fmt::format("this needs privileges ({} is missing): run as root", *missing));
  }
  auto kernel = host::Rtnetlink::open();
  if (!kernel) return fail(kernel.error());
  auto facts = gather_host(*kernel);
  if (!facts) return fail(facts.error());
  if (ask) {
    if (const auto asked = ask(*kernel, *facts); !asked) return fail(asked.error());
  }
  if (const auto gathered = gather_server(options, *facts); !gathered) {
    return fail(gathered.error());
  }
  if (!facts->director && !facts->server) {
    return fail(
        "no director runs in this network namespace, and nothing says that this host is a real "
        "server (no address on lo); for a real server: --vip ADDRESS --mode dr|tun|nat");
  }
  const auto findings = examine(*facts);
  if (options.is_json) {
    print_json(*facts, findings);
  } else {
    print_text(*facts, findings);
  }
  if (count(findings, Severity::kError) > 0) return kExitError;
  return count(findings, Severity::kWarning) > 0 ? kExitWarning : kExitFine;
}

}  // namespace

int main(std::span<const std::string> arguments, const AskDirector& ask) {
  const auto options = parse_options({arguments.begin(), arguments.end()});
  if (!options) return fail(options.error() + " (see --help)");
  if (options->is_help) {
    fmt::print("{}", kUsage);
    return kExitFine;
  }
  if (options->is_list) {
    for (const auto& check : all_checks()) fmt::print("{:<18} {}\n", check.name, check.question);
    return kExitFine;
  }
  try {
    return run(*options, ask);
  } catch (const std::exception& error) {  // out of memory, no more threads
    return fail(error.what());
  }
}

}  // namespace lb::doctor
