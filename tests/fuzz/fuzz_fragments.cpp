// SPDX-License-Identifier: Apache-2.0
// Fragments of packets to a service: in any order, overlapping, repeated, changed, late.
//
// The input: one byte (IPv6, protocol, forwarding method), the size of the packet, one byte for how
// it is cut up at the end, then pieces: a byte for what is special, offset and size, each in units
// of 8 bytes. At the end the packet comes whole, and then in pieces that fit: what leaves must be
// the same both times.
#include <cstdint>
#include <optional>

#include "fuzz/input.hpp"
#include "fuzz/packet_world.hpp"

namespace lb::fuzz {
namespace {

using engine::test::be16;
using engine::test::Frame;

constexpr std::size_t kMaxPieces = 64;
constexpr std::size_t kLargestPayload = 4000;
constexpr std::size_t kLink = 14;

/// A piece of the IP payload of `frame`, which has no extension headers.
Frame piece_of(const Frame& frame, bool is_v6, std::size_t offset, std::size_t size,
               std::uint16_t identification) {
  constexpr std::size_t kFragmentHeader = 8;
  const std::size_t headers = kLink + (is_v6 ? 40 : 20);
  const std::size_t whole = frame.size() - headers;
  const std::size_t here = std::min(size, whole - offset);
  const bool is_last = offset + here == whole;
  Frame piece(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(headers));
  if (is_v6) piece.resize(headers + kFragmentHeader);
  const auto data = std::span(frame).subspan(headers + offset, here);
  piece.insert(piece.end(), data.begin(), data.end());
  const auto ip = std::span(piece).subspan(kLink);
  if (is_v6) {
    net::store(ip, 4, be16(kFragmentHeader + here));
    piece[headers] = std::exchange(piece[kLink + 6], std::byte{44});
    net::store(ip, 40 + 2, be16(offset | (is_last ? 0U : 1U)));
    net::store(ip, 40 + 6, be16(identification));
    return piece;
  }
  net::store(ip, 2, be16(20 + here));
  net::store(ip, 4, be16(identification));
  net::store(ip, 6, be16((is_last ? 0U : 0x2000U) | offset / 8));
  net::store(ip, 10, net::Be16());
  net::store(ip, 10, net::internet_checksum(ip.first(20)));
  return piece;
}

/// An IP payload put together from frames in the plainest way.
class Assembly {
 public:
  void add(std::span<const std::byte> frame) {
    const auto headers = net::parse_frame(frame);
    expect(headers.has_value(), "what is sent can be read");
    destination = headers->destination;
    const auto data = frame.subspan(headers->transport_offset,
                                    std::size_t{headers->end} - headers->transport_offset);
    const std::size_t offset = headers->fragment_offset;
    if (payload.size() < offset + data.size()) payload.resize(offset + data.size());
    std::copy(data.begin(), data.end(), payload.begin() + static_cast<std::ptrdiff_t>(offset));
    bytes_ += data.size();
    if (!headers->more_fragments) end_ = offset + data.size();
  }
  [[nodiscard]] bool is_whole() const { return end_ == payload.size() && bytes_ == end_; }

  Frame payload;
  net::IpAddress destination;

 private:
  std::size_t bytes_ = 0;
  std::size_t end_ = 0;
};

class Player {
 public:
  Player(PacketWorld& world, const Input& input) : world_(world), input_(input) {}

  void play() {
    const unsigned kind = input_.byte();
    is_v6_ = (kind & 1U) != 0;
    protocol_ = (kind & 2U) != 0 ? net::Protocol::kTcp : net::Protocol::kUdp;
    const auto port = net::Port::from_host(80);
    world_.serve(
        {.protocol = protocol_, .is_v6 = is_v6_, .port = port, .method = method_of(kind >> 2U)});
    auto packet =
        engine::test::between(protocol_, {client_address(is_v6_, 1), net::Port::from_host(40000)},
                              {virtual_address(is_v6_, PacketWorld::kVirtual), port});
    packet.dont_fragment = false;
    packet.identification = kFresh;
    packet.payload = engine::test::pattern(input_.half() % kLargestPayload);
    frame_ = protocol_ == net::Protocol::kTcp ? engine::test::tcp(packet, net::kTcpSyn)
                                              : engine::test::build(packet);
    const auto cut = input_.byte();
    for (std::size_t i = 0; i < kMaxPieces && !input_.is_empty(); ++i) piece();
    check_that_pieces_are_as_good(cut);
    world_.finish();
  }

 private:
  static constexpr std::uint16_t kFresh = 0x100;  // identification of no piece from the input

  [[nodiscard]] std::size_t payload_size() const {
    return frame_.size() - kLink - (is_v6_ ? 40 : 20);
  }

  void piece() {
    const unsigned what = input_.byte();
    const std::size_t offset = std::size_t{input_.byte()} * 8;
    const std::size_t size = (1 + std::size_t{input_.byte()}) * 8;
    auto piece =
        piece_of(frame_, is_v6_, std::min(offset, payload_size() / 8 * 8), size, what & 3U);
    if ((what & 4U) != 0) {
      const auto at = input_.byte();
      piece[at % piece.size()] = static_cast<std::byte>(input_.byte());
    }
    if ((what & 8U) != 0)
      piece.resize(piece.size() - std::min<std::size_t>(input_.byte(), piece.size()));
    if ((what & 0x30U) == 0x30U) world_.wait(std::chrono::seconds(what >> 6U) * 20);
    world_.process(piece, (what & 0x30U) == 0x20U ? kInside : kOutside);
  }

  void add_what_left(const engine::Verdict& verdict, Assembly& assembly) {
    using Kind = engine::Verdict::Kind;
    if (verdict.kind == Kind::kSend) assembly.add(world_.sent);
    for (const auto& output : world_.outputs()) assembly.add(output.frame);
  }

  // Pieces of 8 (1 + cut % 32) * 4 bytes, forwards or backwards.
  void check_that_pieces_are_as_good(unsigned cut) {
    Assembly whole;
    const auto verdict = world_.process(frame_, kOutside);
    // Nothing to compare with: too big for the link, or no room for the connection.
    if (verdict.kind == engine::Verdict::Kind::kDrop) return;
    add_what_left(verdict, whole);
    const std::size_t size = 32 * (1 + cut % 32);
    const std::size_t count = (payload_size() + size - 1) / size;
    if (count < 2 || count > kMaxPieces || !whole.is_whole()) return;
    Assembly pieces;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = (cut & 32U) != 0 ? count - 1 - i : i;
      const auto of =
          world_.process(piece_of(frame_, is_v6_, place * size, size, kFresh), kOutside);
      expect(of.kind != engine::Verdict::Kind::kDrop, "pieces that fit are not dropped");
      add_what_left(of, pieces);
    }
    expect(pieces.is_whole(), "what comes in pieces goes on, all of it");
    expect(pieces.destination == whole.destination, "what comes in pieces goes where it belongs");
    expect(pieces.payload == whole.payload, "what comes in pieces is what came");
  }

  PacketWorld& world_;
  Input input_;
  Frame frame_;
  net::Protocol protocol_ = net::Protocol::kUdp;
  bool is_v6_ = false;
};

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lb::fuzz::Player(lb::fuzz::serve<lb::fuzz::PacketWorld>(), {data, size}).play();
  return 0;
}
