// SPDX-License-Identifier: Apache-2.0
#include "daemon/configuration.hpp"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "control/setting_names.hpp"

namespace lb::daemon {
namespace {

using Outcome = tl::expected<void, std::string>;

/// Turns toml++ nodes into configuration values; every error carries its place.
class Reader {
 public:
  explicit Reader(std::string_view name) : name_(name) {}

  [[nodiscard]] tl::unexpected<std::string> error(const toml::source_region& where,
                                                  std::string_view what) const {
    return tl::unexpected(
        fmt::format("{}:{}:{}: {}", name_, where.begin.line, where.begin.column, what));
  }

  [[nodiscard]] Outcome top_level(const toml::table& table, Configuration& out) const {
    for (const auto& [key, node] : table) {
      if (auto done = entry(key, node, out); !done) return done;
    }
    return {};
  }

 private:
  [[nodiscard]] Outcome entry(const toml::key& key, const toml::node& node,
                              Configuration& out) const {
    const std::string_view name = key.str();
    if (name == "interfaces") return interfaces(node, out);
    if (name == "xdp_mode") return word(key, node, parse_xdp_mode, out.datapath.xdp_mode);
    if (name == "xdp_tx") return word(key, node, parse_xdp_tx, out.datapath.xdp_tx);
    if (name == "log_level") return word(key, node, parse_log_level, out.log_level);
    if (name == "log_format") return word(key, node, parse_log_format, out.log_format);
    if (name == "table_size") return number(key, node, check_table_size, out.table_size);
    if (name == "fast_path_ipv4") {
      return number(key, node, check_fast_path_room, out.datapath.fast_ipv4);
    }
    if (name == "fast_path_ipv6") {
      return number(key, node, check_fast_path_room, out.datapath.fast_ipv6);
    }
    if (name == "stand_in_slots") {
      return size(key, node, Configuration::kMinSlots, datapath::StandInSizes::kMaxSlots,
                  out.datapath.stand_in.slots);
    }
    if (name == "journal_size") {
      return size(key, node, Configuration::kMinNotes, datapath::StandInSizes::kMaxNotes,
                  out.datapath.stand_in.notes);
    }
    if (name == "keep_forwarding") return flag(key, node, out.keep_forwarding);
    if (name == "socket_group") return text(key, node, out.socket_group);
    if (name == "rules") return text(key, node, out.rules_file);
    if (name == "settings") return settings(node, "", out.settings);
    if (name == "sync") return sync(node, out.sync);
    return error(key.source(),
                 fmt::format("unknown key '{}' (known: interfaces, xdp_mode, xdp_tx, table_size, "
                             "fast_path_ipv4, fast_path_ipv6, stand_in_slots, journal_size, "
                             "keep_forwarding, socket_group, rules, log_level, log_format, "
                             "settings, sync)",
                             name));
  }

  [[nodiscard]] Outcome text(const toml::key& key, const toml::node& node, std::string& out) const {
    const auto* value = node.as_string();
    if (value == nullptr) {
      return error(node.source(), fmt::format("'{}' must be a string", key.str()));
    }
    out = value->get();
    return {};
  }

  template <class Parse, class Value>
  [[nodiscard]] Outcome word(const toml::key& key, const toml::node& node, Parse parse,
                             Value& out) const {
    std::string written;
    if (auto done = text(key, node, written); !done) return done;
    const auto value = parse(written);
    if (!value) return error(node.source(), value.error());
    out = *value;
    return {};
  }

  [[nodiscard]] Outcome interfaces(const toml::node& node, Configuration& out) const {
    const auto* list = node.as_array();
    if (list == nullptr) return error(node.source(), "'interfaces' must be an array of names");
    out.datapath.interfaces.clear();
    for (const auto& element : *list) {
      const auto* name = element.as_string();
      if (name == nullptr) return error(element.source(), "an interface's name must be a string");
      if (auto valid = check_interface_name(name->get()); !valid) {
        return error(element.source(), valid.error());
      }
      out.datapath.interfaces.push_back(name->get());
    }
    return {};
  }

