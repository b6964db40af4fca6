// SPDX-License-Identifier: Apache-2.0
// FTP through masquerading: what the recorded cases do not have.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <string_view>

#include "engine/allocation_counter.hpp"
#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using Kind = Verdict::Kind;

/// A client and a server that talk FTP over the director.
class Ftp {
 public:
  Ftp(const net::Endpoint& client_end, const net::Endpoint& virtual_end,
      const net::Endpoint& server_end)
      : client_(client_end), virtual_(virtual_end), server_(server_end) {
    EXPECT_TRUE(lab.director.add_service(service_at(virtual_)));
    EXPECT_TRUE(lab.director.add_destination(key_of(virtual_), to(server_)));
    request("", 1000, 0, kSyn);
    answer("", 5000, 1001, kSyn | kAck);
    request("", 1001, 5001);
  }

  Verdict request(std::string_view text, std::uint32_t sequence, std::uint32_t acknowledgement,
                  std::uint8_t flags = kAck) {
    return pass(say(client_, virtual_, text, sequence, acknowledgement, flags), kOutside);
  }
  Verdict answer(std::string_view text, std::uint32_t sequence, std::uint32_t acknowledgement,
                 std::uint8_t flags = kAck) {
    return pass(say(server_, client_, text, sequence, acknowledgement, flags), kInside);
  }
  Verdict pass(const Frame& frame, InterfaceId ingress) {
    const auto verdict = lab.process(frame, ingress);
    for (const auto& sent : lab.sent) EXPECT_EQ(ChecksumOracle::fault(sent), "");
    return verdict;
  }
  static Frame say(const net::Endpoint& from, const net::Endpoint& to, std::string_view text,
                   std::uint32_t sequence, std::uint32_t acknowledgement, std::uint8_t flags) {
    auto packet = between(net::Protocol::kTcp, from, to);
    for (const char c : text) packet.payload.push_back(static_cast<std::byte>(c));
    auto segment = segment_of(packet);
    net::store(std::span(segment), 4, net::Be32::from_host(sequence));
    net::store(std::span(segment), 8, net::Be32::from_host(acknowledgement));
    segment[13] = std::byte{flags};
    seal(packet, segment, 16);
    return build(packet, segment);
  }

  [[nodiscard]] std::string said() const {
    const auto headers = net::parse_frame(lab.sent.at(0)).value();
    return std::string(net::as_text(std::span(lab.sent[0]).first(headers.end))
                           .substr(headers.transport_offset + std::size_t{20}));
  }
  [[nodiscard]] std::uint32_t sequence() const { return word(4); }
  [[nodiscard]] std::uint32_t acknowledgement() const { return word(8); }
  [[nodiscard]] std::size_t waiting() const {
    std::size_t count = 0;
    for (const auto& connection : lab.connections()) count += connection.state == "LISTEN" ? 1 : 0;
    return count;
  }

  Lab lab;

 private:
  [[nodiscard]] std::uint32_t word(std::size_t at) const {
    const auto headers = net::parse_frame(lab.sent.at(0)).value();
    return net::load<net::Be32>(lab.sent[0], headers.transport_offset + at).to_host();
  }
  net::Endpoint client_, virtual_, server_;
};

class DirectorFtp : public testing::Test {
 protected:
  Ftp ftp_{client(), vip(21), server(1, 2121)};
  // server(1) is 10.0.0.2, the virtual address 192.0.2.10: the rewritten line is two longer.
  static constexpr std::string_view kAnswer = "227 Entering Passive Mode (10,0,0,2,40,1).\r\n";
  static constexpr std::string_view kRewritten = "227 Entering Passive Mode (192,0,2,10,40,1).\r\n";
};

TEST_F(DirectorFtp, WhatFollowsAnAnswerOfAnotherLengthIsMoved) {
  ftp_.request("PASV\r\n", 1001, 5001);
  EXPECT_EQ(ftp_.answer(kAnswer, 5001, 1007).kind, Kind::kSend);
  EXPECT_EQ(ftp_.said(), kRewritten);
  EXPECT_EQ(ftp_.sequence(), 5001U);
  const auto behind = 5001 + static_cast<std::uint32_t>(kAnswer.size());
  ftp_.request("LIST\r\n", 1007, behind + 2);
  EXPECT_EQ(ftp_.acknowledgement(), behind);
  ftp_.answer("150 ok\r\n", behind, 1013);
  EXPECT_EQ(ftp_.sequence(), behind + 2);
  EXPECT_EQ(ftp_.acknowledgement(), 1013U);
  EXPECT_EQ(ftp_.waiting(), 1U);
}

