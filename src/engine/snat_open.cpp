// SPDX-License-Identifier: Apache-2.0
#include "engine/snat_open.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "engine/persistence.hpp"
#include "engine/service_key_hash.hpp"
#include "engine/siphash.hpp"
#include "engine/transmit.hpp"

namespace lb::engine {
namespace {

using model::SnatKind;
using model::SnatRefusal;

/// Ports that are tried before a pool counts as exhausted. All of a small range are; of a large one
/// so many, for an inside host that has used it up must not make each of its packets cost a walk
/// over 64 k ports. With 95 of 100 ports taken one try in seven hundred fails that need not.
constexpr std::uint32_t kMaxProbes = 128;

/// Up to two ranges of ports, as one row.
class PortChoice {
 public:
  void add(std::uint32_t first, std::uint32_t last) noexcept {
    if (first > last) return;
    ranges_[count_++] = {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)};
    size_ += last - first + 1;
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint16_t at(std::uint32_t index) const noexcept {
    const std::uint32_t first = ranges_[0].last - std::uint32_t{ranges_[0].first} + 1;
    return static_cast<std::uint16_t>(index < first ? ranges_[0].first + index
                                                    : ranges_[1].first + (index - first));
  }

 private:
  std::array<model::PortRange, 2> ranges_{};
  std::size_t count_ = 0;
  std::uint32_t size_ = 0;
};

bool is_echo(net::Protocol protocol) noexcept {
  return protocol == net::Protocol::kIcmp || protocol == net::Protocol::kIcmpv6;
}

// Where the host's own connections get their ports from is left to them unless the rule says
// otherwise. Echo identifiers are no ports.
PortChoice ports_of(const SnatEntry& entry, const HostPorts& host, net::Protocol protocol,
                    bool is_hosts_address) noexcept {
  constexpr std::uint32_t kLast = 65535;
  const std::uint32_t first = model::SnatRule::kFirstPort;
  PortChoice choice;
  if (entry.rule.has_ports()) {
    choice.add(entry.rule.ports.first, entry.rule.ports.last);
  } else if (is_hosts_address && !is_echo(protocol)) {
    choice.add(first, std::max<std::uint32_t>(host.ephemeral.first, first) - 1);
    choice.add(std::max<std::uint32_t>(host.ephemeral.last + 1U, first), kLast);
    if (choice.size() == 0) choice.add(first, kLast);
  } else {
    choice.add(first, kLast);
  }
  return choice;
}

/// A number that nobody outside can foretell (RFC 6056, 3.3): a keyed hash of both ends, and of how
/// many were drawn before.
std::uint64_t draw(DirectorState& state, const SnatFlow& flow) noexcept {
  constexpr std::uint64_t kOtherUse = 0x736e61742d706f72;  // keeps apart from the tables' hashes
  const auto& key = state.options.hash_key;
  SipHash24 hash({key[0] ^ kOtherUse, key[1]});
  for (const auto& end : {flow.inside, flow.outside}) {
    const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(end.address.bytes());
    hash.word(words[0]);
    hash.word(words[1]);
    hash.word(end.port.to_network() | static_cast<std::uint64_t>(flow.protocol) << 16U);
  }
  return hash.finish(++state.snat.choices & 0xffffffffffffff, 0);
}

bool is_free(DirectorState& state, const SnatFlow& flow, const net::Endpoint& end,
             bool is_hosts_address) noexcept {
  if (is_hosts_address && state.snat.host_ports->uses(flow.protocol, end.port.to_host())) {
    return false;
  }
  const bool is_services = state.services.find({.family = end.address.family(),
                                                .fwmark = 0,
                                                .protocol = flow.protocol,
                                                .address = end.address,
                                                .port = end.port}) != nullptr;
  return !is_services && state.connections.find(flow.protocol, flow.outside, end) == 0;
}

/// A port of `address` that no connection to the same end outside has; null: none was found.
std::optional<net::Port> choose_port(DirectorState& state, const SnatEntry& entry,
                                     const SnatFlow& flow, const net::IpAddress& address) noexcept {
  const bool is_hosts_address = state.network.is_local(address);
  if (entry.rule.kind == SnatKind::kStatic) {
    const bool is_usable =
        state.connections.find(flow.protocol, flow.outside, {address, flow.inside.port}) == 0;
    return is_usable ? std::optional(flow.inside.port) : std::nullopt;
  }
  const auto choice = ports_of(entry, *state.snat.host_ports, flow.protocol, is_hosts_address);
  const auto size = choice.size();
  const auto number = draw(state, flow);
  auto index = static_cast<std::uint32_t>(number % size);
  // A step without a common divisor visits each port once.
  auto step = size > 1 ? static_cast<std::uint32_t>((number >> 32U) % (size - 1)) + 1 : 1;
  while (std::gcd(step, size) != 1) ++step;
  for (std::uint32_t i = 0; i < std::min(size, kMaxProbes); ++i) {
    const auto port = net::Port::from_host(choice.at(index));
    if (is_free(state, flow, {address, port}, is_hosts_address)) return port;
    index = (index + step) % size;
  }
  return std::nullopt;
}

Verdict refuse(DirectorState& state, PacketContext& context, SnatEntry& entry, const SnatFlow& flow,
               SnatRefusal why, DropReason reason) noexcept {
  ++entry.refused[static_cast<std::size_t>(why)];
  entry.last_refusal = why;
  entry.last_refused = flow.inside.address;
  entry.last_refused_destination = flow.outside;
  report_error(state, context, IcmpError::host_unreachable(context.headers.family()));
  return Verdict::drop(reason);
}

/// Null: the packet may open a connection.
std::optional<Verdict> check_first(const DirectorState& state,
                                   const PacketContext& context) noexcept {
  const auto& headers = context.headers;
  if (!headers.has_transport_header) return Verdict::drop(DropReason::kTruncated);
  bool may_open = true;
  if (headers.protocol == net::Protocol::kTcp) {
    constexpr unsigned kMeaning = net::kTcpSyn | net::kTcpAck | net::kTcpRst;
    may_open = (headers.tcp_flags & kMeaning) == net::kTcpSyn ||
               (state.settings.sloppy_tcp != 0 && (headers.tcp_flags & net::kTcpRst) == 0);
  } else if (is_echo(headers.protocol)) {
    may_open = is_echo_request(headers);
  }
  if (may_open) return std::nullopt;
  return Verdict::drop(DropReason::kNotFirstPacket);
}

SnatOpened open(DirectorState& state, SnatEntry& entry, const SnatFlow& flow,
                const net::Endpoint& shown, std::uint32_t flags) noexcept {
  const auto id = state.connections.open(
      {.protocol = flow.protocol,
       .client = flow.outside,
       .virtual_end = shown,
       .real_end = flow.inside,
       .destination = entry.destination,
       .flags = kConnectionSnat | flags,
       .timeout_s = entry.timeout(flow.protocol, static_cast<std::uint8_t>(TcpState::kNone))},
      state.now);
  if (id == 0) return {};
  if (state.snat.numbers) (*state.snat.numbers)[id] = {};
  count_connection(state, *entry.service, *entry.destination);
  return {.connection = id};
}

}  // namespace

SnatOpened open_from_inside(DirectorState& state, PacketContext& context, SnatEntry& entry,
                            const SnatFlow& flow) noexcept {
  if (const auto verdict = check_first(state, context)) return {.verdict = *verdict};
  const auto limit = entry.rule.client_limit;
  if (limit != 0 &&
      state.connections.snat_connections(flow.inside.address, *entry.destination) >= limit) {
    return {.verdict = refuse(state, context, entry, flow, SnatRefusal::kClientLimit,
                              DropReason::kSnatClientLimit)};
  }
  // Without a secret: a client keeps its address when the director is started anew.
  const auto address =
      entry.outside_of(flow.inside.address, mix_hash(std::uint64_t{1}, flow.inside.address));
  const auto port = choose_port(state, entry, flow, address);
  if (!port) {
    return {.verdict = refuse(state, context, entry, flow, SnatRefusal::kPoolExhausted,
                              DropReason::kSnatPoolExhausted)};
  }
  auto opened = open(state, entry, flow, {address, *port}, kConnectionFromInside);
  if (opened.connection == 0) {
    opened.verdict =
        refuse(state, context, entry, flow, SnatRefusal::kTableFull, DropReason::kTableFull);
  }
  return opened;
}

SnatOpened open_from_outside(DirectorState& state, PacketContext& context, SnatEntry& entry,
                             const SnatFlow& flow) noexcept {
  if (const auto verdict = check_first(state, context)) return {.verdict = *verdict};
  const net::Endpoint shown = flow.inside;
  auto translated = flow;
  translated.inside.address = entry.inside_of(shown.address);
  const auto limit = entry.rule.client_limit;
  if (limit != 0 &&
      state.connections.snat_connections(translated.inside.address, *entry.destination) >= limit) {
    return {.verdict = refuse(state, context, entry, translated, SnatRefusal::kClientLimit,
                              DropReason::kSnatClientLimit)};
  }
  auto opened = open(state, entry, translated, shown, 0);
  if (opened.connection == 0) {
    opened.verdict =
        refuse(state, context, entry, translated, SnatRefusal::kTableFull, DropReason::kTableFull);
  }
  return opened;
}

}  // namespace lb::engine