  [[nodiscard]] Outcome flag(const toml::key& key, const toml::node& node, bool& out) const {
    const auto* value = node.as_boolean();
    if (value == nullptr) {
      return error(node.source(), fmt::format("'{}' must be true or false", key.str()));
    }
    out = value->get();
    return {};
  }

  template <class Check, class Value>
  [[nodiscard]] Outcome number(const toml::key& key, const toml::node& node, Check check,
                               Value& out) const {
    const auto* written = node.as_integer();
    if (written == nullptr) {
      return error(node.source(), fmt::format("'{}' must be an integer", key.str()));
    }
    const auto value = check(written->get());
    if (!value) return error(node.source(), value.error());
    out = *value;
    return {};
  }

  [[nodiscard]] Outcome size(const toml::key& key, const toml::node& node, std::uint32_t least,
                             std::uint32_t most, std::uint32_t& out) const {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < least || number->get() > most) {
      return error(node.source(),
                   fmt::format("'{}' must be an integer from {} to {}", key.str(), least, most));
    }
    out = static_cast<std::uint32_t>(number->get());
    return {};
  }

  /// `path` is of the tables around it: `sluice.NAME = 1` is a table to TOML.
  [[nodiscard]] Outcome settings(const toml::node& node, const std::string& path,
                                 engine::Settings& out) const {
    const auto* table = node.as_table();
    if (table == nullptr) return error(node.source(), "'settings' must be a table");
    for (const auto& [key, value] : *table) {
      const auto name = path + std::string(key.str());
      const auto done =
          value.is_table() ? settings(value, name + ".", out) : setting(key, name, value, out);
      if (!done) return done;
    }
    return {};
  }

  [[nodiscard]] Outcome setting(const toml::key& key, const std::string& name,
                                const toml::node& value, engine::Settings& out) const {
    const auto* known = control::find_setting("net.ipv4.vs." + name);
    if (known == nullptr) known = control::find_setting(name);
    if (known == nullptr) return error(key.source(), fmt::format("unknown setting '{}'", name));
    const bool is_text = known->second != nullptr || known->cpus != nullptr;
    if (const auto* text = value.as_string(); text != nullptr && is_text) {
      if (control::assign_setting(out, known->name, text->get())) return {};
      return error(value.source(), fmt::format("'{}' cannot be '{}'", name, text->get()));
    }
    if (known->cpus != nullptr) {
      return error(value.source(), fmt::format("'{}' must be a string such as \"0-3\"", name));
    }
    const auto* number = value.as_integer();
    if (number == nullptr || number->get() < known->lowest || number->get() > known->highest) {
      return error(value.source(), fmt::format("'{}' must be an integer from {} to {}", name,
                                               known->lowest, known->highest));
    }
    out.*known->member = static_cast<std::int32_t>(number->get());
    return {};
  }

  [[nodiscard]] Outcome sync(const toml::node& node, SyncPeersOptions& out) const {
    const auto* table = node.as_table();
    if (table == nullptr) return error(node.source(), "'sync' must be a table");
    out = {};
    for (const auto& [key, value] : *table) {
      if (auto done = sync_entry(key, value, out); !done) return done;
    }
    if (out.key_file.empty() != out.peers.empty()) {
      return error(node.source(), "'sync' needs both a 'key_file' and 'peers'");
    }
    return {};
  }

  [[nodiscard]] Outcome sync_entry(const toml::key& key, const toml::node& node,
                                   SyncPeersOptions& out) const {
    const std::string_view name = key.str();
    if (name == "key_file") return text(key, node, out.key_file);
    if (name == "peers") return sync_peers(node, out.peers);
    if (name != "port") {
      return error(key.source(),
                   fmt::format("unknown key '{}' (known: key_file, peers, port)", name));
    }
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < 1 || number->get() > UINT16_MAX) {
      return error(node.source(), "'port' must be an integer from 1 to 65535");
    }
    out.port = static_cast<std::uint16_t>(number->get());
    return {};
  }

