// SPDX-License-Identifier: Apache-2.0
// lblc and lblcr, and the cache behind them.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "engine/scheduler/fixture.hpp"
#include "engine/scheduler/location_cache.hpp"

namespace lb::engine {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using testing::TestService;

constexpr std::uint32_t kVirtual = 0xcb007100;  // 203.0.113.0

net::IpAddress numbered(std::uint32_t number) {
  return net::IpAddress::v4(net::Be32::from_host(number));
}

TEST(Locality, KeepsAnAddressWhereItIs) {
  TestService service("lblc");
  for (std::uint32_t i = 1; i <= 3; ++i) service.add(i, 10);
  Destination* home = service.pick_for_virtual(kVirtual);
  home->active_connections = 10;
  home->inactive_connections = 1000;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), home);
  EXPECT_NE(service.pick_for_virtual(kVirtual + 1), home);
  home->is_overloaded = true;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), home);
}

TEST(Locality, LeavesWhatIsOverloadedOrQuiescent) {
  TestService service("lblc");
  Destination& a = service.add(1, 10);
  Destination& b = service.add(2, 10);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b);
  b.active_connections = 11;
  a.active_connections = 5;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b) << "nobody is below half of its weight";
  a.active_connections = 4;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &a);
  b.active_connections = 0;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &a) << "moved for good";
  service.edit(a, 0);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b);
}

TEST(Locality, RemembersARemovedServerThatComesBack) {
  TestService service("lblc");
  service.add(1, 1);
  Destination& b = service.add(2, 1);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b);
  EXPECT_EQ(service.pick_for_virtual(kVirtual + 1), &b);
  const net::Endpoint server{b.spec.address, b.spec.port};
  service.destroy(b);
  EXPECT_NE(service.pick_for_virtual(kVirtual), nullptr);  // forgets b
  Destination& back = service.add(server, 1);
  back.active_connections = 1;
  EXPECT_NE(service.pick_for_virtual(kVirtual), &back);
  EXPECT_EQ(service.pick_for_virtual(kVirtual + 1), &back);
}

TEST(LocalityWithReplication, GrowsTheSetUnderLoadAndBalancesInIt) {
  TestService service("lblcr");
  Destination& a = service.add(1, 10);
  Destination& b = service.add(2, 10);
  Destination& c = service.add(3, 10);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &c);
  c.active_connections = 11;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b);
  b.active_connections = 8;
  c.active_connections = 7;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &c) << "the less loaded of the set {b, c}";
  a.active_connections = 0;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &c) << "a is idle, but not in the set";
  c.is_overloaded = true;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b);
}

TEST(LocalityWithReplication, ShrinksASetThatWasUnchangedForLong) {
  TestService service("lblcr");
  service.settings.lblcr_expiration = 3600;
  Destination& a = service.add(1, 10);
  Destination& b = service.add(2, 10);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b);
  b.active_connections = 11;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &a);
  a.active_connections = 5;
  b.active_connections = 6;
  service.context.now = service.context.now + hours(1);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &a);
  b.active_connections = 4;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b) << "not yet: exactly the time is not enough";
  b.active_connections = 6;
  service.context.now = service.context.now + Duration(1);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &a);
  b.active_connections = 0;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &a) << "b was the most loaded: left the set";
}

TEST(LocalityWithReplication, ARemovedMemberComesBackToItsSet) {
  TestService service("lblcr");
  Destination& a = service.add(1, 10);
  Destination& b = service.add(2, 10);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &b);
  b.active_connections = 11;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &a);
  const net::Endpoint server{b.spec.address, b.spec.port};
  service.destroy(b);
  a.active_connections = 3;
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &a);
  Destination& back = service.add(server, 10);
  EXPECT_EQ(service.pick_for_virtual(kVirtual), &back);
}

class LocationCacheTest : public ::testing::Test {
 protected:
  LocationCacheTest() {
    for (std::uint32_t i = 0; i < destinations_.size(); ++i) {
      destinations_[i].spec.address = numbered(0x0a000001 + i);
      list_.push_back(&destinations_[i]);
    }
    cache_.reset(list_);
  }

  LocationCache::Entry* create(std::uint32_t number, Timestamp now) {
    auto* entry = cache_.create(numbered(number), now);
    if (entry != nullptr) cache_.add_member(*entry, destinations_[0], now);
    return entry;
  }
  std::vector<const Destination*> members(const LocationCache::Entry& entry) const {
    std::vector<const Destination*> result;
    cache_.for_each_member(entry, [&](const Destination& member) { result.push_back(&member); });
    return result;
  }
  void sweep(Timestamp now, int times = 1) {
    for (int i = 0; i < times; ++i) cache_.sweep(now, hours(24));
  }

  std::vector<Destination> destinations_ = std::vector<Destination>(4);
  std::vector<Destination*> list_;
  LocationCache cache_{99, 2};
};

