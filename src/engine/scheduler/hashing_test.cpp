// SPDX-License-Identifier: Apache-2.0
// dh, sh and mh against slow models, and what users rely on.
#include "engine/scheduler/hashing.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "engine/scheduler/fixture.hpp"
#include "engine/siphash.hpp"
#include "model/service.hpp"

namespace lb::engine {
namespace {

using testing::address;
using testing::TestService;

constexpr std::uint32_t kFallback = model::kServiceSched1;
constexpr std::uint32_t kWithPort = model::kServiceSched2;
constexpr std::uint32_t kFirstClient = 0xc6336400;  // 198.51.100.0

net::Port port(std::uint16_t number) { return net::Port::from_host(number); }

std::vector<Destination*> picks(TestService& service, std::uint32_t count) {
  std::vector<Destination*> result;
  for (std::uint32_t i = 0; i < count; ++i) {
    result.push_back(service.pick_for_client(kFirstClient + i * 7919));
  }
  return result;
}

TEST(FoldedAddress, XorsTheWordsOfIpv6) {
  EXPECT_EQ(folded(address("198.51.100.7"), net::Family::kIpv4), 0xc6336407U);
  EXPECT_EQ(folded(address("2001:db8::1:2:3"), net::Family::kIpv6),
            0x20010db8U ^ 0x00000000U ^ 0x00000001U ^ 0x00020003U);
  // A server of the other family than its service (tunnels).
  EXPECT_EQ(folded(address("2001:db8::1"), net::Family::kIpv4), 0x20010db8U);
  EXPECT_EQ(folded(address("10.0.0.1"), net::Family::kIpv6), 0x0a000001U);
}

TEST(DestinationHash, IgnoresClientsAndWeights) {
  TestService service("dh");
  for (std::uint32_t i = 1; i <= 5; ++i) service.add(i, static_cast<std::int32_t>(i));
  std::map<Destination*, int> places;
  for (std::uint32_t i = 0; i < 4096; ++i) {
    Destination* first = service.pick_for_virtual(0xc0000200 + i);
    ++places[first];
    service.input.client = net::IpAddress::v4(net::Be32::from_host(i));
    ASSERT_EQ(service.pick(), first);
  }
  for (const auto& [destination, count] : places) EXPECT_NEAR(count, 4096 / 5, 100);
}

TEST(DestinationHash, RefusesWhatBelongsToAnUnusableOne) {
  TestService service("dh", kFallback);
  Destination& a = service.add(1, 1);
  service.add(2, 1);
  std::uint32_t of_a = 0xc0000200;
  while (service.pick_for_virtual(of_a) != &a) ++of_a;
  service.edit(a, 0);
  EXPECT_EQ(service.pick_for_virtual(of_a), nullptr);
  service.edit(a, 5);
  EXPECT_EQ(service.pick_for_virtual(of_a), &a);
}

/// The 256 places written out.
std::vector<Destination*> source_hash_table(const TestService& service) {
  std::vector<Destination*> table;
  while (table.size() < 256) {
    for (Destination* destination : service.list()) {
      table.insert(table.end(), static_cast<std::size_t>(std::max(destination->weight(), 1)),
                   destination);
    }
  }
  table.resize(256);
  return table;
}

TEST(SourceHash, AgreesWithTable) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    TestService service("sh", round % 2 == 0 ? kWithPort : 0);
    const auto count = 1 + random() % 9;
    for (std::uint32_t i = 1; i <= count; ++i) {
      service.add(i, static_cast<std::int32_t>(random() % 40));
    }
    service.edit(*service.list()[random() % service.list().size()], 3);
    const auto table = source_hash_table(service);
    for (int i = 0; i < 50; ++i) {
      service.input.client =
          net::IpAddress::v4(net::Be32::from_host(static_cast<std::uint32_t>(random())));
      service.input.client_port = port(static_cast<std::uint16_t>(random()));
      std::uint32_t key = service.input.client.word(0).to_host();
      if (round % 2 == 0) key += service.input.client_port.to_host();
      Destination* wanted = table[std::uint64_t{key * 0x61c88647U} >> 24];
      ASSERT_EQ(service.pick(), wanted->is_usable() ? wanted : nullptr);
    }
  }
}

class ClientHash : public ::testing::TestWithParam<const char*> {};

