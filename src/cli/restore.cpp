// SPDX-License-Identifier: Apache-2.0
#include "cli/restore.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "cli/collecting_transport.hpp"
#include "cli/error_text.hpp"
#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"
#include "cli/listing.hpp"
#include "cli/mark.hpp"
#include "cli/mark_text.hpp"
#include "cli/request_text.hpp"
#include "cli/rule_file.hpp"
#include "cli/rules.hpp"
#include "cli/service_command.hpp"
#include "cli/snat.hpp"
#include "cli/snat_text.hpp"

namespace lb::cli {
namespace {

struct Line {
  std::size_t number = 0;
  std::string text;
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    lines.push_back({.number = number, .text = std::string(line)});
  }
  return lines;
}

/// "FILE:3: Service already exists (-A -t 192.0.2.1:80); nothing was changed"
ProgramResult refused(const std::string& file, const Line& line, std::string_view reason,
                      std::string_view rest) {
  return {.exit_status = 1,
          .out = {},
          .err = fmt::format("{}:{}: {} ({}); {}\n", file, line.number,
                             reason.substr(0, reason.find('\n')), line.text, rest)};
}

constexpr std::string_view kNothingChanged = "nothing was changed";
constexpr std::string_view kLinesBeforeStay = "the lines before it were applied";

/// What --replace begins with.
ProgramResult clear(wire::Transport& transport) {
  auto cleared = run_ipvsadm(std::vector<std::string>{"ipvsadm", "-C"}, {}, transport);
  if (cleared.exit_status != 0) return cleared;
  cleared = run_mark(std::vector<std::string>{"flush"}, {}, transport);
  if (cleared.exit_status != 0) return cleared;
  return run_snat(std::vector<std::string>{"flush"}, transport);
}

ProgramResult restore_one_by_one(const std::string& file, std::span<const Line> lines,
                                 bool replaces, wire::Transport& transport) {
  if (replaces) {
    if (auto cleared = clear(transport); cleared.exit_status != 0) return cleared;
  }
  for (const auto& line : lines) {
    const auto done = load_rule(line.text, transport);
    if (done.exit_status == 0) continue;
    return refused(file, line, done.err.empty() ? done.out : done.err, kLinesBeforeStay);
  }
  return {};
}

ProgramResult restore_together(const std::string& file, std::span<const Line> lines, bool replaces,
                               wire::Transport& transport) {
  CollectingTransport collector(transport);
  if (replaces) {
    if (auto cleared = clear(collector); cleared.exit_status != 0) return cleared;
  }
  std::vector<std::size_t> ends;  // requests up to and with each line
  ends.reserve(lines.size());
  for (const auto& line : lines) {
    const auto read = load_rule(line.text, collector);
    if (read.exit_status != 0) {
      return refused(file, line, read.err.empty() ? read.out : read.err, kNothingChanged);
    }
    ends.push_back(collector.requests().size());
  }
  const auto applied = IpvsClient(transport).apply_together(collector.requests());
  if (!applied) return not_answered(applied.error());
  if (!*applied) return {};
  const std::size_t request = (*applied)->request;
  const auto at = std::upper_bound(ends.begin(), ends.end(), request);
  if (at == ends.end())
    return failed("the director names a request that was not sent", kWrongUsage);
  const auto index = static_cast<std::size_t>(at - ends.begin());
  const auto reason = refusal_text(collector.requests()[request], Error{(*applied)->error});
  return refused(file, lines[index], reason, kNothingChanged);
}

}  // namespace

std::string restore_file(std::span<const std::string> arguments) {
  for (const auto& argument : arguments) {
    if (argument == "-" || !argument.starts_with('-')) return argument == "-" ? "" : argument;
  }
  return {};
}

ProgramResult run_restore(std::span<const std::string> arguments, const std::string& file,
                          std::string_view text, wire::Transport& transport) {
  bool is_atomic = false;
  bool replaces = false;
  std::size_t files = 0;
  for (const auto& argument : arguments) {
    if (argument == "--atomic") {
      is_atomic = true;
    } else if (argument == "--replace") {
      replaces = true;
    } else if (argument.starts_with('-') && argument != "-") {
      return failed(fmt::format("restore: unknown option `{}'", argument), kWrongUsage);
    } else if (++files > 1) {
      return failed(fmt::format("restore: unexpected argument `{}'", argument), kWrongUsage);
    }
  }
  const auto lines = lines_of(text);
  return is_atomic ? restore_together(file, lines, replaces, transport)
                   : restore_one_by_one(file, lines, replaces, transport);
}

ProgramResult run_save(std::span<const std::string> arguments, wire::Transport& transport) {
  if (!arguments.empty()) {
    return failed(fmt::format("save: unexpected argument `{}'", arguments.front()), kWrongUsage);
  }
  IpvsClient client(transport);
  if (const auto opened = client.open(); !opened) return not_answered(opened.error());
  auto services = client.services();
  if (!services) return not_answered(services.error());
  sort_for_listing(*services);
  ProgramResult result;
  auto all = client.destinations_of(*services);
  for (std::size_t i = 0; i < services->size(); ++i) {
    const auto& service = (*services)[i];
    auto& destinations = all[i];
    if (!destinations) return not_answered(destinations.error());
    sort_for_listing(*destinations);
    result.out += service_rule(service.spec, true);
    for (const auto& destination : *destinations) {
      result.out += whole_destination_rule(service.spec.key, destination.spec);
    }
  }
  const auto options = client.service_options();
  if (!options) return not_answered(options.error());
  for (const auto& service : *options) result.out += service_options_rule(service);
  const auto rules = client.mark_rules();
  if (!rules) return not_answered(rules.error());
  for (const auto& info : *rules) result.out += "mark add " + mark_rule_text(info.rule) + '\n';
  const auto snat_rules = client.snat_rules();
  if (!snat_rules) return not_answered(snat_rules.error());
  for (const auto& info : *snat_rules) {
    result.out += "snat add " + snat_rule_text(info.rule) + '\n';
  }
  return result;
}

ProgramResult run_ipvsadm_save(std::span<const std::string> arguments, wire::Transport& transport) {
  std::vector<std::string> words{"ipvsadm", "-S"};
  for (const auto& argument : arguments.subspan(std::min<std::size_t>(1, arguments.size()))) {
    if (argument == "-n") {
      words.resize(2);
      words.emplace_back("-n");
    } else if (argument.starts_with('-')) {
      return {.exit_status = 1,
              .out = {},
              .err =
                  "ipvsadm-save: writes the IPVS table to standard output\n"
                  "   -n: addresses and ports as numbers\n"};
    }
  }
  return run_ipvsadm(words, {}, transport);
}

ProgramResult run_ipvsadm_restore(const std::string& input, wire::Transport& transport) {
  std::string rules;
  for (const auto& line : lines_of(input)) {
    if (!line.text.starts_with('#')) rules += line.text + '\n';
  }
  const auto cleared = run_ipvsadm(std::vector<std::string>{"ipvsadm", "-C"}, {}, transport);
  auto restored = run_ipvsadm(std::vector<std::string>{"ipvsadm", "-R"}, rules, transport);
  restored.out.insert(0, cleared.out);
  restored.err.insert(0, cleared.err);
  return restored;
}

}  // namespace lb::cli