TEST_F(LocationCacheTest, MembersAreASetNewestFirst) {
  auto* entry = cache_.create(numbered(1), {});
  const auto at = [](int n) { return Timestamp{Duration(n)}; };
  for (const std::size_t i : {0U, 1U, 0U, 2U}) cache_.add_member(*entry, destinations_[i], at(1));
  using Members = std::vector<const Destination*>;
  EXPECT_EQ(members(*entry), (Members{&destinations_[2], &destinations_[1], &destinations_[0]}));
  cache_.add_member(*entry, destinations_[1], at(2));
  EXPECT_EQ(entry->last_changed, at(1)) << "nothing new";
  cache_.remove_member(*entry, destinations_[1], at(3));
  EXPECT_EQ(members(*entry), (Members{&destinations_[2], &destinations_[0]}));
  EXPECT_EQ(entry->last_changed, at(3));
  EXPECT_EQ(entry->member_count, 2U);
  cache_.remove_member(*entry, destinations_[3], at(4));
  EXPECT_EQ(entry->member_count, 2U);
}

TEST_F(LocationCacheTest, RefusesWhatDoesNotFitAndTakesFreedPlacesAgain) {
  for (std::uint32_t i = 0; i < LocationCache::kHardLimit; ++i) ASSERT_NE(create(i, {}), nullptr);
  EXPECT_EQ(create(0xffffffff, {}), nullptr);
  EXPECT_EQ(cache_.size(), LocationCache::kHardLimit);
  EXPECT_EQ(cache_.find(numbered(0xffffffff)), nullptr);
  EXPECT_NE(cache_.find(numbered(12345)), nullptr);
  sweep(Timestamp{minutes(6)});
  EXPECT_LT(cache_.size(), LocationCache::kHardLimit);
  EXPECT_NE(create(0xffffffff, {}), nullptr);
}

TEST_F(LocationCacheTest, PoolOfMembersIsBounded) {
  std::uint32_t with_all = 0;
  for (std::uint32_t i = 0; i < LocationCache::kHardLimit; ++i) {
    auto* entry = cache_.create(numbered(i), {});
    for (const Destination& destination : destinations_) {
      cache_.add_member(*entry, destination, {});
    }
    with_all += entry->member_count == destinations_.size() ? 1 : 0;
  }
  EXPECT_EQ(with_all, LocationCache::kHardLimit * 2 / destinations_.size());
  cache_.clear_members(*cache_.find(numbered(0)));
  auto* last = cache_.find(numbered(LocationCache::kHardLimit - 1));
  EXPECT_EQ(last->member_count, 0U);
  cache_.add_member(*last, destinations_[3], {});
  EXPECT_EQ(members(*last), (std::vector<const Destination*>{&destinations_[3]}));
}

TEST_F(LocationCacheTest, SweepsTheLongUnusedEveryThirtiethTime) {
  create(1, {});
  create(2, Timestamp{hours(1)});
  sweep(Timestamp{hours(24)}, 29);
  EXPECT_EQ(cache_.size(), 2U);
  sweep(Timestamp{hours(24)});
  EXPECT_EQ(cache_.size(), 1U);
  EXPECT_EQ(cache_.find(numbered(1)), nullptr);
  EXPECT_NE(cache_.find(numbered(2)), nullptr);
  sweep(Timestamp{hours(48)}, 29);
  EXPECT_EQ(cache_.size(), 1U);
  sweep(Timestamp{hours(48)});
  EXPECT_EQ(cache_.size(), 0U);
}

TEST_F(LocationCacheTest, SweepsTheIdleOnlyIfTooMany) {
  constexpr auto kLimit = static_cast<std::uint32_t>(LocationCache::kSoftLimit);
  for (std::uint32_t i = 0; i < kLimit; ++i) create(i, {});
  sweep(Timestamp{minutes(10)});
  EXPECT_EQ(cache_.size(), kLimit);
  for (std::uint32_t i = 0; i < 3000; ++i) create(kLimit + i, Timestamp{minutes(5)});
  sweep(Timestamp{minutes(5)});
  EXPECT_EQ(cache_.size(), kLimit + 3000) << "nothing is idle for six minutes";
  sweep(Timestamp{minutes(10)});
  // Goal: 4/3 of the excess; whole buckets are swept.
  EXPECT_LE(cache_.size(), kLimit - 1000);
  EXPECT_GT(cache_.size(), kLimit - 1100);
  for (std::uint32_t i = 0; i < 3000; ++i) ASSERT_NE(cache_.find(numbered(kLimit + i)), nullptr);
}

TEST_F(LocationCacheTest, SeatsOfRemovedServersAreUsedAgainOnceNobodyRefersToThem) {
  auto* entry = create(1, {});
  cache_.destination_removed(destinations_[0]);
  EXPECT_TRUE(members(*entry).empty());
  Destination other;
  other.spec.address = numbered(0x0a000063);
  cache_.destination_added(other);
  EXPECT_TRUE(members(*entry).empty()) << "another server does not take the seat";
  cache_.destination_added(destinations_[0]);
  EXPECT_EQ(members(*entry).size(), 1U);
  cache_.destination_removed(destinations_[0]);
  cache_.clear_members(*entry);
  cache_.destination_added(destinations_[0]);
  EXPECT_TRUE(members(*entry).empty());
}

}  // namespace
}  // namespace lb::engine
