// SPDX-License-Identifier: Apache-2.0
// A service for SCTP under packets with any chunks from both sides, with right checksums, and time.
//
// The input: one byte (IPv6, forwarding method, sloppy_sctp), then steps. A step is a byte
// (server's side, port of the client, or time), the number of bytes, and these: the chunks.
#include <cstdint>

#include "fuzz/input.hpp"
#include "fuzz/packet_world.hpp"

namespace lb::fuzz {
namespace {

constexpr std::size_t kMaxSteps = 64;

void play(PacketWorld& world, Input input) {
  const unsigned kind = input.byte();
  const bool is_v6 = (kind & 1U) != 0;
  const auto port = net::Port::from_host(80);
  world.serve({.protocol = net::Protocol::kSctp,
               .is_v6 = is_v6,
               .port = port,
               .method = method_of(kind >> 1U)});
  auto settings = world.director.settings();
  settings.sloppy_sctp = static_cast<std::int32_t>(kind >> 3U & 1U);
  settings.secure_tcp = static_cast<std::int32_t>(kind >> 4U & 3U);
  settings.quirk_ipv6_extension_state = static_cast<std::int32_t>(kind >> 6U & 1U);
  world.director.set_settings(settings);
  for (std::size_t i = 0; i < kMaxSteps && !input.is_empty(); ++i) {
    const unsigned step = input.byte();
    if (step >= 0xe0) {
      world.wait(std::chrono::seconds(1) * static_cast<int>(input.byte()));
      continue;
    }
    const bool is_answer = (step & 1U) != 0;
    const net::Endpoint client{client_address(is_v6, 1),
                               net::Port::from_host(static_cast<std::uint16_t>(step >> 1U & 3U))};
    const auto server = PacketWorld::kServers[(step >> 3U & 3U) % PacketWorld::kServers.size()];
    const net::Endpoint near{
        is_answer ? server_address(is_v6, server) : virtual_address(is_v6, PacketWorld::kVirtual),
        port};
    auto packet = engine::test::between(net::Protocol::kSctp, is_answer ? near : client,
                                        is_answer ? client : near);
    const auto chunks = input.take(input.byte());
    packet.payload.assign(chunks.begin(), chunks.end());
    world.process(engine::test::build(packet), is_answer ? kInside : kOutside);
    world.check_capacity();
  }
  world.finish();
}

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lb::fuzz::play(lb::fuzz::serve<lb::fuzz::PacketWorld>(), {data, size});
  return 0;
}
