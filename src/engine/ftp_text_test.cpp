// SPDX-License-Identifier: Apache-2.0
#include "engine/ftp_text.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace lb::engine {
namespace {

using net::Family;

net::IpAddress ip(std::string_view text) { return net::IpAddress::from_text(text).value(); }

std::string text_of(const std::optional<FtpEndpoint>& found, std::string_view text) {
  if (!found) return "nothing";
  return found->end.address.to_text() + " " + std::to_string(found->end.port.to_host()) + " " +
         std::string(text.substr(found->offset, found->size));
}

TEST(FtpText, PassiveRequests) {
  const auto find = find_passive_request;
  EXPECT_EQ(find("PASV\r\n", Family::kIpv4), FtpPassive::kPassive);
  EXPECT_EQ(find("pAsV\r\n", Family::kIpv4), FtpPassive::kPassive);
  EXPECT_EQ(find("TYPE I\r\nPASV\r\n", Family::kIpv4), FtpPassive::kPassive);
  EXPECT_EQ(find("PASV\r\n", Family::kIpv6), FtpPassive::kNone);
  EXPECT_EQ(find("EPSV\r\n", Family::kIpv4), FtpPassive::kExtended);
  EXPECT_EQ(find("EPSV 1\r\n", Family::kIpv4), FtpPassive::kExtended);
  EXPECT_EQ(find("EPSV 2\r\n", Family::kIpv4), FtpPassive::kNone);
  EXPECT_EQ(find("epsv 2\r\n", Family::kIpv6), FtpPassive::kExtended);
  EXPECT_EQ(find("EPSV ALL\r\n", Family::kIpv4), FtpPassive::kNone);
  for (const auto* cut : {"", "P", "PASV", "PASV\r", "EPSV", "EPSV\r", "EPSV 1", "USER x\r\n"}) {
    EXPECT_EQ(find(cut, Family::kIpv4), FtpPassive::kNone) << cut;
  }
}

TEST(FtpText, PassiveAnswers) {
  const auto read = [](std::string_view text) { return text_of(parse_passive_answer(text), text); };
  EXPECT_EQ(read("227 Entering Passive Mode (10,0,0,103,40,1).\r\n"),
            "10.0.0.103 10241 10,0,0,103,40,1");
  EXPECT_EQ(read("227 Entering Passive Mode 10,0,0,103,40,1\r\n"),
            "10.0.0.103 10241 10,0,0,103,40,1");
  EXPECT_EQ(read("227 =10,0,0,1,255,255\r\n"), "10.0.0.1 65535 10,0,0,1,255,255");
  for (const auto* bad :
       {"", "227", "227 ", "227 (", "227 (10,0,0,103,40,1", "227 (10,0,0,103,40)\r\n",
        "227 (10,0,0,103,40,)\r\n", "227 (10,0,0,256,40,1)\r\n", "227 (10,0,0,1,0,0)\r\n",
        "227 (99999999999999999999,0,0,1,0,1)\r\n", "227 (10.0.0.1,4,1)\r\n", "227 no\r\n",
        "227-x\r\n", "200 (10,0,0,103,40,1)\r\n", "227 (-1,0,0,1,1,1)\r\n"}) {
    EXPECT_EQ(read(bad), "nothing") << bad;
  }
}

TEST(FtpText, ExtendedPassiveAnswers) {
  const auto v4 = ip("10.0.0.103");
  const auto v6 = ip("2001:db8::103");
  const auto read = [](std::string_view text, const net::IpAddress& server) {
    return text_of(parse_extended_passive_answer(text, server), text);
  };
  EXPECT_EQ(read("229 Entering Extended Passive Mode (|||10300|)\r\n", v4),
            "10.0.0.103 10300 |||10300|");
  EXPECT_EQ(read("229 (|||6446|)\r\n", v6), "2001:db8::103 6446 |||6446|");
  EXPECT_EQ(read("229 ok (!!!21!)\r\n", v4), "10.0.0.103 21 !!!21!");
  EXPECT_EQ(read("229 (|1|10.0.0.9|99|)\r\n", v4), "10.0.0.9 99 |1|10.0.0.9|99|");
  EXPECT_EQ(read("229 (|2|2001:db8::9|99|)\r\n", v6), "2001:db8::9 99 |2|2001:db8::9|99|");
  for (const auto* bad :
       {"229 ", "229 (", "229 (|", "229 (||", "229 (|||", "229 (|||1", "229 (|||0|)",
        "229 (|||65536|)", "229 (||x|1|)", "229 (|||1x|)", "229 (|2|2001:db8::9|99|)",
        "229 (|1||99|)", "229 |||99|", "229 (1112223331)",
        "229 (\x7f\x7f\x7f"
        "1\x7f)",
        "228 (|||99|)"}) {
    EXPECT_EQ(read(bad, v4), "nothing") << bad;
  }
}

TEST(FtpText, PortCommands) {
  const auto port = [](std::string_view text) { return text_of(parse_port_command(text), text); };
  EXPECT_EQ(port("PORT 198,51,100,2,50,2\r\n"), "198.51.100.2 12802 198,51,100,2,50,2");
  EXPECT_EQ(port("port  198,51,100,2,50,2\r\n"), "198.51.100.2 12802 198,51,100,2,50,2");
  for (const auto* bad : {"PORT", "PORT ", "PORT 1,2,3,4,5", "PORT 1,2,3,4,5,6",
                          "PORT1,2,3,4,5,6\r", " PORT 1,2,3,4,5,6\r", "PORT (1,2,3,4,5,6)\r"}) {
    EXPECT_EQ(port(bad), "nothing") << bad;
  }
  const auto extended = [](std::string_view text, Family family) {
    return text_of(parse_extended_port_command(text, family), text);
  };
  EXPECT_EQ(extended("EPRT |1|132.235.1.2|6275|\r\n", Family::kIpv4),
            "132.235.1.2 6275 |1|132.235.1.2|6275|");
  EXPECT_EQ(extended("EPRT |2|2001:db8::2|5282|\r\n", Family::kIpv6),
            "2001:db8::2 5282 |2|2001:db8::2|5282|");
  for (const auto* bad :
       {"EPRT |2|2001:db8::2|5282|\r\n", "EPRT |||5282|\r\n", "EPRT |1|1.2.3|9|\r\n",
        "EPRT |1|1.2.3.4|\r\n", "EPRT |1|1.2.3.4|9\r\n", "EPRT "}) {
    EXPECT_EQ(extended(bad, Family::kIpv4), "nothing") << bad;
  }
}

TEST(FtpText, NumbersWrittenAreNumbersRead) {
  const net::Endpoint longest{ip("255.255.255.255"), net::Port::from_host(65535)};
  EXPECT_EQ(write_ftp_numbers(longest).view(), "255,255,255,255,255,255");
  EXPECT_EQ(write_ftp_numbers(longest).size, FtpNumbers::kMaxSize);
  EXPECT_EQ(write_ftp_numbers({ip("192.0.2.37"), net::Port::from_host(10241)}).view(),
            "192,0,2,37,40,1");
}

RC_GTEST_PROP(FtpText, EndpointsSurvive, (std::uint32_t address, std::uint16_t port)) {
  RC_PRE(port != 0);
  const net::Endpoint end{net::IpAddress::v4(net::Be32::from_host(address)),
                          net::Port::from_host(port)};
  const auto text = "227 x (" + std::string(write_ftp_numbers(end).view()) + ")\r\n";
  const auto read = parse_passive_answer(text);
  RC_ASSERT(read.has_value());
  RC_ASSERT(read->end == end);
}

// Under the address sanitizer this finds every step over the end.
RC_GTEST_PROP(FtpText, AnyBytesAreSafe, ()) {
  const auto head = *rc::gen::element<std::string>("", "227 ", "229 (", "PORT ", "EPRT ", "EPSV ",
                                                   "229 (||", "EPRT |1|", "227 (1,2,3,4,5,");
  const auto tail = *rc::gen::container<std::string>(
      rc::gen::weightedOneOf<char>({{4, rc::gen::element('0', '9', ',', '|', '(', '\r', '\n', ' ')},
                                    {1, rc::gen::arbitrary<char>()}}));
  const auto text = std::make_unique<std::string>(head + tail);
  const auto inside = [&](const std::optional<FtpEndpoint>& found) {
    return !found || (found->offset <= text->size() && found->size <= text->size() - found->offset);
  };
  (void)find_passive_request(*text, Family::kIpv4);
  (void)find_passive_request(*text, Family::kIpv6);
  RC_ASSERT(inside(parse_passive_answer(*text)));
  RC_ASSERT(inside(parse_extended_passive_answer(*text, ip("10.0.0.1"))));
  RC_ASSERT(inside(parse_port_command(*text)));
  RC_ASSERT(inside(parse_extended_port_command(*text, Family::kIpv6)));
}

}  // namespace
}  // namespace lb::engine
