// SPDX-License-Identifier: Apache-2.0
#include "cli/status.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace lb::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

net::IpAddress ip(const char* text) { return *net::IpAddress::from_text(text); }

model::DestinationInfo server(const char* address, std::int32_t weight) {
  model::DestinationInfo info;
  info.spec.address = ip(address);
  info.spec.port = net::Port::from_host(80);
  info.spec.weight = weight;
  info.active_connections = 3;
  info.inactive_connections = 2;
  return info;
}

Overview::Service service(const char* address, std::vector<model::DestinationInfo> servers) {
  Overview::Service service;
  service.info.spec.key.address = ip(address);
  service.info.spec.key.family = ip(address).family();
  service.info.spec.key.port = net::Port::from_host(80);
  service.servers = std::move(servers);
  return service;
}

/// Nothing is wrong.
Overview healthy() {
  Overview overview;
  auto& director = overview.status.director;
  director.version = "0.1.0";
  director.uptime_seconds = 90061;
  director.connections = 10;
  director.connection_capacity = 1000;
  director.health = "ok";
  director.counters = {{"sent", 5}, {"to_host", 0}};
  director.drops = {{"table_full", 0}, {"no_route", 4}};
  overview.status.interfaces = {
      {.name = "eth0", .xdp_mode = "native", .note = {}, .counters = {{"queues", 1}}}};
  overview.services = {service("192.0.2.10", {server("10.0.0.11", 1), server("10.0.0.12", 0)})};
  return overview;
}

TEST(Status, AllIsWell) {
  const auto overview = healthy();
  EXPECT_EQ(judge(overview).state, State::kOk);
  EXPECT_THAT(judge(overview).reasons, IsEmpty());
  const auto text = status_text(overview, false);
  EXPECT_THAT(text, StartsWith("OK\ndirector 0.1.0, up 1d 01:01:01\nhealth: ok\n"));
  EXPECT_THAT(text, HasSubstr("connections 10 of 1000 (1 % of the table)\n"));
  EXPECT_THAT(text, HasSubstr("services 1, servers 2: 1 up, 1 quiescent (weight 0)\n"));
  EXPECT_THAT(text, HasSubstr("  TCP 192.0.2.10:80 "));
  EXPECT_THAT(text, HasSubstr("sync: off\n"));
  EXPECT_THAT(text, HasSubstr("interface eth0, XDP native\n"));
  EXPECT_THAT(text, HasSubstr("no_route"));
  EXPECT_THAT(text, Not(HasSubstr("table_full")));
  EXPECT_THAT(text, Not(HasSubstr("to_host")));
  EXPECT_THAT(text, Not(HasSubstr("fast path")));
  EXPECT_THAT(status_text(overview, true), HasSubstr("to_host"));
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 30);
}

TEST(Status, Warnings) {
  auto overview = healthy();
  overview.status.director.connections = 899;
  EXPECT_EQ(judge(overview).state, State::kOk);
  overview.status.director.connections = 900;
  EXPECT_EQ(judge(overview).state, State::kWarning);
  // The daemon says the same: told once.
  overview.status.director.health = "degraded: the connection table is nearly full";
  EXPECT_THAT(judge(overview).reasons, ElementsAre("the connection table is nearly full"));
  overview = healthy();
  overview.status.director.health = "degraded: interface eth0 loses frames";
  EXPECT_THAT(judge(overview).reasons, ElementsAre("interface eth0 loses frames"));
  overview = healthy();
  overview.services.push_back(service("2001:db8::10", {server("2001:db8:2::11", 0)}));
  overview.services.push_back(service("192.0.2.11", {}));
  EXPECT_EQ(judge(overview).state, State::kWarning);
  const auto text = status_text(overview, false);
  EXPECT_THAT(text, StartsWith("WARNING: 2 services without a server\n"));
  // They come before those that are well.
  EXPECT_LT(text.find("[2001:db8::10]:80"), text.find("192.0.2.10:80"));
}

TEST(Status, Critical) {
  auto overview = healthy();
  overview.status.director.connections = 1000;
  EXPECT_EQ(judge(overview).state, State::kCritical);
  overview.status.interfaces[0].xdp_mode = "none";
  overview.services.push_back(service("192.0.2.11", {}));
  EXPECT_THAT(status_text(overview, false),
              StartsWith("CRITICAL: interface eth0 is gone; the connection table is full; "
                         "1 services without a server\n"));
}

