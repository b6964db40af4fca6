// SPDX-License-Identifier: Apache-2.0
#include "cli/snat_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cli/mark_text.hpp"
#include "wire/arbitrary.hpp"

namespace lb::cli {
namespace {

using testing::HasSubstr;

tl::expected<model::SnatRule, std::string> parse(std::string_view line) {
  return parse_snat_rule(*split_words(line));
}

/// What a rule is written as; or the error.
std::string again(std::string_view line) {
  const auto rule = parse(line);
  return rule ? snat_rule_text(*rule) : "ERROR " + rule.error();
}

RC_GTEST_PROP(SnatText, WhatIsWrittenIsRead, (const model::SnatRule& rule)) {
  // The kernel takes no such names of interfaces.
  RC_PRE(rule.interface.view().find_first_of(" \t\n\v\f\r/:") == std::string_view::npos);
  const auto read = parse(snat_rule_text(rule));
  if (!read) RC_FAIL(read.error() + ": " + snat_rule_text(rule));
  RC_ASSERT(*read == rule);
}

TEST(SnatText, ReadsTheWordsOfIptables) {
  EXPECT_EQ(
      again("office -s 10.0.0.0/8 -o eth0 -j SNAT --to-source 192.0.2.10-192.0.2.12:1024-2047"),
      "office --inside 10.0.0.0/8 --out-interface eth0 --pool 192.0.2.10-192.0.2.12 "
      "--ports 1024-2047");
  EXPECT_EQ(again("o -s 10.0.0.0/255.0.0.0 -d 198.51.100.7 -p tcp --pool 192.0.2.8/30"),
            "o --inside 10.0.0.0/8 --destination 198.51.100.7 --proto tcp --pool "
            "192.0.2.8-192.0.2.11");
}

TEST(SnatText, QuotesWhatHasToBe) {
  EXPECT_EQ(again("a --pool 192.0.2.1 -o \"e\\\"h\""),
            "a --out-interface \"e\\\"h\" --pool 192.0.2.1");
  for (const auto* name : {"\"a b\"", "a/b", "a:b", "\"\""}) {
    EXPECT_EQ(again(std::string("a --pool 192.0.2.1 -o ") + name).substr(0, 23),
              "ERROR --out-interface: ")
        << name;
  }
}

TEST(SnatText, ReadsPools) {
  EXPECT_EQ(again("a --pool 192.0.2.1,192.0.2.4-192.0.2.6"),
            "a --pool 192.0.2.1,192.0.2.4-192.0.2.6");
  EXPECT_EQ(again("a --pool 192.0.2.1:2000-3000,192.0.2.3:2000-3000"),
            "a --pool 192.0.2.1,192.0.2.3 --ports 2000-3000");
  EXPECT_EQ(again("a --pool=2001:db8::1-2001:db8::4 --ports 2000:3000 --limit=7"),
            "a --pool 2001:db8::1-2001:db8::4 --ports 2000-3000 --limit 7");
  for (const auto* pool :
       {"[2001:db8::1-2001:db8::4]:80-90", "[2001:db8::1]-[2001:db8::4]:80-90"}) {
    EXPECT_EQ(again(std::string("a --pool ") + pool),
              "a --pool 2001:db8::1-2001:db8::4 --ports 80-90");
  }
  EXPECT_EQ(again("a --pool 2001:db8::8/126 --proto icmp --timeout-icmp 5"),
            "a --proto ipv6-icmp --pool 2001:db8::8-2001:db8::b --timeout-icmp 5");
}

TEST(SnatText, ReadsStaticMappings) {
  EXPECT_EQ(again("web --static 10.0.0.5=192.0.2.20"), "web --static 10.0.0.5=192.0.2.20");
  EXPECT_EQ(again("web --static 10.0.0.0/28=192.0.2.16/28 --ports 80"),
            "web --static 10.0.0.0/28=192.0.2.16/28 --ports 80");
  EXPECT_EQ(again("six --static=2001:db8:1::/120=2001:db8:2::/120"),
            "six --static 2001:db8:1::/120=2001:db8:2::/120");
}

TEST(SnatText, SaysWhatIsWrong) {
  const auto expect = [](std::string_view line, const char* said) {
    const auto rule = parse(line);
    ASSERT_FALSE(rule.has_value()) << line;
    EXPECT_THAT(rule.error(), HasSubstr(said)) << line;
  };
  expect("", "a rule begins with its name");
  expect("--inside 10.0.0.0/8 --pool 192.0.2.1", "a rule begins with its name");
  expect("averyveryverylongname --pool 192.0.2.1", "longer than 15 characters");
  expect("a/b --pool 192.0.2.1", "a rule needs a name of letters");
  expect("a", "which addresses do hosts get?");
  expect("a --inside 10.0.0.0/8", "which addresses do hosts get?");
  expect("a --pool", "--pool needs a value");
  expect("a --pool 192.0.2.1 --pool 192.0.2.2", "--pool is there twice");
  expect("a --pool 192.0.2.1 --fast", "`--fast' is not known");
  expect("a ! -s 10.0.0.0/8 --pool 192.0.2.1", "`!' is not known here");
  expect("a --inside 10.0.0.5/8 --pool 192.0.2.1",
         "--inside: `10.0.0.5/8' has bits beyond its length: is 10.0.0.0/8 meant, or 10.0.0.5?");
  expect("a --inside 10.0.0.0/33 --pool 192.0.2.1", "is no address or prefix");
  expect("a --inside 10.0.0.0/8 --pool 2001:db8::1",
         "--inside 10.0.0.0 is IPv4, but the addresses that hosts get are IPv6");
  expect("a --destination 2001:db8::/32 --pool 192.0.2.1", "--destination 2001:db8:: is IPv6");
  expect("a --pool 192.0.2.1,2001:db8::1", "--pool 2001:db8::1 is IPv6");
  expect("a --pool 192.0.2.1-2001:db8::1", "--pool 2001:db8::1 is IPv6");
  expect("a --pool 192.0.2.9-192.0.2.1", "lies before its first");
  expect("a --pool 192.0.2.1-192.0.2.4,192.0.2.3", "overlap");
  expect("a --pool 10.0.0.0/8", "at most 65536 addresses");
  expect("a --pool here", "`here' is no ADDRESS");
  expect("a --pool [2001:db8::1", "is no ADDRESS");
  expect("a --pool [2001:db8::1]x", "is no ADDRESS");
  expect("a --pool 192.0.2.1:", "are no ports");
  expect("a --pool 192.0.2.1,", "is no ADDRESS");
  expect("a --pool 224.0.0.1", "none that a host can have");
  expect("a --pool 192.0.2.1:80 --ports 81", "the ports are there twice, and differ");
  expect("a --pool 192.0.2.1 --ports 0-9", "are no ports from 1 to 65535");
  expect("a --pool 192.0.2.1 --ports 90-80", "are no ports from 1 to 65535");
  expect("a --pool 192.0.2.1 --proto sctp", "only TCP, UDP and ICMP");
  expect("a --pool 192.0.2.1 --proto nosuch", "`nosuch' is no protocol");
  expect("a --pool 192.0.2.1 --limit x", "`x' is no number");
  expect("a --pool 192.0.2.1 --timeout-tcp 99999999", "is no number up to 21474836");
  expect("a --pool 192.0.2.1 -j MASQUERADE", "--pool ADDRESS");
  expect("a --pool 192.0.2.1 -j NETMAP", "--static INSIDE=OUTSIDE");
  expect("a --pool 192.0.2.1 -j DROP", "-j DROP is no source NAT");
  expect("a --pool 192.0.2.1 -o averyveryverylongname", "is no name of an interface");
  expect("a --static 10.0.0.5", "is no INSIDE=OUTSIDE");
  expect("a --static 10.0.0.0/28=192.0.2.0/27", "both prefixes need the same length");
  expect("a --static 10.0.0.5=2001:db8::1", "is of two families");
  expect("a --static 10.0.0.5=192.0.2.1 --pool 192.0.2.2", "goes with it");
  expect("a --static 10.0.0.5=192.0.2.1 --inside 10.0.0.0/8", "goes with it");
  expect("a --static 192.0.2.1=192.0.2.1", "to themselves");
}

}  // namespace
}  // namespace lb::cli
