// SPDX-License-Identifier: Apache-2.0
#include "cli/mark.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"
#include "cli/mark_import.hpp"
#include "cli/mark_text.hpp"

namespace lb::cli {
namespace {

constexpr std::string_view kUsage =
    "Usage: sluice mark COMMAND\n"
    "\n"
    "  list                      the rules in order, with the packets that they marked\n"
    "  add RULE                  adds a rule behind the last\n"
    "  insert [POSITION] RULE    adds one before that at POSITION (1 is the first)\n"
    "  delete POSITION | RULE    deletes a rule\n"
    "  flush                     deletes all rules\n"
    "  zero                      zeroes the counters\n"
    "  save                      writes the rules as `restore' reads them\n"
    "  restore                   replaces the rules by those of the standard input\n"
    "  import-iptables [-4|-6]   adds the mark rules of `iptables-save' from the standard input\n"
    "  import-nft                adds those of `nft -j list ruleset'\n"
    "\n"
    "A RULE has the words of iptables: [-4|-6] [!] -p PROTOCOL [!] -s PREFIX [!] -d PREFIX\n"
    "[!] -i INTERFACE [!] --sport PORT[:PORT] [!] --dport PORT[:PORT]\n"
    "-m multiport [!] --sports|--dports|--ports PORT,...\n"
    "-j MARK --set-mark VALUE[/MASK] | --set-xmark VALUE[/MASK] | --and-mark BITS |\n"
    "--or-mark BITS | --xor-mark BITS, or -j RETURN. All rules are gone through in order; a later\n"
    "one overwrites the mark of an earlier one.\n";

constexpr int kLeftOut = 3;

ProgramResult wrong_usage(const std::string& message) {
  return failed(fmt::format("mark: {} (see `sluice mark help')", message), kWrongUsage);
}

ProgramResult finished(const Result<void>& result) {
  return result ? ProgramResult{} : failed(rule_refusal_text(result.error()));
}

using Words = std::span<const std::string>;

ProgramResult list(IpvsClient& client) {
  const auto rules = client.mark_rules();
  if (!rules) return finished(tl::unexpected(rules.error()));
  ProgramResult result;
  const auto out = std::back_inserter(result.out);
  fmt::format_to(out, "{:>5} {:>12} {:>14}  rule\n", "num", "packets", "bytes");
  std::size_t position = 0;
  for (const auto& info : *rules) {
    fmt::format_to(out, "{:>5} {:>12} {:>14}  {}\n", ++position, info.packets, info.bytes,
                   mark_rule_text(info.rule));
  }
  return result;
}

ProgramResult save(IpvsClient& client) {
  const auto rules = client.mark_rules();
  if (!rules) return finished(tl::unexpected(rules.error()));
  ProgramResult result;
  for (const auto& info : *rules) result.out += mark_rule_text(info.rule) + '\n';
  return result;
}

ProgramResult add(IpvsClient& client, Words words, std::uint32_t position) {
  const auto rule = parse_mark_rule(words);
  if (!rule) return wrong_usage(rule.error());
  return finished(client.add_mark_rule(*rule, position));
}

ProgramResult insert(IpvsClient& client, Words words) {
  const auto position = words.empty() ? std::nullopt : parse_unsigned(words[0]);
  if (!position) return add(client, words, 1);
  if (*position == 0) return wrong_usage("positions count from 1");
  return add(client, words.subspan(1), *position);
}

ProgramResult remove(IpvsClient& client, Words words) {
  if (words.empty()) return wrong_usage("which rule is to be deleted?");
  if (words.size() == 1) {
    if (const auto position = parse_unsigned(words[0])) {
      if (*position == 0) return wrong_usage("positions count from 1");
      return finished(client.delete_mark_rule(*position));
    }
  }
  const auto rule = parse_mark_rule(words);
  if (!rule) return wrong_usage(rule.error());
  return finished(client.delete_mark_rule(*rule));
}

/// How far adding several rules came.
struct Added {
  std::size_t count = 0;
  Result<void> end;
};

Added add_all(IpvsClient& client, std::span<const model::MarkRule> rules) {
  Added added;
  for (const auto& rule : rules) {
    added.end = client.add_mark_rule(rule);
    if (!added.end) break;
    ++added.count;
  }
  return added;
}

// All lines are read before anything changes. The new rules come behind the old, which then go: at
// no time a packet finds none.
ProgramResult restore(IpvsClient& client, std::string_view text) {
  std::vector<model::MarkRule> rules;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto words = split_words(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto fail = [&](const std::string& why) {
      return wrong_usage(fmt::format("line {}: {}; nothing was changed", number, why));
    };
    if (!words) return fail(words.error());
    if (words->empty() || words->front().starts_with('#')) continue;
    const auto rule = parse_mark_rule(*words);
    if (!rule) return fail(rule.error());
    rules.push_back(*rule);
  }
  const auto old = client.mark_rules();
  if (!old) return finished(tl::unexpected(old.error()));
  const auto added = add_all(client, rules);
  const auto first = static_cast<std::uint32_t>(added.end ? 1 : old->size() + 1);
  Result<void> deleted;
  for (auto left = added.end ? old->size() : added.count; left > 0 && deleted; --left) {
    deleted = client.delete_mark_rule(first);
  }
  return finished(added.end ? deleted : added.end);
}

ProgramResult import(IpvsClient& client, const tl::expected<MarkImport, std::string>& found) {
  if (!found) return failed(found.error());
  ProgramResult result;
  for (const auto& refused : found->refused) {
    result.err +=
        fmt::format("{}: not taken: {}\n    {}\n", refused.where, refused.reason, refused.text);
  }
  if (const auto added = add_all(client, found->rules); !added.end) {
    result.exit_status = 1;
    result.err +=
        fmt::format("sluice: {}; {} of {} rules were added\n", rule_refusal_text(added.end.error()),
                    added.count, found->rules.size());
    return result;
  }
  result.out =
      fmt::format("{} rules added, {} not taken\n", found->rules.size(), found->refused.size());
  if (!found->refused.empty()) result.exit_status = kLeftOut;
  return result;
}

ProgramResult import_saved(IpvsClient& client, Words words, const std::string& input) {
  if (words.size() > 1) return wrong_usage(fmt::format("unexpected argument `{}'", words[1]));
  if (words.empty()) return import(client, import_iptables(input));
  if (words[0] == "-4") return import(client, import_iptables(input, net::Family::kIpv4));
  if (words[0] == "-6") return import(client, import_iptables(input, net::Family::kIpv6));
  return wrong_usage(fmt::format("unknown option `{}'", words[0]));
}

}  // namespace

bool mark_reads_input(std::string_view subcommand) {
  return subcommand == "restore" || subcommand == "import-iptables" || subcommand == "import-nft";
}

ProgramResult run_mark(std::span<const std::string> arguments, const std::string& input,
                       wire::Transport& transport) {
  if (arguments.empty()) return wrong_usage("a command is needed");
  const auto& command = arguments[0];
  const auto rest = arguments.subspan(1);
  IpvsClient client(transport);
  if (command == "add") return add(client, rest, 0);
  if (command == "insert") return insert(client, rest);
  if (command == "delete") return remove(client, rest);
  if (command == "import-iptables") return import_saved(client, rest, input);
  if (!rest.empty()) return wrong_usage(fmt::format("unexpected argument `{}'", rest.front()));
  if (command == "list") return list(client);
  if (command == "flush") return finished(client.flush_mark_rules());
  if (command == "zero") return finished(client.zero_mark_rules());
  if (command == "save") return save(client);
  if (command == "restore") return restore(client, input);
  if (command == "import-nft") return import(client, import_nft(input));
  if (command == "help" || command == "--help" || command == "-h") {
    return {.exit_status = 0, .out = std::string(kUsage), .err = {}};
  }
  return wrong_usage(fmt::format("unknown command `{}'", command));
}

}  // namespace lb::cli
