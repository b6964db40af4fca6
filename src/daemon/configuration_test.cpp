// SPDX-License-Identifier: Apache-2.0
#include "daemon/configuration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/setting_names.hpp"

namespace lb::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

tl::expected<Configuration, std::string> parse(std::string_view text) {
  return parse_configuration(text, "test.toml", {});
}

TEST(Configuration, EveryKeyIsRead) {
  const auto read = parse(R"(
interfaces = ["eth0", "eth1"]
xdp_mode = "generic"
xdp_tx = "off"
table_size = 1000000
stand_in_slots = 8192
journal_size = 2048
keep_forwarding = true
fast_path_ipv4 = 900000
fast_path_ipv6 = 0
socket_group = "adm"
rules = "/etc/sluice/rules"
log_level = "debug"
log_format = "json"
[settings]
expire_nodest_conn = 1
lblc_expiration = 60
[sync]
key_file = "/etc/sluice/sync.key"
peers = ["192.0.2.2", "2001:db8::2"]
port = 9000
)");
  ASSERT_TRUE(read) << read.error();
  EXPECT_THAT(read->datapath.interfaces, ElementsAre("eth0", "eth1"));
  EXPECT_EQ(read->datapath.xdp_mode, datapath::XdpMode::kGeneric);
  EXPECT_EQ(read->datapath.xdp_tx, datapath::XdpTx::kOff);
  EXPECT_EQ(read->table_size, 1000000U);
  EXPECT_EQ(read->datapath.stand_in.slots, 8192U);
  EXPECT_EQ(read->datapath.stand_in.notes, 2048U);
  EXPECT_TRUE(read->keep_forwarding);
  EXPECT_EQ(read->datapath.fast_ipv4, 900000U);
  EXPECT_EQ(read->datapath.fast_ipv6, 0U);
  EXPECT_EQ(read->socket_group, "adm");
  EXPECT_EQ(read->rules_file, "/etc/sluice/rules");
  EXPECT_EQ(read->log_level, LogLevel::kDebug);
  EXPECT_EQ(read->log_format, LogFormat::kJson);
  EXPECT_EQ(read->sync.key_file, "/etc/sluice/sync.key");
  EXPECT_THAT(read->sync.peers, ElementsAre(*net::IpAddress::from_text("192.0.2.2"),
                                            *net::IpAddress::from_text("2001:db8::2")));
  EXPECT_EQ(read->sync.port, 9000);
  EXPECT_EQ(read->settings.expire_nodest_conn, 1);
  EXPECT_EQ(read->settings.lblc_expiration, 60);
  EXPECT_EQ(read->settings.pmtu_disc, engine::Settings{}.pmtu_disc);
}

TEST(Configuration, SyncPeersAreCheckedWithTheirPlace) {
  const auto refused = [](std::string_view text) {
    const auto read = parse("[sync]\n" + std::string(text));
    return read ? std::string("taken") : read.error();
  };
  const std::string key = "key_file = \"k\"\n";
  EXPECT_THAT(refused(key), HasSubstr("needs both"));
  EXPECT_THAT(refused("peers = [\"192.0.2.2\"]"), HasSubstr("needs both"));
  for (const auto* peer : {"\"director2\"", "2", "\"224.0.0.81\"", "\"fe80::1\"", "\"0.0.0.0\""}) {
    EXPECT_THAT(refused(key + "peers = [" + peer + "]"),
                StartsWith("test.toml:3:10: a peer must be"))
        << peer;
  }
  EXPECT_THAT(refused(key + "peers = [\"192.0.2.2\", \"192.0.2.2\"]"), HasSubstr("named once"));
  EXPECT_THAT(refused(key + "peers = [\"192.0.2.2\"]\nport = 0"), HasSubstr("'port' must be"));
  EXPECT_THAT(refused("keyfile = \"k\""), HasSubstr("unknown key 'keyfile'"));
  EXPECT_EQ(refused(""), "taken");
}

