// SPDX-License-Identifier: Apache-2.0
// A persistent service with engine "sip" under datagrams with any text, from clients and servers.
//
// The input: one byte (IPv6, forwarding method, flags of the service), then steps: a byte for what
// is done, and mostly a text that ends with a zero byte. What must hold besides PacketWorld's:
// a Call-ID lies in its message, and the same call goes to the same server whoever sends it.
#include <cstdint>
#include <string_view>

#include "engine/sip.hpp"
#include "fuzz/input.hpp"
#include "fuzz/packet_world.hpp"

namespace lb::fuzz {
namespace {

constexpr std::size_t kMaxSteps = 64;

class Player {
 public:
  Player(PacketWorld& world, const Input& input) : world_(world), input_(input) {}

  void play() {
    const unsigned kind = input_.byte();
    is_v6_ = (kind & 1U) != 0;
    world_.serve({.protocol = net::Protocol::kUdp,
                  .is_v6 = is_v6_,
                  .port = kPort,
                  .method = method_of(kind >> 1U),
                  .flags = (kind & 8U) != 0 ? model::kServicePersistent | model::kServiceOnePacket
                                            : model::kServicePersistent,
                  .persistence_engine = engine::kSipEngine});
    for (std::size_t i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      world_.check_capacity();
    }
    world_.finish();
  }

 private:
  static constexpr net::Port kPort = net::Port::from_host(5060);

  void step() {
    const unsigned what = input_.byte();
    const auto client_port = static_cast<std::uint16_t>(1000 + what / 16);
    switch (what % 8) {
      case 0:
        world_.wait(std::chrono::seconds(1) * static_cast<int>(input_.byte()));
        break;
      case 1:
        say(false, client_port, text());
        break;
      default:
        twice(text());
        break;
    }
  }

  std::string_view text() {
    const auto rest = net::as_text(input_.rest());
    const auto size = std::min(rest.find('\0'), rest.size());
    const auto taken = net::as_text(input_.take(size));
    input_.byte();
    return taken;
  }

  // From two ports that no connection knows: what a known one says goes where it always went.
  void twice(std::string_view message) {
    const auto call_id = engine::find_call_id(message);
    if (call_id) {
      expect(!call_id->empty() && call_id->size() <= engine::kMaxCallId, "a Call-ID is not long");
      expect(message.find(*call_id) != std::string_view::npos, "a Call-ID is of its message");
    }
    // Two connections and a template. When the table is full there is no template.
    const bool has_room =
        world_.director.connection_count() + 3 <= world_.director.connection_capacity();
    const auto first = say(true, next_port_++, message);
    const auto second = say(true, next_port_++, message);
    if (call_id && first && second && has_room) {
      expect(*first == *second, "the same call goes to the same server");
    }
  }

  // Where the packet was sent to.
  std::optional<net::Mac> say(bool is_request, std::uint16_t client_port,
                              std::string_view message) {
    const net::Endpoint client{client_address(is_v6_, 1), net::Port::from_host(client_port)};
    const net::Endpoint near{is_request ? virtual_address(is_v6_, PacketWorld::kVirtual)
                                        : server_address(is_v6_, PacketWorld::kServers[0]),
                             kPort};
    auto packet = engine::test::between(net::Protocol::kUdp, is_request ? client : near,
                                        is_request ? near : client);
    const auto bytes = std::as_bytes(std::span(message));
    packet.payload.assign(bytes.begin(), bytes.end());
    const auto verdict =
        world_.process(engine::test::build(packet), is_request ? kOutside : kInside);
    if (verdict.kind != engine::Verdict::Kind::kSend) return std::nullopt;
    return net::load<net::Mac>(world_.sent, 0);
  }

  PacketWorld& world_;
  Input input_;
  std::uint16_t next_port_ = 1;
  bool is_v6_ = false;
};

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lb::fuzz::Player(lb::fuzz::serve<lb::fuzz::PacketWorld>(), {data, size}).play();
  return 0;
}