TEST_F(DirectorFtp, AnAnswerSentAgainIsRewrittenAgain) {
  ftp_.request("PASV\r\n", 1001, 5001);
  ftp_.answer(kAnswer, 5001, 1007);
  ftp_.answer(kAnswer, 5001, 1007);
  EXPECT_EQ(ftp_.said(), kRewritten);
  EXPECT_EQ(ftp_.sequence(), 5001U);
  const auto behind = 5001 + static_cast<std::uint32_t>(kAnswer.size());
  ftp_.answer("150 ok\r\n", behind, 1013);
  EXPECT_EQ(ftp_.sequence(), behind + 2);
  EXPECT_EQ(ftp_.waiting(), 1U);
}

TEST_F(DirectorFtp, TheDataConnectionTakesItsClientsPort) {
  ftp_.request("PASV\r\n", 1001, 5001);
  ftp_.answer(kAnswer, 5001, 1007);
  auto& lab = ftp_.lab;
  ASSERT_EQ(ftp_.pass(tcp(client(45000), vip(10241), kSyn), kOutside).kind, Kind::kSend);
  const auto sent = net::parse_frame(lab.sent.at(0)).value();
  EXPECT_EQ(sent.destination, server(1).address);
  EXPECT_EQ(sent.destination_port.to_host(), 10241);
  EXPECT_EQ(ftp_.pass(tcp(server(1, 10241), client(45000), kSyn | kAck), kInside).kind,
            Kind::kSend);
  // Nobody else may come in by it any more.
  EXPECT_EQ(ftp_.pass(tcp(client(45001), vip(10241), kSyn), kOutside).kind, Kind::kHost);
  EXPECT_EQ(lab.director.connection_count(), 2U);
  // One that still holds others when its time is over looks again a minute later.
  lab.pass(std::chrono::hours(2));
  lab.pass(std::chrono::minutes(2));
  EXPECT_EQ(lab.director.connection_count(), 0U);
}

TEST_F(DirectorFtp, ControlOutlivesItsDataConnections) {
  ftp_.request("PORT 198,51,100,7,50,2\r\n", 1001, 5001);
  ASSERT_EQ(ftp_.waiting(), 1U);
  // Active data comes from the port below, here 2120, and is seen to come from 20.
  ASSERT_EQ(ftp_.pass(tcp(server(1, 2120), client(12802), kSyn), kInside).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(ftp_.lab.sent.at(0)).value().source_port.to_host(), 20);
  ASSERT_EQ(ftp_.pass(tcp(client(12802), vip(20), kSyn | kAck), kOutside).kind, Kind::kSend);
  // The control connection says nothing for longer than its timeout of 15 minutes.
  for (int i = 0; i < 40; ++i) {
    ftp_.lab.pass(std::chrono::seconds(30));
    ftp_.pass(tcp(server(1, 2120), client(12802), kAck), kInside);
    ftp_.pass(tcp(client(12802), vip(20), kAck), kOutside);
  }
  EXPECT_EQ(ftp_.lab.director.connection_count(), 2U);
}

TEST_F(DirectorFtp, AnswersThatNobodyAskedForAreLeftAlone) {
  ftp_.answer(kAnswer, 5001, 1001);
  EXPECT_EQ(ftp_.said(), kAnswer);
  EXPECT_EQ(ftp_.waiting(), 0U);
}

TEST_F(DirectorFtp, AServerMayNameTheVirtualAddressItself) {
  ftp_.request("PASV\r\n", 1001, 5001);
  ftp_.answer(kRewritten, 5001, 1007);
  EXPECT_EQ(ftp_.said(), kRewritten);
  EXPECT_EQ(ftp_.waiting(), 1U);
}

