// SPDX-License-Identifier: Apache-2.0
// ICMP errors about what SNAT translates, and fragments.
#include <gtest/gtest.h>

#include <span>
#include <tuple>
#include <utility>

#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/snat_lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using net::Protocol;
using Kind = Verdict::Kind;

using DirectorSnatError = SnatLabTest;

TEST_F(DirectorSnatError, ErrorsFromOutsideFindTheInsideHost) {
  add(out4());
  add(out6());
  for (const auto& [inside, outside, router] :
       {std::tuple{server(1, 5353), client(53), ip("192.0.2.254")},
        std::tuple{server6(1, 5353), client6(53), ip("2001:db8:2::fe")}}) {
    for (const bool is_echo : {false, true}) {
      const auto sent =
          outward(is_echo ? echo(inside.address, outside.address, true, 77) : udp(inside, outside));
      const auto about = lab_.sent[0];
      const bool is_v4 = inside.address.is_v4();
      const auto error = inward(icmp_error(router, sent.source, about, is_v4 ? 11 : 3, 0));
      EXPECT_EQ(error.source, router);
      EXPECT_EQ(error.destination, inside.address);
      const std::span<const std::byte> bytes(lab_.sent[0]);
      const auto quoted = net::parse_embedded(bytes, error.transport_offset + 8U);
      ASSERT_TRUE(quoted);
      EXPECT_EQ(quoted->source, inside.address);
      if (is_echo) {
        EXPECT_EQ(identifier_of(lab_.sent[0], *quoted), 77U);
        // The quoted echo is as the host sent it, checksum and all.
        Frame alone(bytes.begin(), bytes.begin() + 14);
        alone.insert(alone.end(), bytes.begin() + quoted->ip_offset, bytes.begin() + error.end);
        EXPECT_EQ(ChecksumOracle::fault(alone), "");
      } else {
        EXPECT_EQ(quoted->source_port, inside.port);
      }
    }
  }
}

TEST_F(DirectorSnatError, ErrorsFromInsideGoOutUnderThePoolsAddress) {
  add(out4());
  const auto sent = outward(udp(server(1, 5353), client(53)));
  const net::Endpoint shown{sent.source, sent.source_port};
  (void)inward(udp(client(53), shown));
  const auto arrived = lab_.sent[0];
  const auto error = outward(port_unreachable(server(1).address, client().address, arrived));
  EXPECT_EQ(error.source, shown.address);
  EXPECT_EQ(error.destination, client().address);
  const auto quoted = net::parse_embedded(lab_.sent[0], error.transport_offset + 8U);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->destination, shown.address);
  EXPECT_EQ(quoted->destination_port, shown.port);
}

Frame segment(const net::Endpoint& from, const net::Endpoint& to, std::uint8_t flags,
              std::uint32_t sequence, std::uint32_t acknowledgement, std::size_t payload = 0) {
  const auto packet = [&] {
    auto made = between(Protocol::kTcp, from, to);
    made.payload = pattern(payload);
    return made;
  }();
  Frame bytes = segment_of(packet);
  net::store(std::span(bytes), 4, net::Be32::from_host(sequence));
  net::store(std::span(bytes), 8, net::Be32::from_host(acknowledgement));
  bytes[13] = std::byte{flags};
  seal(packet, bytes, 16);
  return build(packet, bytes);
}

TEST_F(DirectorSnatError, ForgedErrorsAreDropped) {
  add(out4());
  const auto inside = server(1, 40000);
  const auto outside = client(443);
  const auto first = outward(segment(inside, outside, kSyn, 1000, 0));
  const net::Endpoint shown{first.source, first.source_port};
  const auto error = [&](std::uint32_t sequence) {
    const auto about = segment(shown, outside, kAck, sequence, 5001, 100);
    return lab_.process(icmp_error(ip("192.0.2.254"), shown.address, about, 3, 4, 1400), kOutside);
  };
  // About the SYN.
  EXPECT_EQ(error(1000).kind, Kind::kSend);
  (void)inward(segment(outside, shown, kSyn | kAck, 5000, 1001));
  (void)outward(segment(inside, outside, kAck, 1001, 5001));
  (void)outward(segment(inside, outside, kAck, 1001, 5001, 100));
  (void)outward(segment(inside, outside, kAck, 1101, 5001, 100));
  EXPECT_EQ(error(1001).kind, Kind::kSend);
  EXPECT_EQ(error(1101).kind, Kind::kSend);
  for (const std::uint32_t wrong : {1000U, 1202U, 999999U, 0x80001001U, 0xffffffffU}) {
    EXPECT_EQ(error(wrong).reason, DropReason::kSnatForgedIcmp) << wrong;
  }
  // What was acknowledged is not on its way.
  (void)inward(segment(outside, shown, kAck, 5001, 1101));
  EXPECT_EQ(error(1001).reason, DropReason::kSnatForgedIcmp);
  EXPECT_EQ(error(1101).kind, Kind::kSend);
  // An acknowledgement of what was never sent means nothing.
  (void)inward(segment(outside, shown, kAck, 5001, 90000));
  EXPECT_EQ(error(1101).kind, Kind::kSend);
  // About a connection that does not exist: the host has its own.
  const auto stranger = segment({shown.address, port_of(1)}, outside, kAck, 1101, 0);
  EXPECT_EQ(
      lab_.process(icmp_error(ip("192.0.2.254"), shown.address, stranger, 3, 4, 1400), kOutside)
          .kind,
      Kind::kHost);
  EXPECT_EQ(lab_.dropped(DropReason::kSnatForgedIcmp), 6U);
}

TEST_F(DirectorSnatError, ErrorsToARoutedAddressThatFitNothingAreDropped) {
  add(pool_rule("out", "10.0.0.0", 16, "192.0.2.20"));
  const auto about = udp(end("192.0.2.20", 5000), client(53));
  EXPECT_EQ(lost(port_unreachable(client().address, ip("192.0.2.20"), about), kOutside),
            DropReason::kSnatNoConnection);
  EXPECT_EQ(lost(tcp(client(), end("192.0.2.20", 5000), kSyn), kOutside),
            DropReason::kSnatNoConnection);
}

TEST_F(DirectorSnatError, FragmentsGoTheWayOfTheirPacket) {
  add(out4());
  auto packet = between(Protocol::kUdp, server(1, 5353), client(53));
  packet.dont_fragment = false;
  packet.payload = pattern(2000);
  const auto whole = build(packet);
  EXPECT_EQ(lab_.process(fragment_of(whole, 1024, 2000), kInside).kind, Kind::kConsumed);
  EXPECT_TRUE(lab_.sent.empty());
  EXPECT_EQ(lab_.process(fragment_of(whole, 0, 1024), kInside).kind, Kind::kConsumed);
  ASSERT_GE(lab_.sent.size(), 2U);
  for (const auto& fragment : lab_.sent) {
    const auto headers = net::parse_frame(fragment);
    ASSERT_TRUE(headers);
    EXPECT_EQ(headers->source, ip("192.0.2.11"));
    EXPECT_TRUE(headers->is_fragment());
  }
}

}  // namespace
}  // namespace lb::engine
