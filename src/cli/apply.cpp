// SPDX-License-Identifier: Apache-2.0
#include "cli/apply.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "cli/collecting_transport.hpp"
#include "cli/difference.hpp"
#include "cli/director_state.hpp"
#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"
#include "cli/request_text.hpp"

namespace lb::cli {
namespace {

ProgramResult refused(const std::string& file, const wire::TransactionFailure& failure,
                      const std::vector<Change>& changes,
                      const std::vector<wire::Message>& requests) {
  if (failure.request >= changes.size() || failure.request >= requests.size()) {
    return not_answered(Error{EBADMSG});
  }
  const auto& change = changes[failure.request];
  const auto reason = refusal_text(requests[failure.request], Error{failure.error});
  const auto where = change.place.line == 0
                         ? file
                         : fmt::format("{}:{}:{}", file, change.place.line, change.place.column);
  return {.exit_status = 1,
          .out = {},
          .err = fmt::format("{}: {}; nothing was changed\n{}", where, reason, change.text)};
}

}  // namespace

ProgramResult run_apply(std::span<const std::string> arguments, const std::string& file,
                        std::string_view text, wire::Transport& transport) {
  bool is_dry_run = false;
  std::size_t files = 0;
  for (const auto& argument : arguments) {
    if (argument == "--dry-run") {
      is_dry_run = true;
    } else if (argument.starts_with('-') && argument != "-") {
      return failed(fmt::format("apply: unknown option `{}'", argument), kWrongUsage);
    } else if (++files > 1) {
      return failed(fmt::format("apply: unexpected argument `{}'", argument), kWrongUsage);
    }
  }
  const auto wanted = parse_state(text, file);
  if (!wanted) return {.exit_status = 1, .out = {}, .err = wanted.error() + '\n'};
  IpvsClient client(transport);
  if (const auto opened = client.open(); !opened) return not_answered(opened.error());
  const auto running = read_director(client);
  if (!running) return not_answered(running.error());

  CollectingTransport collector(transport);
  IpvsClient collected(collector);
  if (const auto opened = collected.open(); !opened) return not_answered(opened.error());
  const auto changes = send_difference(*running, *wanted, collected);
  ProgramResult result;
  for (const auto& change : changes) result.out += change.text;
  if (is_dry_run || changes.empty()) return result;
  const auto applied = client.apply_together(collector.requests());
  if (!applied) return not_answered(applied.error());
  if (*applied) return refused(file, **applied, changes, collector.requests());
  return result;
}

ProgramResult run_export(std::span<const std::string> arguments, wire::Transport& transport) {
  if (!arguments.empty()) {
    return failed(fmt::format("export: unexpected argument `{}'", arguments.front()), kWrongUsage);
  }
  IpvsClient client(transport);
  if (const auto opened = client.open(); !opened) return not_answered(opened.error());
  const auto state = read_director(client);
  if (!state) return not_answered(state.error());
  return {.exit_status = 0, .out = state_text(*state), .err = {}};
}

}  // namespace lb::cli
