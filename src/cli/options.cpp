// SPDX-License-Identifier: Apache-2.0
#include "cli/options.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <utility>

#include "cli/address_text.hpp"
#include "cli/option_reader.hpp"
#include "cli/option_rules.hpp"
#include "cli/scheduler_flags.hpp"
#include "cli/usage.hpp"

namespace lb::cli {
namespace {

using Checked = tl::expected<void, Stop>;

constexpr long kMaxTimeout = 31L * 86400;
constexpr std::uint32_t kDefaultTimeout = 360;  // of -p without a number (IP_VS_TEMPLATE_TIMEOUT)
constexpr long kMaxSyncMessage = 65507;         // the largest UDP payload over IPv4
constexpr std::uint32_t kWholeIpv6Address = 128;

/// Reads options in the order in which they stand, as ipvsadm does: what -r or -M means depends
/// on what stood before.
class Parser {
 public:
  explicit Parser(std::span<const std::string> arguments)
      : program_(arguments.front()), reader_(arguments) {}

  tl::expected<Command, Stop> run();

 private:
  [[nodiscard]] tl::unexpected<Stop> hint() const {
    return tl::unexpected(
        Stop{.exit_status = kFailed, .out = {}, .err = ipvsadm_hint_text(program_)});
  }
  [[nodiscard]] std::string argument() { return reader_.argument().value_or(std::string()); }

  Checked take_command();
  Checked take_daemon_command(CommandKind kind, const char* mistake);
  Checked take_option(int code);
  Checked take_service_option(int code);
  Checked take_server_option(int code);
  Checked take_tunnel_option(int code);
  Checked take_daemon_option(int code);
  Checked take_list_option(int code);
  Checked take_words();

  Checked once(Option option);
  Checked flag(Option option) { return once(option); }
  Checked take_service(net::Protocol protocol);
  Checked take_mark();
  Checked take_netmask();
  Checked take_server();
  Checked take_mcast_group();
  Checked take_timeout(std::optional<std::string> text, long low, std::uint32_t& out);
  template <class Int>
  Checked take_number(Option option, long low, long high, const char* mistake, Int& out);
  Checked take_forwarding(model::ForwardingMethod method);
  Checked take_tunnel_flag(Option option, std::uint16_t flags);

