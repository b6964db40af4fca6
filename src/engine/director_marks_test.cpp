// SPDX-License-Identifier: Apache-2.0
// Firewall marks through the whole director: who gets one, what is steered for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::MarkRule;

constexpr std::uint32_t kMark = 7;

model::ServiceKey mark_key(net::Family family = net::Family::kIpv4) {
  return {.family = family,
          .fwmark = kMark,
          .address = net::IpAddress::any(family),
          .port = net::Port{}};
}

// One service for the ports 80 and 443 of the virtual address.
MarkRule web_rule(const net::IpAddress& address) {
  MarkRule rule;
  rule.family = address.family();
  rule.source = MarkRule::any(rule.family);
  rule.destination = {.address = address, .length = static_cast<std::uint8_t>(address.size() * 8)};
  rule.protocol = 6;
  rule.destination_ports.add({80, 80});
  rule.destination_ports.add({443, 443});
  rule.value = kMark;
  return rule;
}

// Holds what is steered.
class Listener : public SteeringListener {
 public:
  void endpoint_added(const SteeredEndpoint& endpoint) noexcept override {
    EXPECT_EQ(std::count(ends_.begin(), ends_.end(), endpoint), 0);
    ends_.push_back(endpoint);
  }
  void endpoint_removed(const SteeredEndpoint& endpoint) noexcept override {
    EXPECT_EQ(std::erase(ends_, endpoint), 1U);
  }
  /// Addresses that all packets of are steered to.
  [[nodiscard]] std::vector<std::string> whole() const {
    std::vector<std::string> result;
    for (const auto& endpoint : ends_) {
      if (endpoint.protocol != net::Protocol::kIp) continue;
      EXPECT_EQ(endpoint.side, SteeredEndpoint::Side::kVirtual);
      EXPECT_EQ(endpoint.end.port, net::Port{});
      result.push_back(endpoint.end.address.to_text());
    }
    return result;
  }

 private:
  std::vector<SteeredEndpoint> ends_;
};

class DirectorMarks : public testing::Test {
 protected:
  DirectorMarks() {
    director.set_steering_listener(&listener);
    lab.pass(std::chrono::seconds(1));
  }
  ~DirectorMarks() override { director.set_steering_listener(nullptr); }

  void serve(net::Family family = net::Family::kIpv4) {
    model::ServiceSpec spec;
    spec.key = mark_key(family);
    spec.scheduler = "rr";
    if (family == net::Family::kIpv6) spec.netmask = 128;
    ASSERT_TRUE(director.add_service(spec));
    const auto real = family == net::Family::kIpv4 ? server(1, 0) : server6(1, 0);
    ASSERT_TRUE(director.add_destination(spec.key, to(real)));
  }

  Listener listener;
  Lab lab;
  Director& director = lab.director;
};

TEST_F(DirectorMarks, OneServiceForTwoPorts) {
  serve();
  ASSERT_TRUE(director.add_mark_rule(web_rule(vip().address)));
  EXPECT_EQ(lab.process(tcp(client(1), vip(80), kSyn)).kind, Verdict::Kind::kSend);
  EXPECT_EQ(lab.process(tcp(client(2), vip(443), kSyn)).kind, Verdict::Kind::kSend);
  EXPECT_EQ(lab.process(tcp(client(3), vip(22), kSyn)).kind, Verdict::Kind::kHost);
  EXPECT_EQ(lab.process(udp(client(4), vip(80))).kind, Verdict::Kind::kHost);
  const auto connections = lab.connections();
  ASSERT_EQ(connections.size(), 2U);
  for (const auto& connection : connections) {
    // The port stays: the server's own is 0.
    EXPECT_EQ(connection.destination, server(1, connection.virtual_end.port.to_host()));
  }
  EXPECT_EQ(director.mark_rule(1)->packets, 2U);
}

TEST_F(DirectorMarks, Ipv6) {
  serve(net::Family::kIpv6);
  ASSERT_TRUE(director.add_mark_rule(web_rule(vip6().address)));
  EXPECT_EQ(lab.process(tcp(client6(1), vip6(443), kSyn)).kind, Verdict::Kind::kSend);
  EXPECT_EQ(lab.process(tcp(client6(2), vip6(444), kSyn)).kind, Verdict::Kind::kHost);
}

TEST_F(DirectorMarks, OnlyThePacketThatOpensAConnectionIsLookedAt) {
  serve();
  ASSERT_TRUE(director.add_mark_rule(web_rule(vip().address)));
  lab.process(tcp(client(), vip(), kSyn));
  for (int i = 0; i < 5; ++i) lab.process(tcp(client(), vip(), kAck, 100));
  EXPECT_EQ(director.mark_rule(1)->packets, 1U);
  // Nor is one that cannot open any.
  lab.process(tcp(client(2), vip(), kAck));
  EXPECT_EQ(director.mark_rule(1)->packets, 1U);
  // A connection goes on without its rule.
  director.flush_mark_rules();
  EXPECT_EQ(lab.process(tcp(client(), vip(), kAck)).kind, Verdict::Kind::kSend);
  EXPECT_EQ(lab.process(tcp(client(3), vip(), kSyn)).kind, Verdict::Kind::kHost);
}

