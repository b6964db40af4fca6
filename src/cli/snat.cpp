// SPDX-License-Identifier: Apache-2.0
#include "cli/snat.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "cli/address_text.hpp"
#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"
#include "cli/snat_text.hpp"

namespace lb::cli {
namespace {

constexpr std::string_view kUsage =
    "Usage: sluice snat COMMAND\n"
    "\n"
    "  list [--stats] [NAME]     the rules in the order in which they are tried, with "
    "connections,\n"
    "                            inside hosts and refusals; --stats: with packets and bytes\n"
    "  add RULE                  adds a rule; the most specific one is taken for a packet\n"
    "  delete NAME               deletes a rule, and ends its connections\n"
    "  flush                     deletes all rules\n"
    "  zero [NAME]               zeroes the counters of all rules, or of one\n"
    "\n"
    "A RULE is NAME and what follows; what is in brackets may be left out:\n"
    "  [--inside PREFIX]         packets of these hosts (-s)\n"
    "  --pool ADDRESS[-ADDRESS][,...][:PORT-PORT]\n"
    "                            leave with one of these addresses; also a PREFIX\n"
    "  [--ports PORT-PORT]       and one of these ports\n"
    "  [--destination PREFIX]    only packets to there (-d)\n"
    "  [--out-interface NAME]    only packets that leave by it (-o)\n"
    "  [--proto tcp|udp|icmp]    only these (-p); SCTP is not translated\n"
    "  [--limit N]               at most so many connections of each inside host\n"
    "  [--timeout-tcp, --timeout-tcp-transitory, --timeout-udp, --timeout-icmp SECONDS]\n"
    "or, in place of --inside and --pool, for hosts that keep their ports and can be reached from\n"
    "outside:\n"
    "  --static INSIDE=OUTSIDE   an address or prefix for another of the same length\n"
    "The words of iptables (-s -d -o -p -j SNAT --to-source) are taken as well. Examples:\n"
    "    sluice snat add office --inside 10.0.0.0/8 --out-interface eth0 --pool 192.0.2.10\n"
    "    sluice snat add web --static 10.0.0.5=192.0.2.20 --ports 80\n";

ProgramResult wrong_usage(const std::string& message) {
  return failed(fmt::format("snat: {} (see `sluice snat help')", message), kWrongUsage);
}

ProgramResult finished(const Result<void>& result) {
  return result ? ProgramResult{} : failed("snat: " + rule_refusal_text(result.error()));
}

using Words = std::span<const std::string>;

void append_connections(std::string& text, const model::SnatRuleInfo& info) {
  const auto out = std::back_inserter(text);
  const auto refused = info.refused_pool + info.refused_limit + info.refused_table;
  fmt::format_to(out, "{:<15} {:>9} {:>9} {:>8} {:>9} {}\n", info.rule.name.view(),
                 info.active_connections, info.inactive_connections, info.clients, refused,
                 snat_options_text(info.rule));
  if (const auto last = last_refusal_text(info); !last.empty()) {
    fmt::format_to(out, "{:<15} last refused: {}\n", "", last);
  }
}

void append_statistics(std::string& text, const model::SnatRuleInfo& info) {
  const auto& counters = info.statistics.counters;
  fmt::format_to(std::back_inserter(text),
                 "{:<15} {:>10} {:>12} {:>12} {:>15} {:>15} {:>9} {:>9} {:>9}\n",
                 info.rule.name.view(), counters.connections, counters.packets_in,
                 counters.packets_out, counters.bytes_in, counters.bytes_out, info.refused_pool,
                 info.refused_limit, info.refused_table);
}

ProgramResult list(IpvsClient& client, Words words) {
  bool has_statistics = false;
  std::string name;
  for (const auto& word : words) {
    if (word == "--stats") {
      has_statistics = true;
    } else if (word.starts_with('-')) {
      return wrong_usage(fmt::format("unknown option `{}'", word));
    } else if (!name.empty()) {
      return wrong_usage(fmt::format("unexpected argument `{}'", word));
    } else {
      name = word;
    }
  }
  const auto rules = client.snat_rules();
  if (!rules) return finished(tl::unexpected(rules.error()));
  ProgramResult result;
  result.out = has_statistics
                   ? fmt::format("{:<15} {:>10} {:>12} {:>12} {:>15} {:>15} {:>9} {:>9} {:>9}\n",
                                 "name", "conns", "inpkts", "outpkts", "inbytes", "outbytes",
                                 "no port", "limit", "no room")
                   : fmt::format("{:<15} {:>9} {:>9} {:>8} {:>9} {}\n", "name", "active",
                                 "inactive", "clients", "refused", "rule");
  bool is_found = name.empty();
  for (const auto& info : *rules) {
    if (!name.empty() && info.rule.name.view() != name) continue;
    is_found = true;
    has_statistics ? append_statistics(result.out, info) : append_connections(result.out, info);
  }
  if (!is_found) return failed(fmt::format("snat: there is no rule `{}'", name));
  return result;
}

ProgramResult add(IpvsClient& client, Words words) {
  const auto rule = parse_snat_rule(words);
  if (!rule) return wrong_usage(rule.error());
  const auto added = client.add_snat_rule(*rule);
  if (added || added.error().code != EEXIST) return finished(added);
  // The director knows with which one; between two questions it may have gone.
  const auto conflict = client.snat_conflict(*rule);
  if (!conflict || !*conflict) return finished(added);
  return failed(fmt::format("snat: {}: {}", rule->name.view(), snat_conflict_text(**conflict)));
}

/// The only word, as the name of a rule.
tl::expected<model::Name, ProgramResult> only_name(Words words) {
  if (words.empty() || words[0].empty()) {
    return tl::unexpected(wrong_usage("which rule? (its NAME)"));
  }
  if (words.size() > 1) {
    return tl::unexpected(wrong_usage(fmt::format("unexpected argument `{}'", words[1])));
  }
  // A longer one would be cut, and be that of another rule.
  if (words[0].size() > model::Name::kMaxLength) {
    return tl::unexpected(failed(fmt::format("snat: there is no rule `{}'", words[0])));
  }
  return model::Name(std::string_view(words[0]));
}

ProgramResult remove(IpvsClient& client, Words words) {
  const auto name = only_name(words);
  return name ? finished(client.delete_snat_rule(*name)) : name.error();
}

ProgramResult zero(IpvsClient& client, Words words) {
  if (words.empty()) return finished(client.zero_snat_rules());
  const auto name = only_name(words);
  return name ? finished(client.zero_snat_rules(*name)) : name.error();
}

}  // namespace

ProgramResult run_snat(std::span<const std::string> arguments, wire::Transport& transport) {
  if (arguments.empty()) return wrong_usage("a command is needed");
  const auto& command = arguments[0];
  const auto rest = arguments.subspan(1);
  IpvsClient client(transport);
  if (command == "list") return list(client, rest);
  if (command == "add") return add(client, rest);
  if (command == "delete") return remove(client, rest);
  if (command == "zero") return zero(client, rest);
  if (!rest.empty()) return wrong_usage(fmt::format("unexpected argument `{}'", rest.front()));
  if (command == "flush") return finished(client.flush_snat_rules());
  if (command == "help" || command == "--help" || command == "-h") {
    return {.exit_status = 0, .out = std::string(kUsage), .err = {}};
  }
  return wrong_usage(fmt::format("unknown command `{}'", command));
}

}  // namespace lb::cli
