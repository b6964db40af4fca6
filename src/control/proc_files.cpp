// SPDX-License-Identifier: Apache-2.0
#include "control/proc_files.hpp"

#include <fmt/format.h>

#include <iterator>
#include <utility>
#include <vector>

#include "control/setting_names.hpp"
#include "engine/destination_listing.hpp"
#include "net/protocol_name.hpp"

namespace lb::control {
namespace {

// The file shows persistence timeouts in ticks of the recorded kernel.
constexpr std::uint64_t kTicksPerSecond = 100;

std::string plain_text(const net::IpAddress& address) {
  if (address.is_v4()) return fmt::format("{:08X}", address.word(0).to_host());
  std::string text;
  for (std::size_t i = 0; i < 16; i += 2) {
    if (i != 0) text += ':';
    fmt::format_to(std::back_inserter(text), "{:02x}{:02x}", address.bytes()[i],
                   address.bytes()[i + 1]);
  }
  return text;
}

// As the list of services has it; that of connections has no brackets.
std::string address_text(const net::IpAddress& address) {
  return address.is_v4() ? plain_text(address) : "[" + plain_text(address) + "]";
}

std::string_view method_text(model::ForwardingMethod method) {
  switch (method) {
    case model::ForwardingMethod::kMasquerade:
      return "Masq";
    case model::ForwardingMethod::kLocalNode:
      return "Local";
    case model::ForwardingMethod::kTunnel:
      return "Tunnel";
    case model::ForwardingMethod::kDirectRoute:
      return "Route";
    case model::ForwardingMethod::kBypass:
      return "Bypass";
  }
  return "";
}

std::string service_line(const model::ServiceSpec& spec) {
  const auto& key = spec.key;
  const std::string_view ops = (spec.flags & model::kServiceOnePacket) != 0 ? "ops " : "";
  std::string line;
  if (key.fwmark != 0) {
    line = fmt::format("FWM  {:08X} {} {}", key.fwmark, spec.scheduler.view(), ops);
  } else if (key.family == net::Family::kIpv6) {
    line = fmt::format("{}  {}:{:04X} {} ", net::listed_name(key.protocol, "IP"),
                       address_text(key.address), key.port.to_host(), spec.scheduler.view());
  } else {
    line = fmt::format("{}  {}:{:04X} {} {} ", net::listed_name(key.protocol, "IP"),
                       address_text(key.address), key.port.to_host(), spec.scheduler.view(), ops);
  }
  if ((spec.flags & model::kServicePersistent) != 0) {
    const auto mask = net::Be32::from_network(spec.netmask).to_host();
    line += fmt::format("persistent {} {:08X}", spec.timeout * kTicksPerSecond, mask);
  }
  return line + "\n";
}

std::string destination_line(const model::DestinationInfo& destination) {
  const auto& spec = destination.spec;
  return fmt::format("  -> {}:{:04X}      {:<7} {:<6} {:<10} {:<10}\n", address_text(spec.address),
                     spec.port.to_host(), method_text(spec.method), spec.weight,
                     destination.active_connections, destination.inactive_connections);
}

/// ip_vs: a service at a time, or some of its servers.
class Table : public ProcFile {
 public:
  explicit Table(engine::Director& director) : director_(director) {}

  bool next(std::string& text) override {
    if (!has_begun_) {
      has_begun_ = true;
      keys_ = director_.service_keys();
      text += fmt::format(
          "IP Virtual Server version 1.2.1 (size={})\n"
          "Prot LocalAddress:Port Scheduler Flags\n"
          "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
          director_.shown_table_size());
      return true;
    }
    if (next_ == keys_.size()) return false;
    const auto& key = keys_[next_];
    const auto service = director_.service(key);  // none: deleted since
    if (service && server_ == 0) text += service_line(service->spec);
    const auto servers = engine::list_destinations(director_, key, server_, kServers);
    for (const auto& server : servers) text += destination_line(server);
    server_ += servers.size();
    if (servers.size() < kServers) {
      ++next_;
      server_ = 0;
    }
    return true;
  }

 private:
  /// Listed at a time: some tens of microseconds of work.
  static constexpr std::size_t kServers = 32;

  engine::Director& director_;
  bool has_begun_ = false;
  std::vector<model::ServiceKey> keys_;
  std::size_t next_ = 0;
  std::size_t server_ = 0;  ///< of the service that is next
};

std::string ends_text(const model::ConnectionInfo& connection) {
  const auto end = [](const net::Endpoint& endpoint) {
    return fmt::format("{} {:04X}", plain_text(endpoint.address), endpoint.port.to_host());
  };
  return fmt::format("{:<3} {} {} {} {:<11}", net::listed_name(connection.protocol, "IP"),
                     end(connection.client), end(connection.virtual_end),
                     end(connection.destination), connection.state.view());
}

std::string connection_line(const model::ConnectionInfo& connection) {
  auto line = fmt::format("{} {:7}", ends_text(connection), connection.expires_in);
  if (!connection.persistence_engine.empty()) {
    line +=
        fmt::format(" {} {}", connection.persistence_engine.view(), connection.persistence_data);
  }
  return line + "\n";
}

std::string sync_line(const model::ConnectionInfo& connection) {
  return fmt::format("{} {:<6} {:7}\n", ends_text(connection),
                     connection.is_synced ? "SYNC" : "LOCAL", connection.expires_in);
}

/// ip_vs_conn and ip_vs_conn_sync: some slots of the table at a time.
class ConnectionList : public ProcFile {
 public:
  using Line = std::string (*)(const model::ConnectionInfo&);
  ConnectionList(const engine::Director& director, std::string_view head, Line line)
      : director_(director), head_(head), line_(line) {}

