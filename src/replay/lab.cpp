// SPDX-License-Identifier: Apache-2.0
#include "replay/lab.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "cli/mark_text.hpp"
#include "control/setting_names.hpp"
#include "net/parse.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/sync_link.hpp"

namespace lb::replay {
namespace {

// A daemon's loop advances the engine about every 10 ms; a replay of minutes needs no more
// than what keeps timers of one second apart.
constexpr Duration kTimeStep = std::chrono::milliseconds(100);
constexpr std::size_t kHeadroom = 256;
constexpr std::size_t kTailroom = 2048;
constexpr std::size_t kEthernetSize = 14;
constexpr engine::InterfaceId kLoopback{1};

engine::InterfaceId port_id(std::size_t index) {
  return static_cast<engine::InterfaceId>(static_cast<std::uint32_t>(index) + 2);
}

void set_ethernet(Bytes& frame, const engine::NextHop& hop) {
  for (std::size_t i = 0; i < 6; ++i) {
    frame[i] = static_cast<std::byte>(hop.destination_mac.bytes[i]);
    frame[6 + i] = static_cast<std::byte>(hop.source_mac.bytes[i]);
  }
}

void decrement_ttl(Bytes& frame, bool is_v4) {
  const std::size_t at = kEthernetSize + (is_v4 ? 8 : 7);
  frame[at] = static_cast<std::byte>(std::to_integer<unsigned>(frame[at]) - 1);
  if (!is_v4) return;
  const std::span<std::byte> header = std::span(frame).subspan(
      kEthernetSize, std::to_integer<std::size_t>(frame[kEthernetSize]) % 16 * 4);
  header[10] = header[11] = std::byte{0};
  const auto sum = plain_checksum(header);
  header[10] = static_cast<std::byte>(sum >> 8);
  header[11] = static_cast<std::byte>(sum & 0xff);
}

}  // namespace

Lab::Lab(const CaseMeta& meta)
    : meta_(meta),
      director_({.missing_schedulers = {"twos"}}, network_),
      handler_(director_, nullptr),
      transport_(handler_),
      sync_link_(std::make_unique<SyncLink>(network_, now_)) {
  director_.set_sync_transport(sync_link_.get());
  auto settings = director_.settings();
  settings.quirk_icmpv6_checksum = 1;
  settings.quirk_ipv6_extension_state = 1;
  director_.set_settings(settings);
  network_.set_interface({.id = kLoopback, .name = "lo", .mac = {}, .mtu = 65536});
  for (std::size_t i = 0; i < meta_.ports.size(); ++i) {
    const auto& port = meta_.ports[i];
    network_.set_interface({.id = port_id(i), .name = port.name, .mac = port.mac, .mtu = port.mtu});
    for (const auto& own : port.addresses) {
      network_.add_address(port_id(i), own.address, own.prefix_length);
    }
  }
}

Lab::~Lab() = default;

tl::expected<std::unique_ptr<Lab>, std::string> Lab::create(const CaseMeta& meta) {
  std::unique_ptr<Lab> lab(new Lab(meta));
  const auto fail = [](std::string text) { return tl::unexpected(std::move(text)); };
  for (const auto& route : meta.routes) {
    const auto* out = lab->network_.interface(route.port);
    if (out == nullptr) return fail("route by unknown port " + route.port);
    lab->network_.add_route({.destination = route.destination.address,
                             .prefix_length = route.destination.prefix_length,
                             .via = route.via,
                             .out = out->id,
                             .metric = 0,
                             .source = {}});
  }
  for (const auto& neighbour : meta.neighbours) {
    const auto* out = lab->network_.interface(neighbour.port);
    if (out == nullptr) return fail("neighbour at unknown port " + neighbour.port);
    lab->network_.set_neighbour(out->id, neighbour.address, neighbour.mac);
  }
  for (const auto& text : meta.marks) {
    if (auto error = lab->add_mark_rule(text)) return fail(*std::move(error));
  }
  for (const auto& command : meta.setup) {
    if (auto error = lab->run_setup(command)) return fail(*std::move(error));
  }
  for (const auto& [name, value] : meta.sysctls) {
    if (!lab->set_sysctl(name, value)) return fail("no setting " + name + " = " + value);
  }
  // The only surroundings that a case's `meta` does not tell: see "What a case needs".
  lab->checksums_verified_ = meta.id.ends_with("-offload");
  return lab;
}

std::optional<std::string> Lab::add_mark_rule(const std::string& command) {
  const auto fail = [&](const std::string& why) { return "mark rule \"" + command + "\": " + why; };
  const auto words = cli::split_words(command);
  if (!words) return fail(words.error());
  const auto rule = cli::parse_mark_rule(*words);
  if (!rule) return fail(rule.error());
  if (!director_.add_mark_rule(*rule)) return fail("the director does not take it");
  return std::nullopt;
}

std::optional<std::string> Lab::run_setup(const std::string& command) {
  const auto words = cli::split_words(command).value_or(std::vector<std::string>{});
  const auto starts = [&](std::initializer_list<std::string_view> expected) {
    return words.size() > expected.size() &&
           std::equal(expected.begin(), expected.end(), words.begin());
  };
  const auto unknown = "set-up command \"" + command + "\" is not understood";
  if (starts({"ip", "rule", "add", "fwmark"}) && words.size() == 7 && words[5] == "lookup") {
    std::uint32_t mark = 0;
    std::from_chars(words[4].data(), words[4].data() + words[4].size(), mark);
    if (mark == 0) return unknown;
    rules_.emplace_back(mark, words[6]);
    return std::nullopt;
  }
  if (starts({"ip", "route", "add", "local"}) && words.size() == 9 && words[7] == "table") {
    const auto prefix = prefix_from_text(words[4]);
    if (!prefix) return unknown;
    for (const auto& [mark, table] : rules_) {
      if (table == words[8]) local_routes_.push_back({mark, *prefix});
    }
    return std::nullopt;
  }
  if (starts({"ip", "addr", "add"}) && words.size() >= 6 && words[4] == "dev") {
    const auto own = prefix_from_text(words[3]);
    const auto* at = network_.interface(words[5]);
    if (!own || at == nullptr) return unknown;
    network_.add_address(at->id, own->address, own->prefix_length);
    return std::nullopt;
  }
  return unknown;
}

bool Lab::set_sysctl(const std::string& name, const std::string& value) {
  auto settings = director_.settings();
  if (!control::assign_setting(settings, name, value)) return false;
  director_.set_settings(settings);
  return true;
}

void Lab::advance_to(double seconds) {
  const Timestamp end{std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds))};
  while (now_ < end) {
    now_ = std::min(end, now_ + kTimeStep);
    (void)director_.advance(now_);
  }
}

