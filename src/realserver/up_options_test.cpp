// SPDX-License-Identifier: Apache-2.0
#include "realserver/up_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb::realserver {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

net::IpAddress ip(const char* text) { return *net::IpAddress::from_text(text); }

TEST(UpOptions, AllThatUpTakes) {
  const auto read = parse_up_options({"up",       "--vip",      "2001:db8::10,192.0.2.10",
                                      "-V",       "192.0.2.10", "--mode",
                                      "tun",      "-i",         "eth0",
                                      "-i",       "eth1",       "--director",
                                      "10.0.0.1", "-x",         "native",
                                      "-g",       "6080",       "-f",
                                      "-s",       "/x"});
  ASSERT_TRUE(read) << read.error();
  EXPECT_THAT(read->setup.vips, UnorderedElementsAre(ip("192.0.2.10"), ip("2001:db8::10")));
  EXPECT_EQ(read->setup.mode, Mode::kTunnel);
  EXPECT_THAT(read->setup.interfaces, ElementsAre("eth0", "eth1"));
  EXPECT_EQ(read->setup.director, ip("10.0.0.1"));
  EXPECT_EQ(read->setup.xdp_mode, XdpMode::kNative);
  EXPECT_EQ(read->setup.gue_port, 6080);
  EXPECT_TRUE(read->is_forced);
  EXPECT_EQ(read->state, "/x");
}

TEST(UpOptions, MistakesAreNamed) {
  using Words = std::vector<std::string>;
  for (const auto& [words, said] : std::vector<std::pair<Words, std::string>>{
           {{"up"}, "--vip is needed"},
           {{"up", "--vip", "192.0.2.10"}, "--mode is needed"},
           {{"up", "--vip", "", "--mode", "dr"}, "'' is not an address"},
           {{"up", "--vip", "192.0.2.10,", "--mode", "dr"}, "'' is not an address"},
           {{"up", "--vip", "192.0.2.300", "--mode", "dr"}, "'192.0.2.300' is not an address"},
           {{"up", "--vip", "192.0.2.10/24", "--mode", "dr"}, "is not an address"},
           {{"up", "--vip", "127.0.0.1", "--mode", "dr"}, "127.0.0.1 can't be a virtual address"},
           {{"up", "--vip", "0.0.0.0", "--mode", "dr"}, "can't be a virtual address"},
           {{"up", "--vip", "ff02::1", "--mode", "dr"}, "can't be a virtual address"},
           {{"up", "--vip", "fe80::1", "--mode", "dr"}, "can't be a virtual address"},
           {{"up", "--vip", "192.0.2.10", "--mode", "gre"}, "unknown mode 'gre'"},
           {{"up", "--vip", "192.0.2.10", "--mode", "dr", "-g", "80"}, "goes with --mode tun"},
           {{"up", "--vip", "192.0.2.10", "--mode", "tun", "-g", "0"}, "'0' is not a port"},
           {{"up", "--vip", "192.0.2.10", "--mode", "tun", "-g", "65536"}, "is not a port"},
           {{"up", "--vip", "192.0.2.10", "--mode", "dr", "-D", "192.0.2.10"}, "not a virtual one"},
           {{"up", "--vip", "192.0.2.10", "--mode", "dr", "more"}, "unexpected argument 'more'"},
           {{"up", "more", "--vip=192.0.2.10", "--mode=dr"}, "unexpected argument 'more'"},
           {{"up", "more", "--mode"}, "--mode needs a value"},
           {{"up", "--mode"}, "--mode needs a value"},
           {{"up", "--speed"}, "unknown option --speed"},
           {{"up", "-q"}, "unknown option -q"},
           {{"down", "--vip", "192.0.2.10"}, "'down' does not take"},
           {{"status", "-f"}, "'status' does not take -f"}}) {
    const auto read = parse_up_options(words);
    ASSERT_FALSE(read) << said;
    EXPECT_THAT(read.error(), HasSubstr(said));
  }
  std::string many = "192.0.2.1";
  for (int i = 0; i < 256; ++i) many += ",10.0.0." + std::to_string(i);
  EXPECT_THAT(parse_up_options({"up", "--vip", many, "--mode", "dr"}).error(),
              HasSubstr("more than 256"));
}

}  // namespace
}  // namespace lb::realserver
