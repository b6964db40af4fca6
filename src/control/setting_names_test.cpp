// SPDX-License-Identifier: Apache-2.0
#include "control/setting_names.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lb::control {
namespace {

/// Each setting that kernels have, and what it may and may not be.
struct Known {
  const char* name;
  const char* initial;  ///< as the kernel has it; of what depends on the machine, ours
  const char* other;
  const char* wrong;
};

constexpr Known kKnown[] = {
    {"amemthresh", "1024", "2048", "x"},
    {"am_droprate", "10", "20", ""},
    {"drop_entry", "0", "3", "4"},
    {"drop_packet", "0", "1", "-1"},
    {"conntrack", "0", "1", "yes"},
    {"secure_tcp", "0", "2", "4"},
    {"snat_reroute", "1", "0", "1 1"},
    {"sync_version", "1", "0", "2"},
    {"sync_ports", "1", "4", "3"},
    {"sync_persist_mode", "0", "1", "0x"},
    {"sync_qlen_max", "4096", "100", "99999999999"},
    {"sync_sock_size", "0", "65536", "a"},
    {"cache_bypass", "0", "1", "a"},
    {"expire_nodest_conn", "0", "1", "a"},
    {"sloppy_tcp", "0", "1", "a"},
    {"sloppy_sctp", "0", "1", "a"},
    {"expire_quiescent_template", "0", "1", "a"},
    {"sync_threshold", "3\t50", "2\t10", "9 8"},
    {"sync_refresh_period", "0", "10", "-1"},
    {"sync_retries", "0", "3", "4"},
    {"nat_icmp_send", "0", "1", "a"},
    {"pmtu_disc", "1", "0", "a"},
    {"backup_only", "0", "1", "a"},
    {"conn_reuse_mode", "1", "2", "a"},
    {"schedule_icmp", "0", "1", "a"},
    {"ignore_tunneled", "0", "1", "a"},
    {"run_estimation", "1", "0", "a"},
    {"est_cpulist", "", "0-3,6", "3-0"},
    {"est_nice", "0", "-20", "20"},
    {"conn_lfactor", "-4", "8", "9"},
    {"svc_lfactor", "-3", "-8", "-9"},
    {"conn_max", "1073741824", "1000", "-1"},
    {"debug_level", "0", "7", "a"},
    {"lblc_expiration", "86400", "60", "-1"},
    {"lblcr_expiration", "86400", "60", "-1"},
};

std::string full(const Known& known) { return std::string("net.ipv4.vs.") + known.name; }

TEST(SettingNames, AreThoseOfTheKernelAndSomeOfOurOwn) {
  std::vector<std::string> names{"sluice.drain",
                                 "sluice.drain_end",
                                 "sluice.reuse_ports",
                                 "sluice.fast_path",
                                 "sluice.punt_limit",
                                 "sluice.quirk_icmpv6_checksum",
                                 "sluice.quirk_ipv6_extension_state"};
  for (const auto& known : kKnown) names.push_back(full(known));
  std::vector<std::string> there;
  for (const auto& setting : setting_names()) there.emplace_back(setting.name);
  EXPECT_THAT(there, testing::UnorderedElementsAreArray(names));
}

class EachSetting : public testing::TestWithParam<Known> {};

TEST_P(EachSetting, HasItsDefaultAndTakesWhatTheKernelTakes) {
  const auto& known = GetParam();
  const auto* setting = find_setting(full(known));
  ASSERT_NE(setting, nullptr);
  engine::Settings settings;
  EXPECT_EQ(setting_text(settings, *setting), known.initial);
  ASSERT_TRUE(assign_setting(settings, full(known), known.other));
  EXPECT_EQ(setting_text(settings, *setting), known.other);
  EXPECT_FALSE(assign_setting(settings, full(known), known.wrong));
  EXPECT_EQ(setting_text(settings, *setting), known.other);

  engine::Settings fresh;
  EXPECT_FALSE(is_same(*setting, settings, fresh));
  copy_setting(*setting, fresh, settings);
  for (const auto& each : setting_names()) EXPECT_TRUE(is_same(each, settings, fresh)) << each.name;
}

INSTANTIATE_TEST_SUITE_P(OfTheKernel, EachSetting, testing::ValuesIn(kKnown),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(SettingNames, AListOfCpusIsChecked) {
  engine::Settings settings;
  const std::string name = "net.ipv4.vs.est_cpulist";
  for (const auto* good : {"0", "0-3", "0,2-4,7", "4095", ""}) {
    EXPECT_TRUE(assign_setting(settings, name, good)) << good;
    EXPECT_EQ(settings.est_cpulist.view(), good);
  }
  const std::string long_list(64, '1');
  for (const auto* bad : {"a", "1,", ",1", "1-", "-1", "2,1", "1-3-5", "1,,2", "1 2", "99999999999",
                          long_list.c_str()}) {
    EXPECT_FALSE(assign_setting(settings, name, bad)) << bad;
  }
  EXPECT_EQ(settings.est_cpulist.view(), "");
}

}  // namespace
}  // namespace lb::control
