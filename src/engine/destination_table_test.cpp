// SPDX-License-Identifier: Apache-2.0
#include "engine/destination_table.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace lb::engine {
namespace {

net::Endpoint end_of(std::uint32_t number) {
  return {net::IpAddress::v4(net::Be32::from_host(0x0a000000U + number)), net::Port::from_host(80)};
}

model::ServiceKey key_of(std::uint32_t number) {
  model::ServiceKey key;
  key.address = net::IpAddress::v4(net::Be32::from_host(0xc0000200U + number));
  return key;
}

/// Removes `count` destinations, puts them back, and returns how many were compared.
std::uint64_t compared(std::uint32_t count) {
  DestinationTable table;
  std::vector<Destination*> made;
  for (std::uint32_t i = 0; i < count; ++i) {
    model::DestinationSpec spec;
    spec.address = end_of(i).address;
    spec.port = end_of(i).port;
    made.push_back(&table.create(key_of(i % 10), spec));
  }
  for (auto* destination : made) table.discard(*destination, {});
  const auto before = table.compared();
  for (std::uint32_t i = 0; i < count; ++i) {
    EXPECT_EQ(table.revive(key_of(i % 10), end_of(i)), made[i]);
    EXPECT_EQ(table.revive(key_of(i % 10), end_of(i)), nullptr) << "it is back";
  }
  return table.compared() - before;
}

// All servers of ten thousand services may go and come back at once: finding one must not cost more
// the more there are.
TEST(DestinationTable, RevivingCostsTheSameHoweverManyAreRemoved) {
  const auto few = compared(1000);
  const auto many = compared(50000);
  EXPECT_LE(many, few * 50 * 2);
  EXPECT_LE(many, 50000U * 4);
}

TEST(DestinationTable, ForgetsWhatNobodyRefersToForTwoMinutes) {
  DestinationTable table;
  model::DestinationSpec spec;
  spec.address = end_of(1).address;
  spec.port = end_of(1).port;
  const auto at = [](int seconds) { return Timestamp{std::chrono::seconds(seconds)}; };
  auto& busy = table.create(key_of(1), spec);
  auto& draining = table.create(key_of(2), spec);
  auto& idle = table.create(key_of(3), spec);
  busy.references = 1;
  draining.drains = true;
  for (auto* destination : {&busy, &draining, &idle}) table.discard(*destination, at(0));
  (void)table.sweep(at(119));
  (void)table.sweep(at(121));
  EXPECT_NE(table.revive(key_of(1), end_of(1)), nullptr);
  EXPECT_NE(table.revive(key_of(2), end_of(1)), nullptr);
  EXPECT_EQ(table.revive(key_of(3), end_of(1)), nullptr);
}

}  // namespace
}  // namespace lb::engine