  [[nodiscard]] Outcome sync_peers(const toml::node& node, std::vector<net::IpAddress>& out) const {
    const auto* list = node.as_array();
    if (list == nullptr || list->size() > SyncPeersOptions::kMostPeers) {
      return error(node.source(), fmt::format("'peers' must be an array of at most {} addresses",
                                              SyncPeersOptions::kMostPeers));
    }
    for (const auto& element : *list) {
      const auto* written = element.as_string();
      const auto address = written != nullptr ? net::IpAddress::from_text(written->get())
                                              : std::optional<net::IpAddress>{};
      // fe80::/10 would need an interface with it.
      const bool is_link_local = address && !address->is_v4() && address->bytes()[0] == 0xfe &&
                                 (address->bytes()[1] & 0xc0) == 0x80;
      if (!address || is_link_local || address->is_multicast() || address->is_unspecified()) {
        return error(element.source(), "a peer must be the address of a host, not link-local");
      }
      if (std::find(out.begin(), out.end(), *address) != out.end()) {
        return error(element.source(), "a peer must be named once");
      }
      out.push_back(*address);
    }
    return {};
  }

  std::string_view name_;
};

}  // namespace

tl::expected<Configuration, std::string> parse_configuration(std::string_view text,
                                                             std::string_view name,
                                                             const Configuration& base) {
  const Reader reader(name);
  const toml::parse_result parsed = toml::parse(text, name);
  if (!parsed) return reader.error(parsed.error().source(), parsed.error().description());
  Configuration configuration = base;
  if (auto done = reader.top_level(parsed.table(), configuration); !done) {
    return tl::unexpected(std::move(done.error()));
  }
  return configuration;
}

tl::expected<Configuration, std::string> read_configuration(const std::string& path,
                                                            const Configuration& base) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) {
    return tl::unexpected(fmt::format("{}: {}", path, std::strerror(errno)));
  }
  return parse_configuration(text, path, base);
}

tl::expected<datapath::XdpMode, std::string> parse_xdp_mode(std::string_view text) {
  if (text == "auto") return datapath::XdpMode::kAuto;
  if (text == "native") return datapath::XdpMode::kNative;
  if (text == "generic") return datapath::XdpMode::kGeneric;
  return tl::unexpected(fmt::format("unknown XDP mode '{}' (known: auto, native, generic)", text));
}

tl::expected<datapath::XdpTx, std::string> parse_xdp_tx(std::string_view text) {
  if (text == "auto") return datapath::XdpTx::kAuto;
  if (text == "on") return datapath::XdpTx::kOn;
  if (text == "off") return datapath::XdpTx::kOff;
  return tl::unexpected(fmt::format("'{}' is none of auto, on, off", text));
}

tl::expected<LogLevel, std::string> parse_log_level(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  return tl::unexpected(
      fmt::format("unknown log level '{}' (known: debug, info, warning, error)", text));
}

tl::expected<LogFormat, std::string> parse_log_format(std::string_view text) {
  if (text == "text") return LogFormat::kText;
  if (text == "json") return LogFormat::kJson;
  return tl::unexpected(fmt::format("unknown log format '{}' (known: text, json)", text));
}

tl::expected<std::uint32_t, std::string> check_table_size(std::int64_t connections) {
  if (connections < Configuration::kMinTableSize || connections > Configuration::kMaxTableSize) {
    return tl::unexpected(fmt::format("the table size must be from {} to {} connections, not {}",
                                      Configuration::kMinTableSize, Configuration::kMaxTableSize,
                                      connections));
  }
  return static_cast<std::uint32_t>(connections);
}

tl::expected<std::uint32_t, std::string> check_fast_path_room(std::int64_t connections) {
  if (connections < 0 || connections > Configuration::kMaxTableSize) {
    return tl::unexpected(fmt::format("XDP has room for 0 to {} connections, not {}",
                                      Configuration::kMaxTableSize, connections));
  }
  return static_cast<std::uint32_t>(connections);
}

tl::expected<void, std::string> check_interface_name(std::string_view name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string_view::npos) {
    return tl::unexpected(fmt::format("'{}' is not an interface name (1 to {} characters, no '/')",
                                      name, IFNAMSIZ - 1));
  }
  return {};
}

}  // namespace lb::daemon
