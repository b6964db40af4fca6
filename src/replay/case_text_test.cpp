// SPDX-License-Identifier: Apache-2.0
#include "replay/case_text.hpp"

#include <gmock/gmock.h>

#include "replay/frame_checksum.hpp"
#include "replay/frame_text.hpp"
#include "replay/packet_text.hpp"
#include "replay/runner.hpp"

namespace lb::replay {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kSetUp =
    "# Proves something.\n"
    "ipvsadm -A -t 192.0.2.10:80 -s rr\n"
    "ipvsadm -a -t 192.0.2.10:80 -r 10.0.0.2:8080 -m\n";

Case text_case(const std::string& rest) {
  auto result = parse_text_case(kSetUp + rest, "cases/x.case");
  EXPECT_TRUE(result) << result.error().to_text();
  return result ? *std::move(result) : Case{};
}

std::string error_of(const std::string& rest) {
  const auto result = parse_text_case(kSetUp + rest, "x.case");
  return result ? "" : result.error().to_text();
}

std::vector<Difference> differences(const std::string& rest) {
  return run_case(text_case(rest)).differences;
}

const std::string kSyn = "0.1 < client tcp 198.51.100.7:40000 > 192.0.2.10:80 S\n";

TEST(CaseText, HoldsInTheEngine) {
  EXPECT_THAT(differences(kSyn + "  > real tcp 198.51.100.7:40000 > 10.0.0.2:8080 S\n" +
                          "connections: TCP SYN_RECV 198.51.100.7:40000 192.0.2.10:80 "
                          "10.0.0.2:8080\ndropped: none\n"),
              IsEmpty());
}

TEST(CaseText, NoticesWhatDoesNotHold) {
  EXPECT_THAT(differences(kSyn + "  > nothing\n"), SizeIs(1));
  EXPECT_THAT(differences(kSyn + "  > host\n"), SizeIs(1));
  EXPECT_THAT(differences(kSyn + "  > real tcp 198.51.100.7:40000 > 10.0.0.2:8080 SA\n"),
              SizeIs(1));
  EXPECT_THAT(differences(kSyn + "  > real tcp 198.51.100.7:40000 > 10.0.0.2:8080 S ttl 63\n"),
              SizeIs(1));
  EXPECT_THAT(
      differences(kSyn + "  > real tcp 198.51.100.7:40000 > 10.0.0.2:8080 S via 10.0.0.3\n"),
      SizeIs(1));
  const auto good = kSyn + "  > real tcp 198.51.100.7:40000 > 10.0.0.2:8080 S\n";
  EXPECT_THAT(differences(good + "connections: none\n"), SizeIs(1));
  EXPECT_THAT(differences(good + "dropped: ttl_exceeded\n"), SizeIs(1));
  EXPECT_THAT(differences("ipvsadm -A -t 192.0.2.10:80\n"), testing::Not(IsEmpty()));
}

TEST(CaseText, TellsTheLineThatIsWrong) {
  EXPECT_THAT(error_of("0.1 < client tpc 198.51.100.7:40000 > 192.0.2.10:80 S\n"),
              HasSubstr("x.case:4: packet: \"tpc\""));
  EXPECT_THAT(error_of("> client udp 192.0.2.10:80 > 198.51.100.7:40000\n"), HasSubstr("x.case:4"));
  EXPECT_THAT(error_of(kSyn + "0.0 < client udp 198.51.100.7:1 > 192.0.2.10:2\n"),
              HasSubstr("do not go back"));
  EXPECT_THAT(error_of("nonsense\n"), HasSubstr("nonsense"));
  EXPECT_THAT(error_of("connections: TCP\n"), HasSubstr("x.case:4"));
  EXPECT_THAT(error_of("| output\n"), IsEmpty());
  EXPECT_FALSE(parse_text_case("ipvsadm -Ln\n", "x.case"));
}

std::string built(const std::string& text) {
  const auto packet = parse_packet_text(text);
  if (!packet) return packet.error();
  const auto bytes = build_packet(*packet);
  if (!bytes) return bytes.error();
  Bytes frame(12);
  frame.push_back(
      std::byte{packet->source.address.is_v4() ? std::uint8_t{0x08} : std::uint8_t{0x86}});
  frame.push_back(
      std::byte{packet->source.address.is_v4() ? std::uint8_t{0x00} : std::uint8_t{0xdd}});
  frame.insert(frame.end(), bytes->begin(), bytes->end());
  EXPECT_THAT(wrong_checksums(frame), IsEmpty()) << text;
  return describe_packet(*bytes);
}

TEST(PacketText, IsBuiltAsItReads) {
  EXPECT_EQ(built("tcp 192.0.2.1:1 > 192.0.2.2:2 SA seq 5 ack 6 len 7 ttl 9 tos 16 id 3 no-df"),
            "192.0.2.1:1 > 192.0.2.2:2 tcp SA seq 5 ack 6 win 64240 length 7 ttl 9 tos 0x10 id 3");
  EXPECT_EQ(built("udp [2001:db8::1]:1 > [2001:db8::2]:2 len 4"),
            "[2001:db8::1]:1 > [2001:db8::2]:2 udp length 4 ttl 63");
  EXPECT_EQ(built("sctp 192.0.2.1:1 > 192.0.2.2:2 INIT"),
            "192.0.2.1:1 > 192.0.2.2:2 sctp INIT ttl 63 id 1 DF");
  EXPECT_EQ(built("udp 192.0.2.1:1 > 192.0.2.2:2 len 100 piece 16:24+"),
            "192.0.2.1 > 192.0.2.2 proto 17 length 24 ttl 63 id 1 frag 24@16+");
  EXPECT_EQ(
      built("icmp 192.0.2.1 > 192.0.2.2 too-big rest 1400 about udp 192.0.2.2:1 > 192.0.2.3:2"),
      "192.0.2.1 > 192.0.2.2 icmp 3/4 rest 1400 [192.0.2.2:1 > 192.0.2.3:2 udp length 5 ttl "
      "63 id 1 DF] ttl 63 id 1 DF");
  EXPECT_EQ(built("gre 192.0.2.1 > 192.0.2.2 csum carrying udp 192.0.2.2:1 > 192.0.2.3:2"),
            "192.0.2.1 > 192.0.2.2 gre [192.0.2.2:1 > 192.0.2.3:2 udp length 5 ttl 63 id 1 DF] ttl "
            "63 id 0 DF");
}

TEST(PacketText, RefusesWhatItCannotRead) {
  for (const auto* text :
       {"", "tcp", "tcp 192.0.2.1:1 > 192.0.2.2 S", "tcp 192.0.2.1:1 192.0.2.2:2 S",
        "tcp 192.0.2.1:1 > 192.0.2.2:2 XYZ", "udp 192.0.2.1:1 > [2001:db8::1]:2",
        "udp 192.0.2.1:1 > 192.0.2.2:2 len -1", "udp 192.0.2.1:1 > 192.0.2.2:2 ttl 256",
        "udp 192.0.2.1:1 > 192.0.2.2:2 piece 7:8", "icmp 192.0.2.1 > 192.0.2.2 what",
        "ipip 192.0.2.1 > 192.0.2.2 carrying ipip 192.0.2.1 > 192.0.2.2 carrying ipip "
        "192.0.2.1 > 192.0.2.2 carrying ipip 192.0.2.1 > 192.0.2.2 carrying "
        "udp 192.0.2.1:1 > 192.0.2.2:2"}) {
    EXPECT_FALSE(parse_packet_text(text)) << text;
  }
  for (const auto* text :
       {"udp 192.0.2.1:1 > 192.0.2.2:2 len 99999", "gre 192.0.2.1 > 192.0.2.2",
        "udp 192.0.2.1:1 > 192.0.2.2:2 piece 8:99", "sctp 192.0.2.1:1 > 192.0.2.2:2 WHAT"}) {
    const auto packet = parse_packet_text(text);
    ASSERT_TRUE(packet) << text;
    EXPECT_FALSE(build_packet(*packet)) << text;
  }
}

}  // namespace
}  // namespace lb::replay