bool Lab::is_routed_locally(const IpView& ip, std::uint32_t mark) const {
  return !network_.is_local(ip.destination) &&
         std::any_of(local_routes_.begin(), local_routes_.end(), [&](const LocalRoute& route) {
           const auto& [prefix, length] = route.destination;
           return route.mark == mark && ip.destination.family() == prefix.family() &&
                  ip.destination.prefix(length) == prefix.prefix(length);
         });
}

Outcome Lab::receive(const std::string& port, const Bytes& frame) {
  const auto* at = network_.interface(port);
  if (at == nullptr) {
    Outcome outcome;
    outcome.verdict = "no port " + port;
    return outcome;
  }
  auto outcome = process(frame, at->id);
  if (const auto message = sync_link_->message_of(port, frame)) director_.receive_sync(*message);
  return outcome;
}

Outcome Lab::process(const Bytes& frame, engine::InterfaceId ingress) {
  buffer_.assign(kHeadroom + frame.size() + kTailroom, std::byte{0xee});
  std::copy(frame.begin(), frame.end(), buffer_.begin() + kHeadroom);
  net::Packet packet(buffer_, kHeadroom, frame.size());
  packet.checksum_verified = checksums_verified_;
  const auto ip = view_frame(frame);
  packet.routed_locally = ip && is_routed_locally(*ip, director_.mark_of(packet, ingress));
  outputs_.clear();
  const auto verdict = director_.process(packet, ingress, now_, outputs_);

  Outcome outcome;
  outcome.routed_locally = packet.routed_locally;
  for (const auto& output : outputs_.frames()) collect(output.verdict, output.frame, outcome);
  collect(verdict, packet.bytes(), outcome);
  return outcome;
}