TEST(Configuration, EverySettingCanBeInTheFile) {
  for (const auto& setting : control::setting_names()) {
    // Not the default of any, and in the range of all.
    const bool is_switch = setting.lowest == 0 && setting.highest == 1;
    const std::string value = setting.cpus != nullptr                  ? "\"2-3\""
                              : setting.second != nullptr              ? "\"1 2\""
                              : setting.name.ends_with("sync_version") ? "0"
                              : setting.name == "sluice.fast_path"     ? "0"
                              : is_switch                              ? "1"
                                                                       : "2";
    for (const auto& name : {std::string(setting.name), "\"" + std::string(setting.name) + "\"",
                             std::string(setting.name.substr(setting.name.rfind('.') + 1))}) {
      if (setting.name.starts_with("sluice.") && name.find('.') == name.npos)
        continue;  // the short names are the kernel's
      const auto read = parse_configuration("[settings]\n" + name + " = " + value, "f", {});
      ASSERT_TRUE(read) << read.error();
      EXPECT_FALSE(control::is_same(setting, read->settings, {})) << name;
    }
  }
}

TEST(Configuration, EmptyFileKeepsTheBase) {
  Configuration base;
  base.table_size = 77;
  const auto read = parse_configuration("", "test.toml", base);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->table_size, 77U);
}

struct Wrong {
  std::string_view text;
  std::string_view place;
  std::string_view reason;
};

class WrongConfiguration : public testing::TestWithParam<Wrong> {};

TEST_P(WrongConfiguration, IsRefusedWithItsPlace) {
  const auto& [text, place, reason] = GetParam();
  const auto read = parse(text);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error(), StartsWith(std::string(place)));
  EXPECT_THAT(read.error(), HasSubstr(std::string(reason)));
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongConfiguration,
    testing::Values(
        Wrong{"\ntable_sise = 3\n", "test.toml:2:1: ", "unknown key 'table_sise'"},
        Wrong{"table_size = \"3\"", "test.toml:1:14: ", "must be an integer"},
        Wrong{"table_size = 3", "test.toml:1:14: ", "from 16 to 16777216"},
        Wrong{"table_size = -1", "test.toml:1:14: ", "not -1"},
        Wrong{"stand_in_slots = 4095", "test.toml:1:18: ", "from 4096 to 16777216"},
        Wrong{"stand_in_slots = 16777217", "test.toml:1:18: ", "from 4096 to 16777216"},
        Wrong{"journal_size = \"1024\"", "test.toml:1:16: ", "from 1024 to 4194304"},
        Wrong{"fast_path_ipv4 = true", "test.toml:1:18: ", "must be an integer"},
        Wrong{"fast_path_ipv6 = 16777217", "test.toml:1:18: ", "0 to 16777216"},
        Wrong{"interfaces = \"eth0\"", "test.toml:1:14: ", "an array of names"},
        Wrong{"interfaces = [\"eth0\", 7]", "test.toml:1:23: ", "must be a string"},
        Wrong{"interfaces = [\"\"]", "test.toml:1:15: ", "not an interface name"},
        Wrong{"interfaces = [\"0123456789abcdef\"]", "test.toml:1:15: ", "not an interface name"},
        Wrong{"xdp_mode = \"fast\"", "test.toml:1:12: ", "unknown XDP mode 'fast'"},
        Wrong{"xdp_mode = true", "test.toml:1:12: ", "must be a string"},
        Wrong{"xdp_tx = \"yes\"", "test.toml:1:10: ", "'yes' is none of auto, on, off"},
        Wrong{"log_level = \"loud\"", "test.toml:1:13: ", "unknown log level 'loud'"},
        Wrong{"settings = 3", "test.toml:1:12: ", "must be a table"},
        Wrong{"[settings]\ndrop_entri = 1", "test.toml:2:1: ", "unknown setting 'drop_entri'"},
        Wrong{"[settings]\ndrop_entry = true", "test.toml:2:14: ", "must be an integer"},
        Wrong{"[settings]\ndrop_entry = 4294967296", "test.toml:2:14: ", "must be an integer"},
        Wrong{"[settings]\nest_cpulist = 3", "test.toml:2:15: ", "must be a string"},
        Wrong{"[settings]\nest_cpulist = \"x\"", "test.toml:2:15: ", "cannot be 'x'"},
        Wrong{"[settings]\nsluice.quirk = 3", "test.toml:2:8: ", "unknown setting 'sluice.quirk'"},
        Wrong{"table_size = = 3", "test.toml:1:14: ", ""}, Wrong{"\x01", "test.toml:1:1: ", ""}));

TEST(Configuration, AMissingFileIsNamed) {
  const auto read = read_configuration("/nonexistent/sluice.toml", {});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error(), "/nonexistent/sluice.toml: No such file or directory");
}

}  // namespace
}  // namespace lb::daemon
