// SPDX-License-Identifier: Apache-2.0
// A director under a sequence of configuration changes, packets from both sides and time.
//
// The input is a list of steps: one byte that names the step, then its operands (see Player).
// What must hold after each: see PacketWorld. At the end: counts that agree with the listing, and
// nothing left when all is deleted and time has passed.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "fuzz/input.hpp"
#include "fuzz/packet_world.hpp"

namespace lb::fuzz {
namespace {

using engine::InterfaceId;
using engine::test::Frame;

constexpr std::size_t kMaxSteps = 400;

constexpr std::array<const char*, 16> kSchedulers{"rr", "wrr", "lc",  "wlc", "lblc", "lblcr",
                                                  "dh", "sh",  "sed", "nq",  "fo",   "ovf",
                                                  "mh", "mh",  "wlc", "none"};
constexpr std::array<std::uint16_t, 8> kPorts{80, 0, 21, 53, 443, 8000, 20, 5060};
constexpr std::array<net::Protocol, 4> kProtocols{net::Protocol::kTcp, net::Protocol::kUdp,
                                                  net::Protocol::kSctp, net::Protocol::kTcp};

net::Port port(std::uint8_t selector) {
  return net::Port::from_host(kPorts[selector % kPorts.size()]);
}

class Player {
 public:
  Player(PacketWorld& world, const std::uint8_t* data, std::size_t size)
      : input_(data, size), world_(world), director_(world.director), network_(world.network) {}

  void play() {
    for (std::size_t i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      world_.check_capacity();
    }
    world_.finish();
  }

 private:
  void step() {
    switch (input_.byte() % 16) {
      case 0:
        static_cast<void>(director_.add_service(service()));
        break;
      case 1:
        static_cast<void>(director_.edit_service(service()));
        break;
      case 2:
        static_cast<void>(director_.delete_service(key()));
        break;
      case 3: {
        const auto to = key();
        static_cast<void>(director_.add_destination(to, destination(to)));
        break;
      }
      case 4: {
        const auto to = key();
        static_cast<void>(director_.edit_destination(to, destination(to)));
        break;
      }
      case 5: {
        const auto to = key();
        const auto spec = destination(to);
        static_cast<void>(director_.delete_destination(to, {spec.address, spec.port}));
        break;
      }
      case 6:
        settings();
        break;
      case 7:
        wait();
        break;
      case 8:
        other_command();
        break;
      case 9:
        network_change();
        break;
      case 10:
        received(input_.take(input_.half()));
        break;
      case 11:
        follow_up();
        break;
      case 12:
        fragment();
        break;
      default:
        built_packet();
        break;
    }
  }

  // Operand: protocol 2 bits, IPv6, by mark, port 3 bits; then the last byte of the address or the
  // mark.
  model::ServiceKey key() {
    const unsigned kind = input_.byte();
    const auto value = input_.byte();
    model::ServiceKey key;
    const bool is_v6 = (kind & 4U) != 0;
    key.family = is_v6 ? net::Family::kIpv6 : net::Family::kIpv4;
    if ((kind & 8U) != 0) {
      key.fwmark = 1U + value % 4U;
      key.address = net::IpAddress::any(key.family);
      return key;
    }
    key.protocol = kProtocols[kind % 4];
    key.address = virtual_address(is_v6, value);
    key.port = port(static_cast<std::uint8_t>(kind >> 4U));
    return key;
  }

  model::ServiceSpec service() {
    model::ServiceSpec spec;
    spec.key = key();
    spec.scheduler = kSchedulers[input_.byte() % kSchedulers.size()];
    const unsigned flags = input_.byte();
    spec.flags = flags & 0x3fU;
    if ((flags & 0x80U) != 0) spec.persistence_engine = "sip";
    spec.timeout = input_.half();
    const auto mask = input_.byte();
    spec.netmask = spec.key.family == net::Family::kIpv6
                       ? 128U - mask % 128U
                       : net::Be32::from_host(mask < 32 ? ~0U << mask : ~0U).to_network();
    return spec;
  }

