// SPDX-License-Identifier: Apache-2.0
// Packets that were prepared as bursts fare as they do one by one.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::ForwardingMethod;
using net::Protocol;

/// What there is to see of a packet's fate.
struct Fate {
  Verdict verdict;
  std::vector<Frame> frames;
};

bool is_equal(const Fate& a, const Fate& b) {
  return a.verdict.kind == b.verdict.kind && a.verdict.out == b.verdict.out &&
         a.verdict.next_hop == b.verdict.next_hop && a.frames == b.frames &&
         (a.verdict.kind != Verdict::Kind::kDrop || a.verdict.reason == b.verdict.reason);
}

struct Sent {
  Frame frame;
  InterfaceId ingress;
};

// A few clients and ports, so that packets of one connection, also its first ones, meet in a burst.
class Traffic {
 public:
  explicit Traffic(std::vector<std::uint32_t> choices) : choices_(std::move(choices)) {}

  [[nodiscard]] bool is_over() const { return at_ >= choices_.size(); }
  std::uint32_t choose(std::uint32_t count) {
    return at_ < choices_.size() ? choices_[at_++] % count : 0;
  }
  Sent next() {
    const bool is_v6 = choose(3) == 0;
    const auto from =
        is_v6 ? end("2001:db8:1::7", 40000 + choose(3)) : end("198.51.100.7", 40000 + choose(3));
    const auto at = is_v6 ? vip6(80 + choose(4)) : vip(80 + choose(4));
    constexpr std::uint8_t kFlags[] = {net::kTcpSyn, net::kTcpAck, net::kTcpFin | net::kTcpAck,
                                       net::kTcpRst, net::kTcpSyn | net::kTcpAck};
    const auto flags = kFlags[choose(5)];
    switch (choose(9)) {
      case 0:
        return {udp(from, at), kOutside};
      case 1: {  // an answer, or what looks like one
        const auto behind = is_v6 ? server6(1 + choose(2), 8080) : server(1 + choose(2), 8080);
        return {choose(2) == 0 ? tcp(behind, from, flags) : udp(behind, from), kInside};
      }
      case 2:
        return {port_unreachable(is_v6 ? ip("2001:db8:1::fe") : ip("198.51.100.254"), at.address,
                                 tcp(at, from, net::kTcpAck)),
                kOutside};
      case 3: {  // cut off, or with a byte that is wrong
        auto frame = tcp(from, at, flags);
        if (choose(2) == 0) {
          frame.resize(choose(static_cast<std::uint32_t>(frame.size())));
        } else {
          frame[choose(static_cast<std::uint32_t>(frame.size()))] ^= std::byte{0xff};
        }
        return {std::move(frame), kOutside};
      }
      case 4:
        return {fragment_of(udp(end("198.51.100.7", 40000), vip(80), 64), choose(2) * 40, 40),
                kOutside};
      default:
        return {tcp(from, at, flags), kOutside};
    }
  }

 private:
  std::vector<std::uint32_t> choices_;
  std::size_t at_ = 0;
};

void serve(Lab& lab) {
  for (const bool is_v6 : {false, true}) {
    for (unsigned i = 0; i < 3; ++i) {
      const auto at = is_v6 ? vip6(80 + i) : vip(80 + i);
      for (const auto protocol : {Protocol::kTcp, Protocol::kUdp}) {
        auto spec = service_at(at, protocol);
        if (i == 2) {
          spec.flags |= model::kServicePersistent;
          spec.timeout = 300;
        }
        spec.flags_mask = ~0U;
        RC_ASSERT(lab.director.add_service(spec).has_value());
        for (unsigned n = 1; n <= 2; ++n) {
          const unsigned port = i == 1 ? 80 + i : 8080;
          const auto to_server = is_v6 ? server6(n, port) : server(n, port);
          const auto method =
              i == 1 ? (n == 1 ? ForwardingMethod::kDirectRoute : ForwardingMethod::kTunnel)
                     : ForwardingMethod::kMasquerade;
          RC_ASSERT(lab.director.add_destination(spec.key, to(to_server, method)).has_value());
        }
      }
    }
  }
}

