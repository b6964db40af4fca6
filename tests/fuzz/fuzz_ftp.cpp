// SPDX-License-Identifier: Apache-2.0
// An FTP control connection through a masquerading director: any text from both sides, data
// connections, time.
//
// The input: one byte (IPv6), then steps: a byte for what is done, and its operands. What must
// hold besides PacketWorld's: what each side says without a gap reaches the other without one,
// however the director changes addresses in it.
#include <cstdint>
#include <string_view>

#include "fuzz/input.hpp"
#include "fuzz/packet_world.hpp"

namespace lb::fuzz {
namespace {

using engine::test::Frame;

constexpr std::size_t kMaxSteps = 64;
constexpr std::size_t kTcpHeader = 20;

/// What one side has said, and how the other saw it.
struct Stream {
  net::Endpoint from;
  net::Endpoint to;
  engine::InterfaceId ingress;
  std::uint32_t next = 0;     ///< sequence number of what it says next
  std::uint32_t seen = 0;     ///< the same for the other side
  Frame last;                 ///< what it said last, as it said it
  std::size_t last_size = 0;  ///< and the size of the frame that reached the other
};

class Player {
 public:
  Player(PacketWorld& world, const Input& input) : world_(world), input_(input) {}

  void play() {
    is_v6_ = (input_.byte() & 1U) != 0;
    world_.serve({.protocol = net::Protocol::kTcp, .is_v6 = is_v6_, .port = kPort});
    open();
    for (std::size_t i = 0; is_open_ && i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      world_.check_capacity();
    }
    world_.finish();
  }

 private:
  static constexpr net::Port kPort = net::Port::from_host(21);

  // The handshake; the server is the one that the SYN was sent to.
  void open() {
    client_ = {.from = {client_address(is_v6_, 1), net::Port::from_host(40000)},
               .to = {virtual_address(is_v6_, PacketWorld::kVirtual), kPort},
               .ingress = kOutside,
               .next = 1000,
               .seen = 1000,
               .last = {},
               .last_size = 0};
    send(client_, server_, {}, net::kTcpSyn);
    const auto syn = net::parse_frame(world_.sent);
    expect(syn.has_value(), "a connection can be opened");
    server_ = {.from = {syn->destination, syn->destination_port},
               .to = client_.from,
               .ingress = kInside,
               .next = 0xffffff00,
               .seen = 0xffffff00,
               .last = {},
               .last_size = 0};
    client_.next = client_.seen = 1001;
    send(server_, client_, {}, net::kTcpSyn | net::kTcpAck);
    server_.next = server_.seen = 0xffffff01;
    send(client_, server_, {}, net::kTcpAck);
  }

  void step() {
    const unsigned what = input_.byte();
    switch (what % 8) {
      case 0:
        world_.wait(std::chrono::seconds(1) * static_cast<int>(input_.byte()));
        is_open_ = false;  // perhaps; what follows cannot be judged
        break;
      case 1:
        again((what & 8U) != 0 ? client_ : server_);
        break;
      case 2:
        data_connection(what);
        break;
      case 3:
      case 4:
      case 5:
        say(client_, server_, text());
        break;
      default:
        say(server_, client_, text());
        break;
    }
  }

  // The same again. An answer may look different then: as one to a request that came meanwhile.
  void again(const Stream& stream) {
    if (stream.last.empty()) return;
    world_.process(stream.last, stream.ingress);
    is_open_ = world_.sent.size() == stream.last_size;
  }

  // Up to a line feed, as FTP says things.
  std::string_view text() {
    const auto rest = net::as_text(input_.rest());
    const auto size = std::min(rest.find('\n'), rest.size());
    return net::as_text(input_.take(size + 1));
  }

  void say(Stream& stream, const Stream& other, std::string_view text) {
    send(stream, other, text, net::kTcpAck);
    stream.last = world_.received;
    stream.last_size = world_.sent.size();
    if (world_.sent.empty()) return;
    const auto headers = net::parse_frame(world_.sent);
    expect(headers.has_value(), "what was said goes on");
    const auto at = std::size_t{headers->transport_offset};
    const auto sequence = net::load<net::Be32>(world_.sent, at + 4).to_host();
    expect(sequence == stream.seen, "what is said has no gap");
    stream.next += static_cast<std::uint32_t>(text.size());
    stream.seen += static_cast<std::uint32_t>(headers->end - at - kTcpHeader);
  }

  // Acknowledges all that was seen of the other side.
  void send(const Stream& stream, const Stream& other, std::string_view text, std::uint8_t flags) {
    auto packet = engine::test::between(net::Protocol::kTcp, stream.from, stream.to);
    packet.dont_fragment = false;
    const auto bytes = std::as_bytes(std::span(text));
    packet.payload.assign(bytes.begin(), bytes.end());
    auto segment = engine::test::segment_of(packet);
    net::store(std::span(segment), 4, net::Be32::from_host(stream.next));
    net::store(std::span(segment), 8, net::Be32::from_host(other.seen));
    segment[13] = std::byte{flags};
    engine::test::seal(packet, segment, 16);
    world_.process(engine::test::build(packet, segment), stream.ingress);
  }

  // From either side to any port, or from port 20.
  void data_connection(unsigned what) {
    const auto port = net::Port::from_host(input_.half());
    const bool is_active = (what & 8U) != 0;
    const auto from = is_active ? net::Endpoint{server_.from.address, net::Port::from_host(20)}
                                : net::Endpoint{client_.from.address, net::Port::from_host(40001)};
    const auto to = is_active ? net::Endpoint{client_.from.address, port}
                              : net::Endpoint{client_.to.address, port};
    world_.process(engine::test::tcp(from, to, net::kTcpSyn), is_active ? kInside : kOutside);
  }

  PacketWorld& world_;
  Input input_;
  Stream client_{};
  Stream server_{};
  bool is_v6_ = false;
  bool is_open_ = true;
};

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lb::fuzz::Player(lb::fuzz::serve<lb::fuzz::PacketWorld>(), {data, size}).play();
  return 0;
}