TEST_F(DirectorFtp, AThirdHostIsNotBalanced) {
  constexpr std::string_view kElsewhere = "227 ok (203,0,113,5,40,1)\r\n";
  ftp_.request("PASV\r\n", 1001, 5001);
  ftp_.answer(kElsewhere, 5001, 1007);
  EXPECT_EQ(ftp_.said(), kElsewhere);
  EXPECT_EQ(ftp_.waiting(), 0U);
}

TEST_F(DirectorFtp, BrokenBytesStayBroken) {
  ftp_.request("PASV\r\n", 1001, 5001);
  auto frame = Ftp::say(server(1, 2121), client(), kAnswer, 5001, 1007, kAck);
  frame.back() ^= std::byte{1};
  ftp_.lab.process(frame, kInside);
  EXPECT_NE(ChecksumOracle::fault(ftp_.lab.sent.at(0)), "");
  ftp_.answer(kAnswer, 5001, 1007);
  EXPECT_EQ(ftp_.said(), kRewritten);
}

TEST_F(DirectorFtp, NoAllocation) {
  const auto count = [&](const Frame& frame, InterfaceId ingress) {
    ftp_.lab.outputs.clear();
    auto packet = ftp_.lab.buffer.receive(frame);
    const lb::test::AllocationCounter counter;
    (void)ftp_.lab.director.process(packet, ingress, ftp_.lab.now, ftp_.lab.outputs);
    return counter.count();
  };
  EXPECT_EQ(count(Ftp::say(client(), vip(21), "PASV\r\n", 1001, 5001, kAck), kOutside), 0U);
  EXPECT_EQ(count(Ftp::say(server(1, 2121), client(), kAnswer, 5001, 1007, kAck), kInside), 0U);
  EXPECT_EQ(ftp_.waiting(), 1U);
}

TEST_F(DirectorFtp, AFullTableDropsTheCommand) {
  for (unsigned port = 1; port < 200; ++port) {
    ftp_.request("PORT 198,51,100,7,1," + std::to_string(port) + "\r\n", 1001, 5001);
  }
  EXPECT_GT(ftp_.lab.dropped(DropReason::kTableFull), 0U);
  EXPECT_EQ(ftp_.lab.director.connection_count(), ftp_.lab.director.connection_capacity());
}

TEST(DirectorFtp6, ExtendedCommands) {
  Ftp ftp(client6(), vip6(21), server6(1, 21));
  ftp.request("EPSV\r\n", 1001, 5001);
  ftp.answer("229 ok (|||10300|)\r\n", 5001, 1007);
  EXPECT_EQ(ftp.said(), "229 ok (|||10300|)\r\n");
  ASSERT_EQ(ftp.pass(tcp(client6(45000), vip6(10300), kSyn), kOutside).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(ftp.lab.sent.at(0)).value().destination, server6(1).address);
  ftp.request("EPRT |2|2001:db8:1::7|5282|\r\n", 1007, 5021);
  EXPECT_EQ(ftp.pass(tcp(server6(1, 20), client6(5282), kSyn), kInside).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(ftp.lab.sent.at(0)).value().source, vip6().address);
}

// Whatever they say, every packet that leaves is whole, and no more is kept than fits.
RC_GTEST_PROP(DirectorFtpAnything, IsSafe, ()) {
  Ftp ftp(client(), vip(21), server(1, 21));
  const auto piece = rc::gen::weightedOneOf<std::string>(
      {{6, rc::gen::element<std::string>("PASV\r\n", "EPSV\r\n", "227 (10,0,0,2,", "1,", "229 (|||",
                                         "9|)", "PORT ", "198,51,100,7,", "EPRT |1|198.51.100.7|",
                                         "255)\r\n")},
       {1, rc::gen::arbitrary<std::string>()}});
  const auto lines = *rc::gen::container<std::vector<std::vector<std::string>>>(
      rc::gen::container<std::vector<std::string>>(piece));
  std::uint32_t sequence = 5001;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string text;
    for (const auto& part : lines[i]) text += part;
    text.resize(std::min<std::size_t>(text.size(), 1200));
    if (i % 2 == 0) {
      ftp.request(text, 1001, sequence);
    } else {
      ftp.answer(text, sequence, 1001);
      sequence += static_cast<std::uint32_t>(text.size());
    }
  }
  RC_ASSERT(ftp.lab.director.connection_count() <= ftp.lab.director.connection_capacity());
}

}  // namespace
}  // namespace lb::engine
