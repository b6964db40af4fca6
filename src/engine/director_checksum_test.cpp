// SPDX-License-Identifier: Apache-2.0
// Whatever leaves the director carries right checksums, computed anew by an independent oracle.
#include <gtest/gtest.h>

#include <array>
#include <tuple>

#include "engine/forward/reassembler.hpp"
#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::ForwardingMethod;
using net::Protocol;
using Kind = Verdict::Kind;

class Checksums : public testing::Test {
 protected:
  // What leaves for `frame`, each checked.
  const std::vector<Frame>& send(const Frame& frame, InterfaceId ingress = kOutside) {
    EXPECT_EQ(ChecksumOracle::fault(frame), "") << "the test's own frame";
    lab_.process(frame, ingress);
    for (const auto& sent : lab_.sent) EXPECT_EQ(ChecksumOracle::fault(sent), "");
    return lab_.sent;
  }

  void serve(const net::Endpoint& at, Protocol protocol, const model::DestinationSpec& spec) {
    ASSERT_TRUE(lab_.director.add_service(service_at(at, protocol)));
    ASSERT_TRUE(lab_.director.add_destination(key_of(at, protocol), spec));
  }

  static Frame request(Protocol protocol, const net::Endpoint& from, const net::Endpoint& at) {
    if (protocol == Protocol::kTcp) return tcp(from, at, kSyn, 5);
    return protocol == Protocol::kUdp ? udp(from, at, 7) : sctp(from, at, 1);
  }

  Lab lab_;
};

TEST_F(Checksums, OfRequestsAnswersAndErrorsOfMasquerading) {
  for (const auto protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    for (const auto& [from, at, behind] :
         {std::tuple{client(), vip(), server(1)}, std::tuple{client6(), vip6(), server6(1)}}) {
      SCOPED_TRACE(testing::Message()
                   << "protocol " << static_cast<int>(protocol) << " to " << at.address.to_text());
      serve(at, protocol, to(behind));
      const auto forwarded = send(request(protocol, from, at));
      ASSERT_EQ(forwarded.size(), 1U);
      EXPECT_EQ(send(port_unreachable(behind.address, from.address, forwarded[0]), kInside).size(),
                1U);
      const auto answered = send(request(protocol, behind, from), kInside);
      ASSERT_EQ(answered.size(), 1U);
      EXPECT_EQ(send(port_unreachable(from.address, at.address, answered[0])).size(), 1U);
    }
  }
}

TEST_F(Checksums, OfTunnels) {
  unsigned port = 100;
  for (const auto type :
       {model::TunnelType::kIpip, model::TunnelType::kGre, model::TunnelType::kGue}) {
    for (const std::uint16_t flags : {model::kTunnelNoChecksum, model::kTunnelChecksum}) {
      for (const bool outer6 : {false, true}) {
        for (const bool inner6 : {false, true}) {
          ++port;
          SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(type) << " flags " << flags
                                          << (outer6 ? " over IPv6" : " over IPv4")
                                          << (inner6 ? " of IPv6" : " of IPv4"));
          auto spec = to(outer6 ? server6(1, port) : server(1, port), ForwardingMethod::kTunnel);
          spec.tunnel = {.type = type, .port = port_of(6080), .flags = flags};
          const auto at = inner6 ? vip6(port) : vip(port);
          serve(at, Protocol::kTcp, spec);
          const auto& sent = send(tcp(inner6 ? client6() : client(), at, kSyn, 5));
          ASSERT_EQ(sent.size(), 1U);
          EXPECT_GT(sent[0].size(), tcp(client(), at, kSyn, 5).size());
        }
      }
    }
  }
}

TEST_F(Checksums, OfErrorsThatTheDirectorMakes) {
  serve(vip(), Protocol::kTcp, to(server(1), ForwardingMethod::kMasquerade, 0));
  serve(vip6(), Protocol::kTcp, to(server6(1), ForwardingMethod::kMasquerade, 0));
  EXPECT_EQ(send(tcp(client(), vip(), kSyn)).size(), 1U);
  EXPECT_EQ(send(tcp(client6(), vip6(), kSyn)).size(), 1U);
}

