// SPDX-License-Identifier: Apache-2.0
// ICMP errors about a connection: from any router, to any end, about what any end saw of it, cut
// and changed.
//
// The input: one byte (IPv6, protocol, forwarding method), one of settings, then steps of ten bytes
// and more (see Player::step).
#include <array>
#include <cstdint>

#include "fuzz/input.hpp"
#include "fuzz/packet_world.hpp"

namespace lb::fuzz {
namespace {

using engine::test::Frame;

constexpr std::size_t kMaxSteps = 32;
constexpr std::size_t kLink = 14;

class Player {
 public:
  Player(PacketWorld& world, const Input& input) : world_(world), input_(input) {}

  void play() {
    constexpr std::array kProtocols{net::Protocol::kTcp, net::Protocol::kUdp, net::Protocol::kSctp,
                                    net::Protocol::kTcp};
    const unsigned kind = input_.byte();
    is_v6_ = (kind & 1U) != 0;
    protocol_ = kProtocols[kind >> 1U & 3U];
    settings(input_.byte());
    world_.serve({.protocol = protocol_,
                  .is_v6 = is_v6_,
                  .port = net::Port::from_host(80),
                  .method = method_of(kind >> 3U)});
    open(kind);
    for (std::size_t i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      world_.check_capacity();
    }
    world_.finish();
  }

 private:
  void settings(unsigned bits) {
    auto values = world_.director.settings();
    values.nat_icmp_send = static_cast<std::int32_t>(bits & 1U);
    values.schedule_icmp = static_cast<std::int32_t>(bits >> 1U & 1U);
    values.pmtu_disc = static_cast<std::int32_t>(bits >> 2U & 1U);
    values.ignore_tunneled = static_cast<std::int32_t>(bits >> 3U & 1U);
    values.quirk_icmpv6_checksum = static_cast<std::int32_t>(bits >> 4U & 1U);
    world_.director.set_settings(values);
  }

  // A packet from the client and the answer, each as it came and as it left.
  void open(unsigned kind) {
    client_ = {client_address(is_v6_, 1), net::Port::from_host(40000)};
    virtual_ = {virtual_address(is_v6_, PacketWorld::kVirtual), net::Port::from_host(80)};
    pass(client_, virtual_, net::kTcpSyn, kOutside, 0);
    server_ = {server_address(is_v6_, PacketWorld::kServers[0]), virtual_.port};
    if (const auto sent = net::parse_frame(world_.sent)) server_.address = sent->destination;
    const auto answering = server_.address == virtual_.address ? virtual_ : server_;
    pass(answering, client_, net::kTcpSyn | net::kTcpAck, kInside, 2);
    if ((kind & 0x80U) != 0) world_.wait(std::chrono::minutes(20));
  }

  void pass(const net::Endpoint& from, const net::Endpoint& to, std::uint8_t flags,
            engine::InterfaceId ingress, std::size_t at) {
    auto packet = engine::test::between(protocol_, from, to);
    packet.payload = engine::test::pattern(16);
    world_.process(protocol_ == net::Protocol::kTcp ? engine::test::tcp(packet, flags)
                                                    : engine::test::build(packet),
                   ingress);
    known_[at] = world_.received;
    known_[at + 1] = world_.sent;
  }

  // Operand: which packet is quoted (3 bits), from whom, to whom, by which interface; type, code,
  // second word; how much is cut off; changes of the quoted packet; changes of the error.
  void step() {
    const unsigned what = input_.byte();
    const unsigned ends = input_.byte();
    const auto type = input_.byte();
    const auto code = input_.byte();
    const auto rest = input_.half();
    const auto cut = input_.byte();
    const unsigned changes = input_.byte();
    const std::size_t which = what & 7U;
    auto quoted = which < known_.size() ? known_[which] : world_.received;
    if (quoted.size() <= kLink) quoted = known_[0];
    quoted.resize(std::max(kLink, quoted.size() - std::min<std::size_t>(cut, quoted.size())));
    change(quoted, changes & 7U);
    const auto error =
        engine::test::icmp_error(end(ends), end(ends >> 2U), quoted, usual_type(type), code, rest);
    auto frame = error;
    change(frame, changes >> 3U & 3U);
    world_.process(frame, (what & 8U) != 0 ? kInside : kOutside);
    if ((what & 0x80U) != 0 && !world_.sent.empty()) known_[4] = world_.sent;
    if ((what & 0x40U) != 0) known_[4] = error;
  }

  // Half of them are errors that there are.
  [[nodiscard]] std::uint8_t usual_type(std::uint8_t type) const {
    constexpr std::array<std::uint8_t, 4> kV4{3, 11, 12, 4};
    constexpr std::array<std::uint8_t, 4> kV6{1, 2, 3, 4};
    if ((type & 0x80U) != 0) return type & 0x7fU;
    return (is_v6_ ? kV6 : kV4)[type % 4U];
  }

  [[nodiscard]] net::IpAddress end(unsigned selector) const {
    const std::array ends{client_.address, server_.address, virtual_.address,
                          server_address(is_v6_, 177)};
    return ends[selector % ends.size()];
  }

  void change(Frame& bytes, unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      const auto at = input_.byte();
      const auto value = input_.byte();
      if (bytes.size() > kLink) {
        bytes[kLink + at % (bytes.size() - kLink)] = static_cast<std::byte>(value);
      }
    }
  }

  PacketWorld& world_;
  Input input_;
  net::Endpoint client_{};
  net::Endpoint virtual_{};
  net::Endpoint server_{};
  std::array<Frame, 5> known_{};  // request as it came and left, answer, and an error
  net::Protocol protocol_ = net::Protocol::kTcp;
  bool is_v6_ = false;
};

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lb::fuzz::Player(lb::fuzz::serve<lb::fuzz::PacketWorld>(), {data, size}).play();
  return 0;
}
