// SPDX-License-Identifier: Apache-2.0
#include "daemon/reload.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Reload, NothingDiffers) {
  const auto changes = compare({}, {});
  EXPECT_THAT(changes.applied, IsEmpty());
  EXPECT_THAT(changes.need_restart, IsEmpty());
}

TEST(Reload, EveryKeyIsAppliedOrNeedsARestart) {
  Configuration fresh;
  fresh.datapath.interfaces = {"eth0"};
  fresh.datapath.xdp_mode = datapath::XdpMode::kGeneric;
  fresh.datapath.xdp_tx = datapath::XdpTx::kOff;
  fresh.table_size = 1000;
  fresh.datapath.stand_in = {.slots = 4096, .notes = 1024};
  fresh.datapath.fast_ipv4 = 500;
  fresh.datapath.fast_ipv6 = 0;
  fresh.socket_group = "adm";
  fresh.rules_file = "/etc/sluice/rules";
  fresh.log_level = LogLevel::kDebug;
  fresh.log_format = LogFormat::kJson;
  fresh.settings.drop_entry = 2;
  fresh.settings.expire_nodest_conn = 1;
  const auto changes = compare({}, fresh);
  EXPECT_THAT(changes.applied, ElementsAre("log_level", "log_format", "socket_group", "drop_entry",
                                           "expire_nodest_conn", "interfaces"));
  EXPECT_THAT(changes.need_restart,
              ElementsAre("xdp_mode", "xdp_tx", "table_size", "stand_in_slots", "journal_size",
                          "fast_path_ipv4", "fast_path_ipv6", "rules"));
}

TEST(Reload, WhatWasSetAtRunTimeStays) {
  engine::Settings current;
  current.drop_entry = 3;          // set at run time, the file says nothing of it
  current.expire_nodest_conn = 0;  // set at run time, and the file now says 1
  engine::Settings old;
  engine::Settings fresh;
  old.pmtu_disc = 0;
  fresh.expire_nodest_conn = 1;
  const auto merged = merge_settings(current, old, fresh);
  EXPECT_EQ(merged.drop_entry, 3);
  EXPECT_EQ(merged.expire_nodest_conn, 1);
  EXPECT_EQ(merged.pmtu_disc, fresh.pmtu_disc);  // no longer in the file: the default again
}

}  // namespace
}  // namespace lb::daemon