TEST_P(ClientHash, PortCountsOnlyWithItsFlagAndWherePortsAre) {
  for (const bool with_port : {false, true}) {
    for (const auto protocol : {net::Protocol::kTcp, net::Protocol::kUdp, net::Protocol::kSctp,
                                net::Protocol::kEsp, net::Protocol::kAh}) {
      TestService service(GetParam(), with_port ? kWithPort : 0);
      for (std::uint32_t i = 1; i <= 10; ++i) service.add(i, 1);
      service.input.protocol = protocol;
      service.input.client = address("198.51.100.7");
      std::map<Destination*, int> chosen;
      for (std::uint16_t i = 1; i <= 200; ++i) {
        service.input.client_port = port(i);
        ++chosen[service.pick()];
      }
      const bool counts = with_port && has_ports(protocol);
      EXPECT_EQ(chosen.size(), counts ? 10U : 1U) << static_cast<int>(protocol);
    }
  }
}

TEST_P(ClientHash, FallbackMovesOnlyTheClientsOfTheLost) {
  TestService service(GetParam(), kFallback);
  for (std::uint32_t i = 1; i <= 5; ++i) service.add(i, 2);
  const auto before = picks(service, 500);
  Destination* lost = service.list()[2];
  lost->is_overloaded = true;
  const auto after = picks(service, 500);
  for (std::size_t i = 0; i < before.size(); ++i) {
    ASSERT_NE(after[i], nullptr);
    ASSERT_NE(after[i], lost);
    if (before[i] != lost) {
      ASSERT_EQ(after[i], before[i]);
    }
  }
  lost->is_overloaded = false;
  EXPECT_EQ(picks(service, 500), before);
}

TEST_P(ClientHash, WithoutFallbackClientsOfTheLostAreRefused) {
  TestService service(GetParam());
  for (std::uint32_t i = 1; i <= 5; ++i) service.add(i, 2);
  const auto before = picks(service, 500);
  Destination* lost = service.list()[2];
  lost->is_overloaded = true;
  const auto after = picks(service, 500);
  for (std::size_t i = 0; i < before.size(); ++i) {
    ASSERT_EQ(after[i], before[i] == lost ? nullptr : before[i]);
  }
}

TEST_P(ClientHash, SharesFollowWeights) {
  TestService service(GetParam());
  Destination& light = service.add(1, 10);
  Destination& heavy = service.add(2, 30);
  std::map<Destination*, int> chosen;
  for (Destination* destination : picks(service, 8000)) ++chosen[destination];
  // sh fills its 256 places by 30 and 10, mh its 4093 by 3 and 1.
  EXPECT_NEAR(chosen[&light], 2000, 300);
  EXPECT_NEAR(chosen[&heavy], 6000, 300);
}

INSTANTIATE_TEST_SUITE_P(All, ClientHash, ::testing::Values("sh", "mh"),
                         [](const auto& parameter) { return std::string(parameter.param); });

constexpr std::uint32_t kPlaces = 4093;

std::uint32_t maglev_hash(std::uint32_t value, std::uint64_t key) {
  const std::array<std::uint8_t, 4> bytes{
      static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8),
      static_cast<std::uint8_t>(value >> 16), static_cast<std::uint8_t>(value >> 24)};
  return static_cast<std::uint32_t>(siphash<SipHash13>({key, key}, bytes));
}

/// The table by the letter of the paper: whole preference lists first, then rounds.
std::vector<Destination*> maglev_table(const TestService& service) {
  int divisor = 0;
  int greatest = 0;
  for (const Destination* destination : service.list()) {
    divisor = std::gcd(divisor, destination->last_weight);
    greatest = std::max(greatest, destination->last_weight);
  }
  std::vector<Destination*> table(kPlaces);
  if (divisor == 0) return table;
  int shift = 0;
  while ((greatest / divisor) >> shift >= 64) ++shift;
  std::vector<std::vector<std::uint32_t>> preferences;
  for (const Destination* destination : service.list()) {
    const std::uint32_t key =
        destination->spec.address.word(0).to_host() + destination->spec.port.to_host();
    const std::uint32_t offset = maglev_hash(key, 2654435761) % kPlaces;
    const std::uint32_t skip = maglev_hash(key, 2654446892) % (kPlaces - 1) + 1;
    auto& list = preferences.emplace_back();
    for (std::uint32_t j = 0; j < kPlaces; ++j) list.push_back((offset + j * skip) % kPlaces);
  }
  std::vector<std::size_t> next(preferences.size());
  for (std::size_t filled = 0; filled < kPlaces;) {
    for (std::size_t i = 0; i < preferences.size(); ++i) {
      const int weight = service.list()[i]->last_weight;
      if (weight == 0) continue;
      for (int turn = std::max((weight / divisor) >> shift, 1); turn > 0 && filled < kPlaces;
           --turn) {
        while (table[preferences[i][next[i]]] != nullptr) ++next[i];
        table[preferences[i][next[i]]] = service.list()[i];
        ++filled;
      }
    }
  }
  return table;
}