TEST_F(Checksums, OfPacketsPutTogetherFromFragments) {
  serve(vip(), Protocol::kTcp, to(server(1)));
  const auto frame = tcp(client(), vip(), kSyn, 1000);
  lab_.process(fragment_of(frame, 0, 512));
  const auto& sent = send(fragment_of(frame, 512, 600));
  ASSERT_EQ(sent.size(), 2U);
  // Put together again by hand: the second fragment's data behind the first's.
  Frame whole = sent[0];
  whole.insert(whole.end(), sent[1].begin() + 34, sent[1].end());
  const auto header = std::span(whole).subspan(14, 20);
  net::store(header, 2, be16(whole.size() - 14));
  net::store(header, 6, net::Be16());
  net::store(header, 10, net::Be16());
  net::store(header, 10, net::internet_checksum(header));
  EXPECT_EQ(ChecksumOracle::fault(whole), "");
}

// As many pieces as are put together also find room on their way out.
TEST_F(Checksums, OfAPacketInAsManyFragmentsAsAreTaken) {
  const std::array methods{ForwardingMethod::kMasquerade, ForwardingMethod::kTunnel};
  for (unsigned i = 0; i < methods.size(); ++i) {
    const auto at = vip(80 + i);
    serve(at, Protocol::kTcp, to(server(1, at.port.to_host()), methods[i]));
    const auto frame = tcp(client(), at, kSyn, Reassembler::kMaxFragments * 8 - 20);
    for (std::size_t n = 0; n + 1 < Reassembler::kMaxFragments; ++n) {
      lab_.process(fragment_of(frame, n * 8, 8));
    }
    EXPECT_GE(send(fragment_of(frame, (Reassembler::kMaxFragments - 1) * 8, 8)).size(),
              Reassembler::kMaxFragments);
    EXPECT_EQ(lab_.dropped(DropReason::kOutputFull), 0U);
  }
}

// A sender with checksum offload leaves the sum of the pseudo header in the field; forwarding
// completes it.
TEST_F(Checksums, OfPacketsWhoseChecksumTheSenderLeftToItsNetworkCard) {
  serve(vip(), Protocol::kTcp, to(server(1)));
  serve(vip(443), Protocol::kTcp, to(server(1, 443), ForwardingMethod::kDirectRoute));
  for (const auto& at : {vip(), vip(443)}) {
    auto frame = tcp(client(), at, kSyn, 11);
    net::InternetSum sum;
    sum.add_pseudo_header(client().address, at.address, Protocol::kTcp, 20 + 11);
    net::store(std::span(frame), 14 + 20 + 16, sum.sum());
    ASSERT_EQ(ChecksumOracle::fault(frame), "TCP checksum");
    lab_.process(frame);
    ASSERT_EQ(lab_.sent.size(), 1U);
    EXPECT_EQ(ChecksumOracle::fault(lab_.sent[0]), "");
  }
}

// A packet damaged on its way stays damaged: the receiver must find out.
TEST_F(Checksums, ThatAreWrongStayWrong) {
  serve(vip(), Protocol::kTcp, to(server(1)));
  auto frame = tcp(client(), vip(), kSyn | kAck, 11);
  frame.back() ^= std::byte{4};
  lab_.process(tcp(client(), vip(), kSyn));
  EXPECT_EQ(lab_.process(frame).kind, Kind::kSend);
  EXPECT_EQ(ChecksumOracle::fault(lab_.sent.at(0)), "TCP checksum");
}

// As in IPVS, which computes the checksum that a sender of UDP left out.
TEST_F(Checksums, OfMasqueradedUdpWithoutOneAreComputed) {
  serve(vip(), Protocol::kUdp, to(server(1)));
  auto frame = udp(client(), vip(), 9);
  net::store(std::span(frame), 14 + 20 + 6, net::Be16());
  const auto& sent = send(frame);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_NE(net::load<net::Be16>(sent[0], 14 + 20 + 6), net::Be16());
}

}  // namespace
}  // namespace lb::engine
