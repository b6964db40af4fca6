// SPDX-License-Identifier: Apache-2.0
#include "cli/mark_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "wire/arbitrary.hpp"

namespace lb::cli {
namespace {

using testing::HasSubstr;

tl::expected<model::MarkRule, std::string> parse(std::string_view line) {
  const auto words = split_words(line);
  if (!words) return tl::unexpected(words.error());
  return parse_mark_rule(*words);
}

/// The rule as it is written back, or the error.
std::string round(std::string_view line) {
  const auto rule = parse(line);
  return rule ? mark_rule_text(*rule) : rule.error();
}

TEST(MarkText, RulesOfIptables) {
  EXPECT_EQ(round("-d 192.0.2.10 -p tcp --dport 80 -j MARK --set-mark 7"),
            "-4 -d 192.0.2.10/32 -p tcp --dport 80 -j MARK --set-mark 0x7");
  EXPECT_EQ(round("iptables -t mangle -A PREROUTING -i ext -d 192.0.2.34 -p udp -j MARK "
                  "--set-mark 3"),
            "-4 -d 192.0.2.34/32 -i ext -p udp -j MARK --set-mark 0x3");
  EXPECT_EQ(round("ip6tables -t mangle -A PREROUTING -p tcp -j MARK --set-mark 3"),
            "-6 -p tcp -j MARK --set-mark 0x3");
  EXPECT_EQ(round("! -s 198.51.100.7/24 ! -i eth+ -p sctp -m multiport ! --dports 80,443,1000:2000 "
                  "-m comment --comment \"for the \\\"shop\\\"\" -j MARK --set-xmark 0x10/0xff"),
            "-4 ! -s 198.51.100.0/24 ! -i eth+ -p sctp -m multiport ! --dports 80,443,1000:2000 "
            "-j MARK --set-xmark 0x10/0xff");
  EXPECT_EQ(round("-p tcp --sport :1023 --dport 1024: --set-mark=1"),
            "-4 -p tcp --sport 0:1023 --dport 1024:65535 -j MARK --set-mark 0x1");
  EXPECT_EQ(round("-6 ! -p 6 -j RETURN"), "-6 ! -p tcp -j RETURN");
  EXPECT_EQ(round("-s 2001:db8::1/ffff:ffff:: -j ACCEPT"), "-6 -s 2001:db8::/32 -j RETURN");
  EXPECT_EQ(round("-s 10.1.2.3/255.0.0.0 -p tcp -m multiport --ports 80 --set-mark 010"),
            "-4 -s 10.0.0.0/8 -p tcp -m multiport --ports 80 -j MARK --set-mark 0x8");
}

// Values as iptables-save writes these options back.
TEST(MarkText, EveryWayToSetAMark) {
  const auto value = [](std::string_view options) {
    const auto rule = parse(std::string("-j MARK ") + std::string(options));
    return rule ? std::pair{rule->value, rule->mask} : std::pair{0U, 0x12345U};
  };
  EXPECT_EQ(value("--set-mark 7"), (std::pair{7U, 0xffffffffU}));
  EXPECT_EQ(value("--set-mark 0x10/0xf"), (std::pair{0x10U, 0x1fU}));
  EXPECT_EQ(value("--set-xmark 0x10/0xf"), (std::pair{0x10U, 0xfU}));
  EXPECT_EQ(value("--and-mark 0xff"), (std::pair{0U, 0xffffff00U}));
  EXPECT_EQ(value("--or-mark 4"), (std::pair{4U, 4U}));
  EXPECT_EQ(value("--xor-mark 4"), (std::pair{4U, 0U}));
  EXPECT_EQ(value("--set-mark 4294967295"), (std::pair{0xffffffffU, 0xffffffffU}));
}

TEST(MarkText, ServiceNamesAreTaken) {
  EXPECT_EQ(round("-p tcp --dport https --set-mark 1"), round("-p tcp --dport 443 --set-mark 1"));
}

TEST(MarkText, ErrorsNameTheWord) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "--set-mark VALUE is missing"},
      {"-d 192.0.2.10", "--set-mark VALUE is missing"},
      {"-j MARK", "--set-mark VALUE is missing"},
      {"-j RETURN --set-mark 1", "`-j RETURN' sets no mark"},
      {"-j DROP", "DROP"},
      {"-j MARK -j MARK --set-mark 1", "`-j' is given twice"},
      {"-d", "`-d' needs a value"},
      {"!", "`!' stands before nothing"},
      {"! -j MARK --set-mark 1", "`-j' cannot be negated"},
      {"-s ! 192.0.2.1 --set-mark 1", "`!' belongs before `-s'"},
      {"-s 192.0.2.1,192.0.2.2 --set-mark 1", "one rule an address"},
      {"-s 192.0.2.1/33 --set-mark 1", "not an address"},
      {"-s 192.0.2.1/255.0.255.0 --set-mark 1", "not an address"},
      {"-s 192.0.2.1/ --set-mark 1", "not an address"},
      {"-s www.example.com --set-mark 1", "not an address"},
      {"-s 192.0.2.1 -d 2001:db8::1 --set-mark 1", "IPv4 and IPv6"},
      {"-6 -d 192.0.2.1 --set-mark 1", "IPv4 and IPv6"},
      {"-p tcpp --set-mark 1", "not a protocol"},
      {"-p 256 --set-mark 1", "not a protocol"},
      {"! -p all --set-mark 1", "no protocol would be left"},
      {"--dport 80 --set-mark 1", "needs -p tcp"},
      {"! -p tcp --dport 80 --set-mark 1", "needs -p tcp"},
      {"-p icmp --dport 80 --set-mark 1", "needs -p tcp"},
      {"-p tcp --dport 80,443 --set-mark 1", "--dports"},
      {"-p tcp --dport 65536 --set-mark 1", "not a port"},
      {"-p tcp --dport 90:80 --set-mark 1", "not a port"},
      {"-p tcp --dport -1 --set-mark 1", "not a port"},
      {"-p tcp --dports 80, --set-mark 1", "not a port"},
      {"-p tcp --dport 80 --dports 443 --set-mark 1", "given twice"},
      {"-p tcp --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 --set-mark 1", "at most 15"},
      {"-i a-very-long-name --set-mark 1", "not the name of an interface"},
      {"-m conntrack --ctstate NEW --set-mark 1", "`-m conntrack': this match is not known"},
      {"-t nat --set-mark 1", "only the table mangle"},
      {"-A OUTPUT --set-mark 1", "PREROUTING"},
      {"--set-mark 1 --set-mark 2", "second time"},
      {"--set-mark x", "not a mark"},
      {"--set-mark 0x100000000", "not a mark"},
      {"--or-mark 1/2", "not a mark"},
      {"--frobnicate", "`--frobnicate' is not understood"},
      {"\"--set-mark", "a quote is not closed"}};
  for (const auto& [line, expected] : cases) {
    const auto rule = parse(line);
    ASSERT_FALSE(rule.has_value()) << line;
    EXPECT_THAT(rule.error(), HasSubstr(expected)) << line;
  }
}