TEST(MaglevHash, AgreesWithPreferenceLists) {
  std::mt19937 random(5);
  const std::vector<std::int32_t> scales{1, 10, 100, 20000};
  for (int round = 0; round < 40; ++round) {
    TestService service("mh");
    const std::int32_t scale = scales[random() % scales.size()];
    const auto count = 2 + random() % 12;
    for (std::uint32_t i = 1; i <= count; ++i) {
      service.add(i, static_cast<std::int32_t>(random() % 9) * scale +
                         static_cast<std::int32_t>(random() % 2));
    }
    service.edit(*service.list()[0], 0);
    service.remove(*service.list()[1]);
    const auto table = maglev_table(service);
    for (int i = 0; i < 300; ++i) {
      const auto client = static_cast<std::uint32_t>(random());
      Destination* wanted = table[maglev_hash(client, 2654435761) % kPlaces];
      const bool refused = wanted == nullptr || !wanted->is_usable();
      ASSERT_EQ(service.pick_for_client(client), refused ? nullptr : wanted);
    }
  }
}

TEST(MaglevHash, LittleMovesWhenOneComesOrGoes) {
  TestService service("mh");
  for (std::uint32_t i = 1; i <= 20; ++i) service.add(i, 1);
  const auto before = picks(service, 4000);
  const auto moved = [&before](const std::vector<Destination*>& after, const Destination* which) {
    int count = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      count += before[i] != after[i] && before[i] != which && after[i] != which ? 1 : 0;
    }
    return count;
  };
  Destination& added = service.add(21, 1);
  EXPECT_LT(moved(picks(service, 4000), &added), 400);
  service.remove(added);
  EXPECT_EQ(picks(service, 4000), before);
  Destination* removed = service.list()[7];
  service.remove(*removed);
  EXPECT_LT(moved(picks(service, 4000), removed), 400);
}

TEST(MaglevHash, WeightZeroMovesNobodyElse) {
  TestService service("mh");
  for (std::uint32_t i = 1; i <= 8; ++i) service.add(i, static_cast<std::int32_t>(i));
  const auto before = picks(service, 1000);
  Destination* quiescent = service.list()[3];
  service.edit(*quiescent, 0);
  const auto after = picks(service, 1000);
  for (std::size_t i = 0; i < before.size(); ++i) {
    ASSERT_EQ(after[i], before[i] == quiescent ? nullptr : before[i]);
  }
}

TEST(MaglevHash, RefusesMoreDestinationsThanPlaces) {
  TestService service("rr");
  for (std::uint32_t i = 1; i <= kPlaces; ++i) service.add(i, 1);
  service.use("mh");
  EXPECT_TRUE(service.is_bound);
  EXPECT_NE(service.pick(), nullptr);
  Destination& one_more = service.add(kPlaces + 1, 1);
  EXPECT_NE(service.pick(), nullptr);
  // The table stays as it was, but never shows a removed destination.
  Destination* removed = service.pick_for_client(kFirstClient);
  service.add(kPlaces + 2, 1);
  service.destroy(*removed);
  EXPECT_EQ(service.pick_for_client(kFirstClient), nullptr);
  service.destroy(one_more);
  EXPECT_NE(service.pick_for_client(kFirstClient), nullptr);
  service.add(kPlaces + 3, 1);
  const auto scheduler = make_scheduler("mh", 1);
  const auto bound = scheduler->bind(service.context);
  ASSERT_FALSE(bound.has_value());
  EXPECT_EQ(bound.error().code, EINVAL);
  EXPECT_EQ(scheduler->schedule(service.context, service.input), nullptr);
}

}  // namespace
}  // namespace lb::engine