  // Operand: method, weight, kind of address; last byte of the address; port; thresholds.
  model::DestinationSpec destination(const model::ServiceKey& of) {
    const unsigned kind = input_.byte();
    const auto last = input_.byte();
    model::DestinationSpec spec;
    spec.method = method_of(kind);
    spec.weight = static_cast<std::int32_t>(kind >> 2U & 3U);
    bool is_v6 = of.family == net::Family::kIpv6;
    if (spec.method == model::ForwardingMethod::kTunnel && (kind & 0x10U) != 0) is_v6 = !is_v6;
    spec.address =
        (kind & 0x60U) == 0x60U ? virtual_address(is_v6, last) : server_address(is_v6, last);
    if (last == 255) spec.address = ip(is_v6 ? "::1" : "127.0.0.1");
    spec.port = port(input_.byte());
    const auto thresholds = input_.byte();
    spec.upper_threshold = thresholds % 8U;
    spec.lower_threshold = thresholds / 16U;
    const auto tunnel = input_.byte();
    spec.tunnel = {
        .type = static_cast<model::TunnelType>(tunnel % 3),
        .port = net::Port::from_host(6080),
        .flags = (tunnel & 0x80U) != 0 ? model::kTunnelChecksum : model::kTunnelNoChecksum};
    return spec;
  }

  void settings() {
    auto values = director_.settings();
    std::array fields{&values.drop_entry,         &values.drop_packet,
                      &values.secure_tcp,         &values.cache_bypass,
                      &values.expire_nodest_conn, &values.sloppy_tcp,
                      &values.sloppy_sctp,        &values.expire_quiescent_template,
                      &values.nat_icmp_send,      &values.pmtu_disc,
                      &values.conn_reuse_mode,    &values.schedule_icmp,
                      &values.snat_reroute,       &values.conntrack,
                      &values.am_droprate,        &values.quirk_ipv6_extension_state,
                      &values.ignore_tunneled,    &values.run_estimation,
                      &values.lblc_expiration,    &values.lblcr_expiration};
    *fields[input_.byte() % fields.size()] = input_.byte() % 8 - 1;
    director_.set_settings(values);
  }

  // Units of 1 ms, 1 s, 1 min, or back by as many seconds.
  void wait() {
    using std::chrono::milliseconds;
    constexpr std::array kUnits{1, 1000, 60000, -1000};
    const unsigned value = input_.byte();
    world_.wait(milliseconds(kUnits[value % 4]) * static_cast<int>(1 + value / 4), 1 + value);
  }

  void other_command() {
    const auto value = input_.byte();
    switch (value % 5) {
      case 0:
        director_.flush();
        break;
      case 1:
        director_.zero_all();
        break;
      case 2:
        static_cast<void>(director_.zero(key()));
        break;
      case 3:
        static_cast<void>(
            director_.set_timeouts({.tcp = value, .tcp_fin = input_.byte(), .udp = value % 7U}));
        break;
      default:
        world_.check_counts();
        break;
    }
  }

  void network_change() {
    const unsigned value = input_.byte();
    const bool is_v6 = (value & 1U) != 0;
    const auto address = server_address(is_v6, input_.byte());
    switch (value >> 1U & 3U) {
      case 0:
        network_.remove_neighbour(kInside, address);
        break;
      case 1:
        network_.set_neighbour(kInside, address, {{2, 0, 0, 0, 2, 9}});
        break;
      case 2:
        network_.set_path_mtu(address, 500 + value * 8);
        break;
      default:
        network_.remove_route({.destination = ip(is_v6 ? "::" : "0.0.0.0"),
                               .via = {},
                               .out = kOutside,
                               .source = {}});
        break;
    }
  }

  net::Endpoint near_end(bool is_v6, unsigned kind) {
    return {(kind & 0x40U) != 0 ? server_address(is_v6, input_.byte())
                                : virtual_address(is_v6, input_.byte()),
            port(input_.byte())};
  }