  bool next(std::string& text) override {
    if (!head_.empty()) {
      text += std::exchange(head_, {});
      return true;
    }
    if (!cursor_) return false;
    found_.clear();
    cursor_ = director_.list_connections(*cursor_, kSlots, found_);
    for (const auto& connection : found_) text += line_(connection);
    return true;
  }

 private:
  /// Looked through at a time: some tens of microseconds of work, all lines of it found.
  static constexpr std::uint32_t kSlots = 64;

  const engine::Director& director_;
  std::string_view head_;
  Line line_;
  std::optional<std::uint32_t> cursor_ = 0;
  std::vector<model::ConnectionInfo> found_;
};

template <class Values>
std::string numbers(const Values& values) {
  return fmt::format("{:8X} {:8X} {:8X} {:16X} {:16X}\n", values.connections, values.packets_in,
                     values.packets_out, values.bytes_in, values.bytes_out);
}

std::string totals(const engine::Director& director) {
  const auto [counters, rates] = director.totals();
  return "   Total Incoming Outgoing         Incoming         Outgoing\n"
         "   Conns  Packets  Packets            Bytes            Bytes\n" +
         numbers(counters) +
         "\n"
         " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n" +
         numbers(rates);
}

/// One thread forwards all packets, so there is one row.
std::string totals_by_cpu(const engine::Director& director) {
  const auto [counters, rates] = director.totals();
  return "       Total Incoming Outgoing         Incoming         Outgoing\n"
         "CPU    Conns  Packets  Packets            Bytes            Bytes\n"
         "  0 " +
         numbers(counters) + "  ~ " + numbers(counters) +
         "\n"
         "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n"
         "    " +
         numbers(rates);
}

/// A text that is short.
class Text : public ProcFile {
 public:
  explicit Text(std::string text) : text_(std::move(text)) {}

  bool next(std::string& text) override {
    if (text_.empty()) return false;
    text += std::exchange(text_, {});
    return true;
  }

 private:
  std::string text_;
};

constexpr std::string_view kFolder = "/proc/net/";
constexpr std::string_view kSettingFolder = "/proc/sys/net/ipv4/vs/";
constexpr std::string_view kSettingPrefix = "net.ipv4.vs.";

const SettingName* setting_of(std::string_view path) noexcept {
  if (!path.starts_with(kSettingFolder)) return nullptr;
  const auto name = path.substr(kSettingFolder.size());
  for (const auto& setting : setting_names()) {
    if (setting.name.starts_with(kSettingPrefix) &&
        setting.name.substr(kSettingPrefix.size()) == name) {
      return &setting;
    }
  }
  return nullptr;
}

enum class NetFile : std::uint8_t { kNone, kTable, kConnections, kSync, kStats, kStatsByCpu };

NetFile net_file_of(std::string_view path) noexcept {
  if (!path.starts_with(kFolder)) return NetFile::kNone;
  const auto name = path.substr(kFolder.size());
  if (name == "ip_vs") return NetFile::kTable;
  if (name == "ip_vs_conn") return NetFile::kConnections;
  if (name == "ip_vs_conn_sync") return NetFile::kSync;
  if (name == "ip_vs_stats") return NetFile::kStats;
  if (name == "ip_vs_stats_percpu") return NetFile::kStatsByCpu;
  return NetFile::kNone;
}

}  // namespace

bool has_proc_file(std::string_view path) noexcept {
  return net_file_of(path) != NetFile::kNone || setting_of(path) != nullptr;
}

std::unique_ptr<ProcFile> open_proc_file(engine::Director& director, std::string_view path) {
  switch (net_file_of(path)) {
    case NetFile::kTable:
      return std::make_unique<Table>(director);
    case NetFile::kConnections:
      return std::make_unique<ConnectionList>(
          director,
          "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
          connection_line);
    case NetFile::kSync:
      return std::make_unique<ConnectionList>(
          director, "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n",
          sync_line);
    case NetFile::kStats:
      return std::make_unique<Text>(totals(director));
    case NetFile::kStatsByCpu:
      return std::make_unique<Text>(totals_by_cpu(director));
    case NetFile::kNone:
      break;
  }
  const auto* setting = setting_of(path);
  if (setting == nullptr) return nullptr;
  return std::make_unique<Text>(setting_text(director.settings(), *setting) + "\n");
}

std::optional<std::string> proc_file(engine::Director& director, std::string_view path) {
  const auto file = open_proc_file(director, path);
  if (file == nullptr) return std::nullopt;
  std::string text;
  while (file->next(text)) {
  }
  return text;
}

}  // namespace lb::control