TEST_F(DirectorMarks, AMarkThatAPacketBringsStays) {
  serve();
  auto rule = web_rule(vip().address);
  rule.value = 9;
  ASSERT_TRUE(director.add_mark_rule(rule));
  EXPECT_EQ(lab.process(tcp(client(), vip(), kSyn), kOutside, kMark).kind, Verdict::Kind::kSend);
  EXPECT_EQ(director.mark_rule(1)->packets, 0U);
  auto packet = lab.buffer.receive(tcp(client(2), vip(), kSyn));
  EXPECT_EQ(director.mark_of(packet, kOutside), 9U);
  packet.mark = 4;
  EXPECT_EQ(director.mark_of(packet, kOutside), 4U);
}

TEST_F(DirectorMarks, TheInterfaceOfArrivalCounts) {
  serve();
  auto rule = web_rule(vip().address);
  rule.interface = "outside";
  ASSERT_TRUE(director.add_mark_rule(rule));
  EXPECT_EQ(lab.process(tcp(server(9, 1), vip(), kSyn), kInside).kind, Verdict::Kind::kHost);
  EXPECT_EQ(lab.process(tcp(client(), vip(), kSyn), kOutside).kind, Verdict::Kind::kSend);
}

TEST_F(DirectorMarks, ServicesByAddressWorkBesideAndWithoutMarks) {
  ASSERT_TRUE(director.add_mark_rule(web_rule(vip().address)));
  ASSERT_TRUE(director.add_service(service_at(vip())));
  ASSERT_TRUE(director.add_destination(key_of(vip()), to(server(2))));
  EXPECT_EQ(lab.process(tcp(client(1), vip(), kSyn)).kind, Verdict::Kind::kSend);
  EXPECT_EQ(director.mark_rule(1)->packets, 0U) << "no mark service: nobody asks";
  EXPECT_THAT(listener.whole(), testing::IsEmpty());
  serve();  // a mark goes before an address
  EXPECT_EQ(lab.process(tcp(client(2), vip(), kSyn)).kind, Verdict::Kind::kSend);
  EXPECT_EQ(director.mark_rule(1)->packets, 1U);
  const auto connections = lab.connections();
  EXPECT_EQ(
      std::count_if(connections.begin(), connections.end(),
                    [](const auto& one) { return one.destination.address == server(1).address; }),
      1);
}

TEST_F(DirectorMarks, SteersTheAddressesOfTheRules) {
  using testing::ElementsAre;
  using testing::UnorderedElementsAre;
  serve();
  EXPECT_THAT(listener.whole(), testing::IsEmpty());
  ASSERT_TRUE(director.add_mark_rule(web_rule(vip().address)));
  EXPECT_THAT(listener.whole(), ElementsAre("192.0.2.10"));
  ASSERT_TRUE(director.add_mark_rule(web_rule(ip("203.0.113.1"))));  // not ours: not steered
  auto rule = web_rule(vip().address);
  rule.destination = {.address = ip("192.0.2.8"), .length = 30};
  ASSERT_TRUE(director.add_mark_rule(rule));
  EXPECT_THAT(listener.whole(), UnorderedElementsAre("192.0.2.10", "192.0.2.11"));
  rule.destination = {.address = ip("192.0.2.10"), .length = 32, .is_negated = true};
  ASSERT_TRUE(director.add_mark_rule(rule));  // any of ours but that one
  EXPECT_THAT(listener.whole(),
              UnorderedElementsAre("192.0.2.10", "192.0.2.11", "192.0.2.1", "10.0.0.1"));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(director.delete_mark_rule(3));
  lab.pass(std::chrono::seconds(2));
  EXPECT_THAT(listener.whole(), ElementsAre("192.0.2.10"));
  director.flush_mark_rules();
  EXPECT_THAT(listener.whole(), testing::IsEmpty());
}

TEST_F(DirectorMarks, SteeringFollowsAddressesAndServices) {
  using testing::ElementsAre;
  ASSERT_TRUE(director.add_mark_rule(web_rule(ip("192.0.2.77"))));
  serve();
  lab.network.add_address(kOutside, ip("192.0.2.77"), 32);
  lab.pass(std::chrono::seconds(2));
  EXPECT_THAT(listener.whole(), ElementsAre("192.0.2.77"));
  ASSERT_TRUE(director.delete_service(mark_key()));
  lab.pass(std::chrono::seconds(2));
  EXPECT_THAT(listener.whole(), testing::IsEmpty());
  serve();
  EXPECT_THAT(listener.whole(), ElementsAre("192.0.2.77"));
  lab.network.remove_address(kOutside, ip("192.0.2.77"));
  lab.pass(std::chrono::seconds(2));
  EXPECT_THAT(listener.whole(), testing::IsEmpty());
}

TEST_F(DirectorMarks, ARuleAddedWhileTheServiceIsAwayIsSteeredWhenItComesBack) {
  serve();
  ASSERT_TRUE(director.delete_service(mark_key()));
  ASSERT_TRUE(director.add_mark_rule(web_rule(vip().address)));
  serve();
  EXPECT_THAT(listener.whole(), testing::ElementsAre("192.0.2.10"));
}

}  // namespace
}  // namespace lb::engine