  std::string program_;
  OptionReader reader_;
  Command command_;
  std::string scheduler_flags_;
};

Checked Parser::once(Option option) {
  if (command_.options.has(option)) {
    return usage_error(fmt::format("multiple '{}' options specified", option_name(option)));
  }
  command_.options.insert(option);
  return {};
}

template <class Int>
Checked Parser::take_number(Option option, long low, long high, const char* mistake, Int& out) {
  if (auto fine = once(option); !fine) return fine;
  const auto number = parse_number(argument(), low, high);
  if (!number) return usage_error(fmt::format("illegal {} specified", mistake));
  out = static_cast<Int>(*number);
  return {};
}

Checked Parser::take_timeout(std::optional<std::string> text, long low, std::uint32_t& out) {
  if (!text) {
    out = kDefaultTimeout;
    return {};
  }
  const auto number = parse_number(*text, low, kMaxTimeout);
  if (!number) return usage_error(fmt::format("invalid timeout value `{}' specified", *text));
  out = static_cast<std::uint32_t>(*number);
  return {};
}

Checked Parser::take_service(net::Protocol protocol) {
  if (auto fine = once(Option::kService); !fine) return fine;
  const auto parsed = parse_address(argument(), protocol);
  if (!parsed) return usage_error("illegal virtual server address[:port] specified");
  auto& key = command_.service.key;
  key.protocol = protocol;
  key.family = parsed->address.family();
  key.address = parsed->address;
  key.port = parsed->port.value_or(net::Port());
  if (key.family == net::Family::kIpv6) command_.service.netmask = kWholeIpv6Address;
  return {};
}

Checked Parser::take_mark() {
  if (auto fine = once(Option::kService); !fine) return fine;
  const auto text = argument();
  const auto mark = parse_number(text, 1, UINT32_MAX);
  if (!mark) return usage_error(fmt::format("invalid fwmark value `{}' specified", text));
  command_.service.key = model::ServiceKey();  // TCP, as the protocol has it
  command_.service.key.fwmark = static_cast<std::uint32_t>(*mark);
  return {};
}

Checked Parser::take_netmask() {
  if (auto fine = once(Option::kNetmask); !fine) return fine;
  const auto text = argument();
  auto& netmask = command_.service.netmask;
  if (command_.service.key.family == net::Family::kIpv6) {
    const long length = std::strtol(text.c_str(), nullptr, 10);
    if (length < 1 || length > kWholeIpv6Address) {
      return usage_error("illegal ipv6 netmask specified");
    }
    netmask = static_cast<std::uint32_t>(length);
    return {};
  }
  const auto mask = parse_ipv4_or_host(text);
  if (!mask) return usage_error("illegal virtual server persistent mask specified");
  netmask = mask->to_network();
  return {};
}

Checked Parser::take_server() {
  if (auto fine = once(Option::kServer); !fine) return fine;
  const auto parsed = parse_address(argument(), command_.service.key.protocol);
  if (!parsed) return usage_error("illegal real server address[:port] specified");
  command_.destination.address = parsed->address;
  command_.destination.port = parsed->port.value_or(command_.service.key.port);
  return {};
}

Checked Parser::take_forwarding(model::ForwardingMethod method) {
  command_.destination.method = method;
  return once(Option::kForward);
}

Checked Parser::take_tunnel_flag(Option option, std::uint16_t flags) {
  command_.destination.tunnel.flags |= flags;
  return once(option);
}

Checked Parser::take_mcast_group() {
  if (auto fine = once(Option::kMcastGroup); !fine) return fine;
  const auto text = argument();
  const auto group = net::IpAddress::from_text(text);
  if (!group || !group->is_multicast()) {
    const char* const family = text.find(':') == std::string::npos ? "IPv4" : "IPv6";
    return usage_error(fmt::format("invalid {} mcast-group `{}'", family, text));
  }
  command_.daemon.group = *group;
  return {};
}

Checked Parser::take_daemon_command(CommandKind kind, const char* mistake) {
  command_.kind = kind;
  const auto role = argument();
  if (role == "master") {
    command_.daemon.role = model::SyncRole::kMaster;
  } else if (role == "backup") {
    command_.daemon.role = model::SyncRole::kBackup;
  } else {
    return usage_error(mistake);
  }
  return {};
}

Checked Parser::take_command() {
  static constexpr std::array<std::pair<int, CommandKind>, 13> kCommands = {{
      {'A', CommandKind::kAddService},
      {'E', CommandKind::kEditService},
      {'D', CommandKind::kDeleteService},
      {'C', CommandKind::kFlush},
      {'R', CommandKind::kRestore},
      {'S', CommandKind::kSave},
      {'L', CommandKind::kList},
      {'l', CommandKind::kList},
      {'Z', CommandKind::kZero},
      {'a', CommandKind::kAddServer},
      {'e', CommandKind::kEditServer},
      {'d', CommandKind::kDeleteServer},
      {kOptionSet, CommandKind::kSetTimeouts},
  }};
  const int code = reader_.next();
  if (code == 'h') {
    return tl::unexpected(Stop{.exit_status = 0, .out = ipvsadm_usage_text(program_), .err = {}});
  }
  if (code == 'v') {
    return tl::unexpected(Stop{.exit_status = 0, .out = ipvsadm_version_text(), .err = {}});
  }
  if (code == kOptionStartDaemon) {
    return take_daemon_command(CommandKind::kStartDaemon,
                               "illegal start-daemon parameter specified");
  }
  if (code == kOptionStopDaemon) {
    return take_daemon_command(CommandKind::kStopDaemon, "illegal start_daemon specified");
  }
  const auto* const found = std::find_if(kCommands.begin(), kCommands.end(),
                                         [&](const auto& entry) { return entry.first == code; });
  if (found == kCommands.end()) return hint();
  command_.kind = found->second;
  return {};
}

Checked Parser::take_service_option(int code) {
  auto& service = command_.service;
  switch (code) {
    case 't':
      return take_service(net::Protocol::kTcp);
    case 'u':
      return take_service(net::Protocol::kUdp);
    case kOptionSctpService:
      return take_service(net::Protocol::kSctp);
    case 'f':
      return take_mark();
    case '6':
      if (service.key.fwmark == 0) return usage_error("-6 used before -f\n");
      service.key.family = net::Family::kIpv6;
      service.key.address = net::IpAddress::any(net::Family::kIpv6);
      service.netmask = kWholeIpv6Address;
      return {};
    case 's':
      service.scheduler = std::string_view(argument());
      return once(Option::kScheduler);
    case 'p':
      if (auto fine = once(Option::kPersistent); !fine) return fine;
      service.flags |= model::kServicePersistent;
      return take_timeout(reader_.argument(), 1, service.timeout);
    case 'M':
      return take_netmask();
    case 'o':
      service.flags |= model::kServiceOnePacket;
      return once(Option::kOnePacket);
    case kOptionPersistenceEngine:
      service.persistence_engine = std::string_view(argument());
      return once(Option::kPersistenceEngine);
    case 'b':
      if (auto fine = once(Option::kSchedulerFlags); !fine) return fine;
      scheduler_flags_ = argument();
      return {};
    default:
      return take_server_option(code);
  }
}

Checked Parser::take_server_option(int code) {
  auto& destination = command_.destination;
  switch (code) {
    case 'r':
      return take_server();
    case 'm':
      return take_forwarding(model::ForwardingMethod::kMasquerade);
    case 'i':
      return take_forwarding(model::ForwardingMethod::kTunnel);
    case 'g':
      return take_forwarding(model::ForwardingMethod::kDirectRoute);
    case 'w':
      return take_number(Option::kWeight, 0, INT_MAX, "weight", destination.weight);
    case 'x':
      return take_number(Option::kUpperThreshold, 0, INT_MAX, "u_threshold",
                         destination.upper_threshold);
    case 'y':
      return take_number(Option::kLowerThreshold, 0, INT_MAX, "l_threshold",
                         destination.lower_threshold);
    default:
      return take_tunnel_option(code);
  }
}

Checked Parser::take_tunnel_option(int code) {
  auto& tunnel = command_.destination.tunnel;
  switch (code) {
    case kOptionTunnelType: {
      if (auto fine = once(Option::kTunnelType); !fine) return fine;
      const auto text = argument();
      if (text == "ipip") {
        tunnel.type = model::TunnelType::kIpip;
      } else if (text == "gue") {
        tunnel.type = model::TunnelType::kGue;
      } else if (text == "gre") {
        tunnel.type = model::TunnelType::kGre;
      } else {
        return usage_error("illegal tunnel type specified");
      }
      return {};
    }
    case kOptionTunnelPort: {
      std::uint16_t port = 0;
      auto fine = take_number(Option::kTunnelPort, 1, 65535, "tunnel port", port);
      tunnel.port = net::Port::from_host(port);
      return fine;
    }
    case kOptionTunnelNoChecksum:
      return take_tunnel_flag(Option::kTunnelNoChecksum, model::kTunnelNoChecksum);
    case kOptionTunnelChecksum:
      return take_tunnel_flag(Option::kTunnelChecksum, model::kTunnelChecksum);
    case kOptionTunnelRemoteChecksum:
      return take_tunnel_flag(Option::kTunnelRemoteChecksum, model::kTunnelRemoteChecksum);
    default:
      return take_daemon_option(code);
  }
}

Checked Parser::take_daemon_option(int code) {
  auto& daemon = command_.daemon;
  switch (code) {
    case kOptionMcastInterface:
      daemon.interface = std::string_view(argument());
      return once(Option::kMcastInterface);
    case kOptionSyncId:
      return take_number(Option::kSyncId, 0, 255, "syncid", daemon.sync_id);
    case kOptionSyncMaxLength:
      return take_number(Option::kSyncMaxLength, 1, kMaxSyncMessage, "sync-maxlen",
                         daemon.max_length);
    case kOptionMcastGroup:
      return take_mcast_group();
    case kOptionMcastPort:
      return take_number(Option::kMcastPort, 1, 65535, "mcast-port", daemon.port);
    case kOptionMcastTtl:
      return take_number(Option::kMcastTtl, 1, 255, "mcast-ttl", daemon.ttl);
    default:
      return take_list_option(code);
  }
}

Checked Parser::take_list_option(int code) {
  static constexpr std::array<std::pair<int, Option>, 11> kFlags = {{
      {'n', Option::kNumeric},
      {'c', Option::kConnection},
      {kOptionTimeout, Option::kTimeout},
      {kOptionDaemon, Option::kDaemon},
      {kOptionStats, Option::kStats},
      {kOptionRate, Option::kRate},
      {kOptionThresholds, Option::kThresholds},
      {kOptionPersistentConn, Option::kPersistentConn},
      {kOptionNoSort, Option::kNoSort},
      {'X', Option::kExact},
      {kOptionTunnelInfo, Option::kTunnelInfo},
  }};
  if (code == kOptionSort) return {};  // the default; accepted for old scripts
  const auto* const found = std::find_if(kFlags.begin(), kFlags.end(),
                                         [&](const auto& entry) { return entry.first == code; });
  if (found != kFlags.end()) return flag(found->second);
  // Only a second command is left.
  return usage_error(fmt::format("invalid option `{}'", reader_.written()));
}

Checked Parser::take_words() {
  if (command_.kind == CommandKind::kSetTimeouts) {
    const auto tcp = reader_.word();
    const auto tcp_fin = reader_.word();
    const auto udp = reader_.word();
    if (!tcp || !tcp_fin || !udp) return usage_error("--set option requires 3 timeout values");
    auto& timeouts = command_.timeouts;
    if (auto fine = take_timeout(tcp, 0, timeouts.tcp); !fine) return fine;
    if (auto fine = take_timeout(tcp_fin, 0, timeouts.tcp_fin); !fine) return fine;
    if (auto fine = take_timeout(udp, 0, timeouts.udp); !fine) return fine;
  }
  if (const auto extra = reader_.word()) {
    return usage_error(fmt::format("unexpected argument {}", *extra));
  }
  return {};
}

tl::expected<Command, Stop> Parser::run() {
  if (auto fine = take_command(); !fine) return tl::unexpected(fine.error());
  int code = 0;
  while ((code = reader_.next()) >= 0) {
    if (auto fine = take_service_option(code); !fine) return tl::unexpected(fine.error());
  }
  if (code < -1) {
    return tl::unexpected(
        Stop{.ends_program = false,
             .exit_status = kFailed,
             .out = {},
             .err = fmt::format("{}: {}\n", reader_.written(), OptionReader::error_text(code))});
  }
  if (auto fine = take_words(); !fine) return tl::unexpected(fine.error());
  const auto flags = parse_scheduler_flags(command_.service.scheduler.view(), scheduler_flags_);
  if (!flags) return tl::unexpected(flags.error());
  command_.service.flags |= *flags;
  if (auto fine = complete(command_); !fine) return tl::unexpected(fine.error());
  return command_;
}

}  // namespace

tl::expected<Command, Stop> parse_command(std::span<const std::string> arguments) {
  return Parser(arguments).run();
}

}  // namespace lb::cli