TEST(Status, ManyServicesAreCutToAScreen) {
  auto overview = healthy();
  overview.services.assign(500, overview.services[0]);
  const auto text = status_text(overview, false);
  EXPECT_THAT(text, HasSubstr("services 500, servers 1000: 500 up"));
  EXPECT_THAT(text, HasSubstr("  ... and 480 more (--all)\n"));
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 50);
  EXPECT_THAT(status_text(overview, true), Not(HasSubstr("more (--all)")));
}

TEST(Status, TheFastPathIfItIsTold) {
  auto overview = healthy();
  auto& counters = overview.status.director.counters;
  counters.insert(counters.end(), {{"xdp_forwarded", 900},
                                   {"xdp_to_virtual", 60},
                                   {"xdp_from_real", 30},
                                   {"xdp_icmp_errors", 5},
                                   {"xdp_fragments", 4},
                                   {"xdp_odd", 1},
                                   {"xdp_passed", 5000}});
  EXPECT_THAT(
      status_text(overview, false),
      HasSubstr("fast path: 90.0 % of 1000 packets stayed in XDP, 100 went to the engine\n"));
  EXPECT_EQ(FastPath().percent(), 0);
}

TEST(Status, WhatXdpSendsOnByItselfDoesNotGoToTheEngine) {
  auto overview = healthy();
  auto& counters = overview.status.director.counters;
  counters.insert(counters.end(), {{"xdp_forwarded", 900},
                                   {"xdp_to_virtual", 1060},
                                   {"xdp_stood_in", 930},
                                   {"xdp_limit_drops", 20},
                                   {"xdp_no_socket_drops", 10}});
  EXPECT_THAT(
      status_text(overview, false),
      HasSubstr("fast path: 90.0 % of 1000 packets stayed in XDP, 100 went to the engine\n"));
}

TEST(Status, WhetherXdpStandsIn) {
  auto overview = healthy();
  EXPECT_THAT(status_text(overview, true), Not(HasSubstr("stand-in")));
  EXPECT_FALSE(nlohmann::json::parse(status_json(overview)).contains("stand_in"));
  auto& counters = overview.status.director.counters;
  counters.insert(counters.end(), {{"stand_in_active", 0}, {"stand_in_tables", 2}});
  EXPECT_THAT(status_text(overview, false), HasSubstr("\nstand-in: not needed\n"));
  counters[counters.size() - 2].value = 1;
  counters.insert(counters.end(), {{"stand_in_times", 2},
                                   {"stand_in_table_full", 1},
                                   {"xdp_stood_in", 1000},
                                   {"xdp_limit_drops", 7}});
  EXPECT_THAT(
      status_text(overview, false),
      HasSubstr("\nstand-in: XDP decides about new flows by itself now, the table is nearly "
                "full; 2 times since the start; 1000 packets sent by tables; 7 new "
                "connections dropped\n"));
  const auto told = nlohmann::json::parse(status_json(overview)).at("stand_in");
  EXPECT_EQ(told.at("active"), true);
  EXPECT_EQ(told.at("table_full"), true);
  EXPECT_EQ(told.at("times"), 2);
  EXPECT_EQ(told.at("packets"), 1000);
  EXPECT_EQ(told.at("dropped"), 7);
  EXPECT_EQ(told.at("tables"), 2);
}

TEST(Status, Json) {
  auto overview = healthy();
  model::SyncDaemonSpec daemon;
  daemon.role = model::SyncRole::kBackup;
  daemon.interface = "eth1";
  daemon.sync_id = 7;
  overview.sync_daemons = {daemon};
  const auto all = nlohmann::json::parse(status_json(overview));
  EXPECT_EQ(all.at("state"), "OK");
  EXPECT_EQ(all.at("uptime_seconds"), 90061);
  EXPECT_EQ(all.at("drops").at("table_full"), 0);
  EXPECT_EQ(all.at("services").at(0).at("service"), "TCP 192.0.2.10:80");
  EXPECT_EQ(all.at("services").at(0).at("servers").at(1).at("up"), false);
  EXPECT_EQ(all.at("interfaces").at(0).at("counters").at("queues"), 1);
  EXPECT_EQ(all.at("sync").at(0).at("role"), "backup");
  EXPECT_FALSE(all.contains("fast_path"));
  EXPECT_THAT(status_text(overview, false), HasSubstr("sync: backup on eth1, id 7\n"));
}

}  // namespace
}  // namespace lb::cli