RC_GTEST_PROP(MarkText, WrittenRulesAreReadBack, (model::MarkRule rule)) {
  rule.interface = *rc::gen::element("", "eth0", "eth+", "a\"b", "x\\");
  rule.is_interface_negated = rule.is_interface_negated && !rule.interface.empty();
  if (rule.action == model::MarkAction::kReturn) rule.value = rule.mask = 0;
  const auto text = mark_rule_text(rule);
  const auto read = parse(text);
  if (!read) RC_FAIL(text + ": " + read.error());
  RC_ASSERT(*read == rule);
}

// Whatever words come, in whatever order: a valid rule or a reason.
RC_GTEST_PROP(MarkText, AnyWords, ()) {
  const auto words = *rc::gen::container<std::vector<std::string>>(rc::gen::oneOf(
      rc::gen::element<std::string>("!", "-p", "tcp", "-d", "192.0.2.1/24", "::/0", "--dport", "80",
                                    ":", "--dports", "1,2", ",", "-j", "MARK", "--set-mark", "1/2",
                                    "-i", "eth0", "-m", "=", "--set-mark=", "-4", "-6", "RETURN",
                                    "/", "all"),
      rc::gen::arbitrary<std::string>()));
  const auto rule = parse_mark_rule(words);
  if (rule) {
    RC_ASSERT(model::is_valid(*rule));
  } else {
    RC_ASSERT(!rule.error().empty());
  }
}

}  // namespace
}  // namespace lb::cli