std::vector<std::string> listed(const Lab& lab) {
  std::vector<std::string> result;
  for (const auto& info : lab.connections()) {
    std::string line(info.state.view());
    for (const auto& each : {info.client, info.virtual_end, info.destination}) {
      line += " " + each.address.to_text() + ":" + std::to_string(each.port.to_host());
    }
    result.push_back(line + " " + std::to_string(info.expires_in));
  }
  return result;
}

Fate fate_of(const Verdict& verdict, const net::Packet& packet, const Outputs& outputs) {
  Fate fate{verdict, {}};
  const auto bytes = packet.bytes();
  fate.frames.emplace_back(bytes.begin(), bytes.end());
  for (const auto& output : outputs.frames()) {
    fate.frames.emplace_back(output.frame.begin(), output.frame.end());
  }
  return fate;
}

RC_GTEST_PROP(DirectorBurst, IsAsOneByOne, (std::vector<std::uint32_t> choices, bool is_small)) {
  // Small tables overflow.
  const DirectorOptions options{.connection_capacity = is_small ? 4U : 64U,
                                .missing_schedulers = {}};
  Lab single(options);
  Lab burst(options);
  serve(single);
  serve(burst);
  std::vector<ReceiveBuffer> buffers(kBurst);
  // RapidCheck's vectors are short.
  const auto length = choices.size();
  for (std::size_t i = 0; i < 8 * length; ++i) choices.push_back(choices[i] * 2654435761U >> 7U);
  Traffic traffic(std::move(choices));
  while (!traffic.is_over()) {
    std::vector<Sent> sent;
    for (auto left = 1 + traffic.choose(kBurst); left != 0; --left) sent.push_back(traffic.next());
    std::vector<BurstPacket> prepared(sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
      prepared[i].packet = buffers[i].receive(sent[i].frame);
      prepared[i].ingress = sent[i].ingress;
    }
    burst.director.prepare(prepared);
    for (std::size_t i = 0; i < sent.size(); ++i) {
      auto packet = single.buffer.receive(sent[i].frame);
      single.outputs.clear();
      const auto expected =
          single.director.process(packet, sent[i].ingress, single.now, single.outputs);
      burst.outputs.clear();
      const auto actual = burst.director.process(prepared[i], burst.now, burst.outputs);
      RC_ASSERT(is_equal(fate_of(actual, prepared[i].packet, burst.outputs),
                         fate_of(expected, packet, single.outputs)));
    }
    const auto passed = std::chrono::seconds(traffic.choose(40));
    single.pass(passed);
    burst.pass(passed);
    RC_ASSERT(listed(burst) == listed(single));
  }
  RC_ASSERT(burst.director.counters().dropped == single.director.counters().dropped);
  RC_ASSERT(burst.director.counters().sent == single.director.counters().sent);
  RC_ASSERT(burst.director.counters().to_host == single.director.counters().to_host);
  RC_ASSERT(burst.director.totals() == single.director.totals());
}

// Nothing happens by looking.
TEST(DirectorBurst, PreparingChangesNothing) {
  Lab lab;
  serve(lab);
  const auto syn = tcp(client(), vip(), net::kTcpSyn);
  std::vector<BurstPacket> burst(2);
  std::vector<ReceiveBuffer> buffers(2);
  for (std::size_t i = 0; i < 2; ++i) {
    burst[i] = {.packet = buffers[i].receive(syn), .ingress = kOutside};
  }
  lab.director.prepare(burst);
  lab.director.prepare(burst);
  EXPECT_EQ(lab.director.connection_count(), 0U);
  EXPECT_EQ(lab.director.totals(), model::Statistics{});
  EXPECT_EQ(lab.director.process(burst[0], lab.now, lab.outputs).kind, Verdict::Kind::kSend);
  EXPECT_EQ(lab.director.process(burst[1], lab.now, lab.outputs).kind, Verdict::Kind::kSend);
  EXPECT_EQ(lab.director.connection_count(), 1U);
}

}  // namespace
}  // namespace lb::engine
