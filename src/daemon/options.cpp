// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "host/long_options.hpp"

namespace lb::daemon {
namespace {

enum Flag : char {
  kConfig = 'c',
  kInterface = 'i',
  kTableSize = 't',
  kSocketGroup = 'g',
  kRules = 'r',
  kXdpMode = 'x',
  kFastPath = 'p',
  kFastPathIpv4 = '4',
  kFastPathIpv6 = '6',
  kLogLevel = 'l',
  kLogFormat = 'f',
  kVersion = 'V',
  kHelp = 'h',
};

constexpr std::array kOptions{
    option{"config", required_argument, nullptr, kConfig},
    option{"interface", required_argument, nullptr, kInterface},
    option{"table-size", required_argument, nullptr, kTableSize},
    option{"socket-group", required_argument, nullptr, kSocketGroup},
    option{"rules", required_argument, nullptr, kRules},
    option{"xdp-mode", required_argument, nullptr, kXdpMode},
    option{"fast-path", required_argument, nullptr, kFastPath},
    option{"fast-path-ipv4", required_argument, nullptr, kFastPathIpv4},
    option{"fast-path-ipv6", required_argument, nullptr, kFastPathIpv6},
    option{"log-level", required_argument, nullptr, kLogLevel},
    option{"log-format", required_argument, nullptr, kLogFormat},
    option{"version", no_argument, nullptr, kVersion},
    option{"help", no_argument, nullptr, kHelp},
};

using Change = std::function<tl::expected<void, std::string>(Configuration&)>;

template <class Parse, class Member>
Change set_parsed(std::string value, Parse parse, Member member) {
  return [value = std::move(value), parse,
          member](Configuration& configuration) -> tl::expected<void, std::string> {
    const auto parsed = parse(value);
    if (!parsed) return tl::unexpected(parsed.error());
    member(configuration) = *parsed;
    return {};
  };
}

template <auto Check>
tl::expected<std::uint32_t, std::string> parse_connections(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc{} || end != text.data() + text.size()) {
    return tl::unexpected(fmt::format("'{}' is not a number of connections", text));
  }
  return Check(number);
}

tl::expected<std::int32_t, std::string> parse_switch(std::string_view text) {
  if (text == "on") return 1;
  if (text == "off") return 0;
  return tl::unexpected(fmt::format("'{}' is neither on nor off", text));
}

/// What `flag` with `value` changes in the configuration.
Change change_of(char flag, const std::string& value) {
  switch (flag) {
    case kTableSize:
      return set_parsed(
          value, parse_connections<check_table_size>,
          [](Configuration & c) -> auto& { return c.table_size; });
    case kFastPathIpv4:
      return set_parsed(
          value, parse_connections<check_fast_path_room>,
          [](Configuration & c) -> auto& { return c.datapath.fast_ipv4; });
    case kFastPathIpv6:
      return set_parsed(
          value, parse_connections<check_fast_path_room>,
          [](Configuration & c) -> auto& { return c.datapath.fast_ipv6; });
    case kXdpMode:
      return set_parsed(
          value, parse_xdp_mode, [](Configuration & c) -> auto& { return c.datapath.xdp_mode; });
    case kFastPath:
      return set_parsed(
          value, parse_switch, [](Configuration & c) -> auto& { return c.settings.fast_path; });
    case kLogLevel:
      return set_parsed(
          value, parse_log_level, [](Configuration & c) -> auto& { return c.log_level; });
    case kLogFormat:
      return set_parsed(
          value, parse_log_format, [](Configuration & c) -> auto& { return c.log_format; });
    case kSocketGroup:
      return [value](Configuration& c) -> tl::expected<void, std::string> {
        c.socket_group = value;
        return {};
      };
    default:
      return [value](Configuration& c) -> tl::expected<void, std::string> {
        c.rules_file = value;
        return {};
      };
  }
}

tl::expected<Configuration, std::string> combine(const std::string& file,
                                                 const std::vector<std::string>& interfaces,
                                                 const std::vector<Change>& changes) {
  Configuration configuration;
  if (!file.empty()) {
    auto read = read_configuration(file, configuration);
    if (!read) return read;
    configuration = *std::move(read);
  }
  if (!interfaces.empty()) {
    configuration.datapath.interfaces = interfaces;
    for (const auto& name : interfaces) {
      if (auto valid = check_interface_name(name); !valid) return tl::unexpected(valid.error());
    }
  }
  for (const auto& change : changes) {
    if (auto changed = change(configuration); !changed) return tl::unexpected(changed.error());
  }
  return configuration;
}

}  // namespace

tl::expected<Options, std::string> parse_options(std::span<const std::string> arguments) {
  Options options;
  std::string file;
  std::vector<std::string> interfaces;
  std::vector<Change> changes;
  host::LongOptions reader({arguments.begin(), arguments.end()}, kOptions);
  while (const auto flag = reader.next()) {
    const auto value = reader.value();
    switch (*flag) {
      case kHelp:
        options.action = Options::Action::kShowHelp;
        return options;
      case kVersion:
        options.action = Options::Action::kShowVersion;
        return options;
      case kConfig:
        file = value;
        break;
      case kInterface:
        interfaces.push_back(value);
        break;
      default:
        changes.push_back(change_of(*flag, value));
    }
  }
  if (reader.fault()) return tl::unexpected(*reader.fault());
  auto configuration = combine(file, interfaces, changes);
  if (!configuration) return tl::unexpected(std::move(configuration.error()));
  options.configuration = *std::move(configuration);
  return options;
}

std::string_view help_text() {
  return R"(Usage: sluiced [OPTION]...
The director of Sluice for this network namespace: forwards to real servers what
ipvsadm tells it, on the interfaces it is given.

  -c, --config FILE         read settings from FILE (TOML); options win over it
  -i, --interface NAME      serve this interface; may be repeated
                            (default: every Ethernet interface that is up)
  -x, --xdp-mode MODE       auto (default), native or generic
  -p, --fast-path on|off    whether XDP forwards established connections by itself
                            (default on; at run time: sluice sysctl sluice.fast_path=0)
  -t, --table-size N        room for N connections (default 65536)
  -4, --fast-path-ipv4 N    of them, XDP has room for N of IPv4 (default: all)
  -6, --fast-path-ipv6 N    and for N of IPv6 (default: two thirds)
  -r, --rules FILE          start with these rules, as "ipvsadm -S" writes them
  -g, --socket-group GROUP  let members of GROUP use the control socket
  -l, --log-level LEVEL     debug, info (default), warning or error
  -f, --log-format FORMAT   text (default) or json: an object a line
  -V, --version             print the version and exit
  -h, --help                print this and exit
)";
}

}  // namespace lb::daemon
