// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace lb::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

tl::expected<Options, std::string> parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "sluiced");
  return parse_options(arguments);
}

TEST(Options, DefaultsServeEveryInterface) {
  const auto options = parse({});
  ASSERT_TRUE(options) << options.error();
  EXPECT_EQ(options->action, Options::Action::kRun);
  EXPECT_TRUE(options->configuration.datapath.interfaces.empty());
  EXPECT_EQ(options->configuration.table_size, 65536U);
  EXPECT_EQ(options->configuration.datapath.fast_ipv4, std::nullopt);
  EXPECT_EQ(options->configuration.datapath.fast_ipv6, std::nullopt);
}

TEST(Options, EveryFlagIsRead) {
  const auto options =
      parse({"--interface", "eth0", "-i", "eth1", "--table-size=4096", "--socket-group", "adm",
             "--rules", "/r", "--xdp-mode", "native", "--log-level", "error", "--fast-path-ipv4",
             "4000", "--fast-path-ipv6=0"});
  ASSERT_TRUE(options) << options.error();
  const auto& configuration = options->configuration;
  EXPECT_THAT(configuration.datapath.interfaces, ElementsAre("eth0", "eth1"));
  EXPECT_EQ(configuration.table_size, 4096U);
  EXPECT_EQ(configuration.datapath.fast_ipv4, 4000U);
  EXPECT_EQ(configuration.datapath.fast_ipv6, 0U);
  EXPECT_EQ(configuration.socket_group, "adm");
  EXPECT_EQ(configuration.rules_file, "/r");
  EXPECT_EQ(configuration.datapath.xdp_mode, datapath::XdpMode::kNative);
  EXPECT_EQ(configuration.log_level, LogLevel::kError);
}

TEST(Options, FlagsWinOverTheFile) {
  const std::string path = testing::TempDir() + "sluiced_options_test.toml";
  std::ofstream(path) << "interfaces = [\"eth9\"]\ntable_size = 100\nlog_level = \"error\"\n";
  // The place of --config among the flags does not matter.
  const auto options = parse({"--table-size", "200", "--config", path, "-i", "eth0"});
  std::remove(path.c_str());
  ASSERT_TRUE(options) << options.error();
  EXPECT_EQ(options->configuration.table_size, 200U);
  EXPECT_EQ(options->configuration.log_level, LogLevel::kError);
  EXPECT_THAT(options->configuration.datapath.interfaces, ElementsAre("eth0"));
}

TEST(Options, HelpAndVersion) {
  EXPECT_EQ(parse({"--help"})->action, Options::Action::kShowHelp);
  EXPECT_EQ(parse({"-V"})->action, Options::Action::kShowVersion);
}

TEST(Options, WrongOnesAreNamed) {
  const auto error_of = [](std::vector<std::string> arguments) {
    const auto options = parse(std::move(arguments));
    return options ? "accepted" : options.error();
  };
  EXPECT_EQ(error_of({"--nonsense"}), "unknown option --nonsense");
  EXPECT_EQ(error_of({"--rules"}), "--rules needs a value");
  EXPECT_EQ(error_of({"eth0"}), "unexpected argument 'eth0'");
  EXPECT_EQ(error_of({"-t", "many"}), "'many' is not a number of connections");
  EXPECT_EQ(error_of({"-t", "10x"}), "'10x' is not a number of connections");
  EXPECT_THAT(error_of({"-t", "5"}), HasSubstr("from 16 to 16777216"));
  EXPECT_THAT(error_of({"-x", "quick"}), HasSubstr("unknown XDP mode 'quick'"));
  EXPECT_THAT(error_of({"-i", "a/b"}), HasSubstr("'a/b' is not an interface name"));
  EXPECT_EQ(error_of({"--config", "/nonexistent"}), "/nonexistent: No such file or directory");
}

}  // namespace
}  // namespace lb::daemon