void Lab::collect(const engine::Verdict& verdict, std::span<const std::byte> frame,
                  Outcome& outcome) {
  using Kind = engine::Verdict::Kind;
  const Bytes bytes(frame.begin(), frame.end());
  switch (verdict.kind) {
    case Kind::kSend:
      outcome.sent.push_back({port_name(verdict.out), bytes});
      outcome.verdict = "send";
      break;
    case Kind::kResolve:
      outcome.unresolved.push_back({port_name(verdict.out), bytes});
      outcome.verdict = "resolve " + verdict.next_hop.to_text();
      break;
    case Kind::kHost:
      outcome.to_host.push_back(bytes);
      outcome.verdict = "host";
      break;
    case Kind::kConsumed:
      outcome.verdict = "consumed";
      break;
    case Kind::kDrop:
      outcome.verdict =
          "drop: " +
          std::string(engine::kDropReasonLabels.at(static_cast<std::size_t>(verdict.reason)));
      break;
  }
}

std::string Lab::port_name(engine::InterfaceId id) const {
  const auto* interface = network_.interface(id);
  return interface == nullptr ? "port " + std::to_string(static_cast<std::uint32_t>(id))
                              : interface->name;
}

Outcome Lab::send_from_host(const Bytes& packet) {
  Bytes frame(kEthernetSize);
  frame.insert(frame.end(), packet.begin(), packet.end());
  const bool is_v4 = view_ip(packet) && view_ip(packet)->is_v4();
  frame[12] = is_v4 ? std::byte{0x08} : std::byte{0x86};
  frame[13] = is_v4 ? std::byte{0x00} : std::byte{0xdd};
  auto outcome = process(frame, engine::InterfaceId::kHost);
  for (auto& left_alone : outcome.to_host) {
    const auto ip = view_frame(left_alone);
    if (!ip || network_.is_local(ip->destination)) continue;
    const auto hop = network_.route(ip->destination);
    if (!hop || !hop->resolved) continue;
    set_ethernet(left_alone, *hop);
    outcome.sent.push_back({port_name(hop->out), left_alone});
  }
  outcome.to_host.clear();
  return outcome;
}

std::optional<SentFrame> Lab::forward_plainly(const Bytes& frame) const {
  const auto headers = net::parse_frame(frame);
  if (!headers || headers->ttl <= 1 || headers->ip_offset != kEthernetSize) return std::nullopt;
  if (network_.is_local(headers->destination) || network_.is_local(headers->source) ||
      headers->destination.is_multicast()) {
    return std::nullopt;
  }
  const auto hop = network_.route(headers->destination);
  if (!hop || !hop->resolved || headers->ip_size() > hop->mtu) return std::nullopt;
  Bytes forwarded = frame;
  set_ethernet(forwarded, *hop);
  decrement_ttl(forwarded, headers->source.is_v4());
  return SentFrame{port_name(hop->out), forwarded};
}

const CasePort* Lab::port(std::string_view name) const noexcept {
  const auto found = std::find_if(meta_.ports.begin(), meta_.ports.end(),
                                  [&](const CasePort& port) { return port.name == name; });
  return found == meta_.ports.end() ? nullptr : &*found;
}

net::Mac Lab::mac_of(const net::IpAddress& address) const noexcept {
  for (const auto& neighbour : meta_.neighbours) {
    if (neighbour.address == address) return neighbour.mac;
  }
  return {};
}

std::optional<net::IpAddress> Lab::neighbour(const net::Mac& mac,
                                             net::Family family) const noexcept {
  for (const auto& neighbour : meta_.neighbours) {
    if (neighbour.mac == mac && neighbour.address.family() == family) return neighbour.address;
  }
  return std::nullopt;
}

net::Mac Lab::gateway_mac(net::Family family) const noexcept {
  for (const auto& neighbour : meta_.neighbours) {
    if (neighbour.address.family() == family) return neighbour.mac;
  }
  return {};
}

}  // namespace lb::replay
