// SPDX-License-Identifier: Apache-2.0
// What all checks have in common, and those of load and firewalls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "doctor/checks_lab.hpp"

namespace lb::doctor {
namespace {

using realserver::Mode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(ChecksTest, NothingIsWrong) {
  be_director();
  EXPECT_THAT(found(), IsEmpty()) << words();
  facts_.director.reset();
  const auto addresses = std::vector(facts_.addresses.begin(), facts_.addresses.end() - 1);
  for (const auto mode : {Mode::kDirect, Mode::kNat}) {
    facts_.addresses = addresses;
    be_server(mode);
    EXPECT_THAT(found(), IsEmpty()) << words();
  }
}

TEST_F(ChecksTest, EveryCheckHasANameAndAQuestionOfItsOwn) {
  std::set<std::string_view> names;
  for (const auto& check : all_checks()) {
    EXPECT_TRUE(names.insert(check.name).second) << check.name;
    EXPECT_FALSE(check.question.empty());
    EXPECT_TRUE(check.on_director != nullptr || check.on_server != nullptr) << check.name;
  }
}

TEST_F(ChecksTest, TableFull) {
  be_director();
  facts_.director->status.director.connections = 899;
  EXPECT_THAT(found(), IsEmpty());
  facts_.director->status.director.connections = 900;
  EXPECT_THAT(found(), ElementsAre("warning table-full"));
}

TEST_F(ChecksTest, Health) {
  be_director();
  facts_.director->status.director.health = "degraded: interface eth0 loses frames";
  EXPECT_THAT(found(), ElementsAre("warning health"));
}

TEST_F(ChecksTest, NoServer) {
  be_director();
  first().info.spec.weight = 0;
  EXPECT_THAT(found(), ElementsAre("warning no-server"));
  service().servers.clear();
  EXPECT_THAT(found(), ElementsAre("warning no-server"));
  EXPECT_THAT(words(), HasSubstr("192.0.2.10:80 has no real servers"));
}

TEST_F(ChecksTest, FirewallOnTheDirector) {
  be_director();
  facts_.chains = {{.name = "ip filter INPUT", .hook = host::kHookInput, .rules = 0}};
  EXPECT_THAT(found(), IsEmpty());
  facts_.chains[0].rules = 3;
  EXPECT_THAT(found(), ElementsAre("note firewall"));
  facts_.chains[0].drops_by_default = true;
  EXPECT_THAT(found(), ElementsAre("note firewall"));
  first().route->is_local = true;  // a server on the director itself
  EXPECT_THAT(found(), ElementsAre("note firewall", "warning firewall"));
  facts_.chains.clear();
  EXPECT_THAT(found(), IsEmpty());
  facts_.has_legacy_firewall = true;
  EXPECT_THAT(found(), ElementsAre("note firewall"));
}

TEST_F(ChecksTest, FirewallOnTheServer) {
  be_server(Mode::kDirect);
  facts_.chains = {
      {.name = "inet filter input", .hook = host::kHookInput, .drops_by_default = true}};
  EXPECT_THAT(found(), ElementsAre("warning firewall"));
  facts_.chains[0].hook = host::kHookForward;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, Conntrack) {
  for (const bool is_director : {true, false}) {
    facts_.director.reset();
    facts_.server.reset();
    is_director ? be_director() : be_server(Mode::kNat);
    values_["net/netfilter/nf_conntrack_max"] = 1000;
    values_["net/netfilter/nf_conntrack_count"] = 899;
    if (!is_director) facts_.addresses.pop_back();
    EXPECT_THAT(found(), IsEmpty());
    values_["net/netfilter/nf_conntrack_count"] = 900;
    EXPECT_THAT(found(), ElementsAre("warning conntrack"));
  }
}

}  // namespace
}  // namespace lb::doctor