  // Operand: protocol 2 bits, IPv6, from the server's side, ports, TTL, size and flags of TCP.
  void built_packet() {
    const unsigned kind = input_.byte();
    const bool is_v6 = (kind & 4U) != 0;
    const bool from_server = (kind & 8U) != 0;
    const net::Endpoint far{client_address(is_v6, kind >> 7U & 1U),
                            net::Port::from_host(static_cast<std::uint16_t>(input_.byte() % 32U))};
    const auto near = near_end(is_v6, from_server ? 0x40U : kind);
    auto packet = engine::test::between(kProtocols[kind % 4], from_server ? near : far,
                                        from_server ? far : near);
    const auto detail = input_.byte();
    packet.ttl = (detail & 0xc0U) == 0xc0U ? 1 : 60;
    packet.dont_fragment = (kind & 0x10U) == 0;
    const std::size_t size = (kind & 0x20U) != 0 ? input_.half() % 4000U : detail % 32U;
    packet.payload = engine::test::pattern(size);
    if (packet.protocol == net::Protocol::kSctp) {
      packet.payload.resize(20);
      packet.payload[0] = static_cast<std::byte>(detail % 16U);
      packet.payload[3] = std::byte{20};
    }
    auto frame = packet.protocol == net::Protocol::kTcp ? engine::test::tcp(packet, detail)
                                                        : engine::test::build(packet);
    process(frame, from_server ? kInside : ((kind & 0x80U) != 0 ? InterfaceId::kHost : kOutside));
  }

  // A frame as it is in the input, perhaps with wrong checksums.
  void received(std::span<const std::byte> bytes) {
    process({bytes.begin(), bytes.end()}, last_side_ = other(last_side_));
  }

  // Something about the frame that was processed last: the same again with a byte changed, an ICMP
  // error about it, a packet on its way back.
  void follow_up() {
    const unsigned kind = input_.byte();
    auto frame = (kind & 1U) != 0 || world_.sent.empty() ? world_.received : world_.sent;
    const auto headers = net::parse_frame(frame);
    const auto side = (kind & 2U) != 0 ? kInside : kOutside;
    if (!headers || (kind & 4U) != 0) {
      const auto at = input_.half();
      if (!frame.empty()) frame[at % frame.size()] = static_cast<std::byte>(input_.byte());
      process(frame, side);
      return;
    }
    const bool is_v6 = headers->family() == net::Family::kIpv6;
    const auto router = (kind & 8U) != 0 ? headers->destination : server_address(is_v6, 126);
    const auto type = input_.byte();
    const auto code = input_.byte();
    auto error = engine::test::icmp_error(router, headers->source, frame, type, code, type * 6U);
    if ((kind & 16U) != 0) error.resize(error.size() - std::min<std::size_t>(code, error.size()));
    process(error, side);
  }

  void fragment() {
    const auto before = world_.received;
    const auto headers = net::parse_frame(before);
    if (!headers || headers->family() != net::Family::kIpv4 || headers->transport_offset != 34 ||
        headers->end <= 34) {
      return;
    }
    const std::size_t whole = headers->end - 34;
    const auto offset = (std::size_t{input_.byte()} * 8) % whole / 8 * 8;
    const auto size = (1 + std::size_t{input_.byte()}) * 8;
    auto trimmed = before;
    trimmed.resize(headers->end);
    process(engine::test::fragment_of(trimmed, offset, size), kOutside);
    world_.received = before;
  }

  static InterfaceId other(InterfaceId side) { return side == kOutside ? kInside : kOutside; }

  void process(const Frame& frame, InterfaceId ingress) { world_.process(frame, ingress, true); }

  Input input_;
  PacketWorld& world_;
  engine::Director& director_;
  engine::NetworkView& network_;
  InterfaceId last_side_ = kInside;
};

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lb::fuzz::Player(lb::fuzz::serve<lb::fuzz::PacketWorld>(), data, size).play();
  return 0;
}
