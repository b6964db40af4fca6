// SPDX-License-Identifier: Apache-2.0
#include "cli/service_command.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <optional>
#include <string_view>

#include "cli/address_text.hpp"
#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"
#include "cli/mark_text.hpp"

namespace lb::cli {
namespace {

using Words = std::span<const std::string>;
template <class T>
using Parsed = tl::expected<T, std::string>;

constexpr std::string_view kUsage =
    "Usage: sluice service COMMAND\n"
    "\n"
    "  list                    the services that have options beyond those of ipvsadm\n"
    "  set SERVICE [OPTION...] gives a service these options in place of those it has\n"
    "\n"
    "A SERVICE is -t|-u|--sctp-service ADDRESS:PORT or -f MARK [-6]. OPTIONs:\n"
    "  --drain SECONDS|off     connections of a server that is removed or gets weight 0 go on for\n"
    "                          so long\n"
    "  --at-end END            what becomes of those left then: `keep' (as IPVS has it),\n"
    "                          `reschedule' (all but TCP get another server), `reset' (that, and\n"
    "                          TCP clients get a RST)\n"
    "  --reuse-ports on|off    a SYN on a connection of such a server opens a new one at once\n"
    "  --timeout-tcp, --timeout-tcp-fin, --timeout-udp SECONDS\n"
    "                          in place of those of `ipvsadm --set'\n"
    "What is not given is as the settings sluice.drain, sluice.drain_end and sluice.reuse_ports\n"
    "have it.\n";

constexpr std::array<std::string_view, 3> kEnds = {"keep", "reschedule", "reset"};

ProgramResult wrong_usage(std::string_view command, const std::string& message) {
  return failed(fmt::format("{}: {} (see `sluice service help')", command, message), kWrongUsage);
}

ProgramResult finished(const Result<void>& result) {
  return result ? ProgramResult{} : failed(service_refusal_text(result.error()));
}

Parsed<bool> parse_switch(const std::string& option, const std::string& text) {
  if (text == "on") return true;
  if (text == "off") return false;
  return tl::unexpected(fmt::format("`{}' is on or off, not `{}'", option, text));
}

Parsed<void> take_option(const std::string& option, const std::string& text,
                         model::ServiceOptions& options) {
  const auto seconds = [&](std::uint32_t highest) -> Parsed<std::uint32_t> {
    const auto number = parse_unsigned(text, highest);
    if (number) return *number;
    return tl::unexpected(
        fmt::format("`{}' needs seconds up to {}, not `{}'", option, highest, text));
  };
  const auto timeout = [&](std::uint32_t& out) -> Parsed<void> {
    const auto number = seconds(model::ServiceOptions::kMaxDrain);
    if (!number) return tl::unexpected(number.error());
    out = *number;
    return {};
  };
  if (option == "--drain") {
    if (text == "off") {
      options.drain = model::ServiceOptions::kNoDrain;
      return {};
    }
    const auto number = seconds(model::ServiceOptions::kMaxDrain);
    if (!number) return tl::unexpected(number.error());
    options.drain = static_cast<std::int32_t>(*number);
    return {};
  }
  if (option == "--at-end") {
    for (std::size_t i = 0; i < kEnds.size(); ++i) {
      if (text == kEnds[i]) options.drain_end = static_cast<model::DrainEnd>(i);
    }
    if (options.drain_end) return {};
    return tl::unexpected(fmt::format("`{}' is keep, reschedule or reset, not `{}'", option, text));
  }
  if (option == "--reuse-ports") {
    const auto value = parse_switch(option, text);
    if (!value) return tl::unexpected(value.error());
    options.reuse_ports = *value;
    return {};
  }
  if (option == "--timeout-tcp") return timeout(options.timeouts.tcp);
  if (option == "--timeout-tcp-fin") return timeout(options.timeouts.tcp_fin);
  if (option == "--timeout-udp") return timeout(options.timeouts.udp);
  return tl::unexpected(fmt::format("unknown option `{}'", option));
}

Parsed<model::ServiceOptions> take_options(Words words) {
  model::ServiceOptions options;
  while (!words.empty()) {
    if (words.size() < 2) {
      return tl::unexpected(fmt::format("`{}' is unknown or needs a value", words.front()));
    }
    if (auto taken = take_option(words[0], words[1], options); !taken) {
      return tl::unexpected(taken.error());
    }
    words = words.subspan(2);
  }
  return options;
}

std::string options_text(const model::ServiceOptions& options) {
  std::string text;
  const auto out = std::back_inserter(text);
  if (options.drain && *options.drain == model::ServiceOptions::kNoDrain) {
    text += " --drain off";
  } else if (options.drain) {
    fmt::format_to(out, " --drain {}", *options.drain);
  }
  if (options.drain_end) {
    fmt::format_to(out, " --at-end {}", kEnds[static_cast<std::size_t>(*options.drain_end)]);
  }
  if (options.reuse_ports) {
    fmt::format_to(out, " --reuse-ports {}", *options.reuse_ports ? "on" : "off");
  }
  const auto& [tcp, tcp_fin, udp] = options.timeouts;
  if (tcp != 0) fmt::format_to(out, " --timeout-tcp {}", tcp);
  if (tcp_fin != 0) fmt::format_to(out, " --timeout-tcp-fin {}", tcp_fin);
  if (udp != 0) fmt::format_to(out, " --timeout-udp {}", udp);
  return text;
}

ProgramResult list(IpvsClient& client) {
  const auto services = client.service_options();
  if (!services) return finished(tl::unexpected(services.error()));
  ProgramResult result;
  for (const auto& service : *services) {
    result.out += service_key_text(service.key) + options_text(service.options) + '\n';
  }
  return result;
}

ProgramResult set(IpvsClient& client, Words words) {
  const auto key = take_service(words);
  if (!key) return wrong_usage("service set", key.error());
  const auto options = take_options(words);
  if (!options) return wrong_usage("service set", options.error());
  return finished(client.set_service_options({.key = *key, .options = *options}));
}

Parsed<void> take_server(const std::string& text, model::ConnectionSelection& selection) {
  // An IPv6 address with a port stands in brackets, as everywhere.
  if (const auto address = net::IpAddress::from_text(text)) {
    selection.server = *address;
    return {};
  }
  const auto parsed = parse_address(text, net::Protocol::kTcp);
  if (!parsed) return tl::unexpected(fmt::format("`{}' is no ADDRESS[:PORT]", text));
  selection.server = parsed->address;
  selection.server_port = parsed->port;
  return {};
}

}  // namespace

std::string service_refusal_text(Error error) {
  switch (error.code) {
    case ESRCH:
      return "there is no such service";
    case EINVAL:
      return "the director does not take these options";
    case EBUSY:
      return "the director is still busy with ending connections; try again";
    default:
      return unanswered_text(error);
  }
}

tl::expected<model::ServiceKey, std::string> take_service(std::span<const std::string>& words) {
  if (words.size() < 2) return tl::unexpected(std::string("which service?"));
  const auto& option = words[0];
  const auto& text = words[1];
  model::ServiceKey key;
  if (option == "-f" || option == "--fwmark-service") {
    const auto mark = parse_unsigned(text);
    if (!mark || *mark == 0) return tl::unexpected(fmt::format("`{}' is no firewall mark", text));
    key.fwmark = *mark;
    words = words.subspan(2);
    if (!words.empty() && (words[0] == "-6" || words[0] == "--ipv6")) {
      key.family = net::Family::kIpv6;
      key.address = net::IpAddress::any(key.family);
      words = words.subspan(1);
    }
    return key;
  }
  if (option == "-t" || option == "--tcp-service") {
    key.protocol = net::Protocol::kTcp;
  } else if (option == "-u" || option == "--udp-service") {
    key.protocol = net::Protocol::kUdp;
  } else if (option == "--sctp-service") {
    key.protocol = net::Protocol::kSctp;
  } else {
    return tl::unexpected(fmt::format("`{}' names no service", option));
  }
  const auto parsed = parse_address(text, key.protocol);
  if (!parsed) return tl::unexpected(fmt::format("`{}' is no ADDRESS:PORT", text));
  key.family = parsed->address.family();
  key.address = parsed->address;
  key.port = parsed->port.value_or(net::Port());
  words = words.subspan(2);
  return key;
}

std::string service_key_text(const model::ServiceKey& key) {
  if (key.fwmark != 0) {
    return fmt::format("-f {}{}", key.fwmark, key.family == net::Family::kIpv6 ? " -6" : "");
  }
  const auto* const option = key.protocol == net::Protocol::kTcp   ? "-t"
                             : key.protocol == net::Protocol::kUdp ? "-u"
                                                                   : "--sctp-service";
  return fmt::format("{} {}", option, endpoint_text(key.address, key.port, std::nullopt));
}

std::string service_options_rule(const wire::NamedServiceOptions& service) {
  return fmt::format("service set {}{}\n", service_key_text(service.key),
                     options_text(service.options));
}

ProgramResult run_service(std::span<const std::string> arguments, wire::Transport& transport) {
  if (arguments.empty()) return wrong_usage("service", "a command is needed");
  const auto& command = arguments[0];
  const auto rest = arguments.subspan(1);
  IpvsClient client(transport);
  if (command == "set") return set(client, rest);
  if (!rest.empty()) {
    return wrong_usage("service", fmt::format("unexpected argument `{}'", rest.front()));
  }
  if (command == "list") return list(client);
  if (command == "help" || command == "--help" || command == "-h") {
    return {.exit_status = 0, .out = std::string(kUsage), .err = {}};
  }
  return wrong_usage("service", fmt::format("unknown command `{}'", command));
}

ProgramResult run_delete_connections(std::span<const std::string> arguments,
                                     wire::Transport& transport) {
  model::ConnectionSelection selection;
  const auto fail = [](const std::string& message) {
    return wrong_usage("connections delete", message);
  };
  auto words = arguments;
  while (!words.empty()) {
    if (words[0] != "--server" && words[0] != "--client") {
      const auto key = take_service(words);
      if (!key) return fail(key.error());
      selection.service = *key;
      continue;
    }
    if (words.size() < 2) return fail(fmt::format("`{}' needs an address", words[0]));
    if (words[0] == "--server") {
      if (auto taken = take_server(words[1], selection); !taken) return fail(taken.error());
    } else {
      selection.client = net::IpAddress::from_text(words[1]);
      if (!selection.client) return fail(fmt::format("`{}' is no address", words[1]));
    }
    words = words.subspan(2);
  }
  if (!selection.is_limited()) {
    return fail("name a --server, a --client or a service");
  }
  return finished(IpvsClient(transport).end_connections(selection));
}

}  // namespace lb::cli
