// SPDX-License-Identifier: Apache-2.0
// A host for tests of checks: each makes a fault that must be found, and takes it away.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "doctor/check.hpp"
#include "host/device.hpp"

namespace lb::doctor {

inline net::IpAddress ip(const char* text) { return *net::IpAddress::from_text(text); }
inline net::Mac mac(const char* text) { return *net::Mac::from_text(text); }

inline const auto kOwnMac = mac("02:00:00:00:00:01");
inline const auto kServerMac = mac("02:00:00:00:00:11");

/// A host on which nothing is wrong, with a change for each fault.
class ChecksTest : public ::testing::Test {
 protected:
  ChecksTest() {
    facts_.links = {{.index = 1, .name = "lo", .mtu = 65536, .is_up = true, .is_loopback = true},
                    {.index = 2,
                     .name = "eth0",
                     .mac = kOwnMac,
                     .mtu = 1500,
                     .receive_queues = 2,
                     .is_up = true,
                     .is_ethernet = true},
                    {.index = 3, .name = "eth1", .mtu = 1600, .is_up = true, .is_ethernet = true}};
    facts_.addresses = {{.link = 1, .address = ip("127.0.0.1"), .length = 8},
                        {.link = 2, .address = ip("192.0.2.1"), .length = 24}};
    facts_.drivers = {{2, "fast"}};
    facts_.kernel = 6001;
    facts_.processors = 4;
    facts_.sysctl = [this](const std::string& path) -> std::optional<int> {
      const auto found = values_.find(path);
      return found == values_.end() ? std::nullopt : std::optional(found->second);
    };
    values_ = {{"net/ipv4/ip_forward", 1},
               {"net/ipv6/conf/all/forwarding", 1},
               {"net/ipv4/conf/all/arp_ignore", 1},
               {"net/ipv4/conf/all/arp_announce", 2}};
  }

  void be_director() {
    facts_.addresses.push_back({.link = 2, .address = ip("192.0.2.10"), .length = 32});
    DirectorFacts director;
    director.status.director.connections = 10;
    director.status.director.connection_capacity = 1000;
    director.status.director.health = "ok";
    director.status.interfaces = {
        {.name = "eth0", .xdp_mode = "native", .note = {}, .counters = {}},
        {.name = "eth1", .xdp_mode = "native", .note = {}, .counters = {}}};
    Service service;
    service.info.spec.key = {.address = ip("192.0.2.10"), .port = net::Port::from_host(80)};
    service.is_local = true;
    service.servers = {server()};
    director.services = {service};
    facts_.director = director;
  }

  static Server server() {
    Server server;
    server.info.spec.address = ip("10.0.0.11");
    server.info.spec.method = model::ForwardingMethod::kMasquerade;
    server.route = host::Route{.destination = ip("10.0.0.11"), .length = 32, .link = 3};
    server.next_hop_answers = std::vector{kServerMac};
    return server;
  }

  void be_server(realserver::Mode mode) {
    if (mode != realserver::Mode::kNat) {
      facts_.addresses.push_back({.link = 1, .address = ip("192.0.2.10"), .length = 32});
    }
    facts_.routes = {{.destination = net::IpAddress::any(net::Family::kIpv4),
                      .length = 0,
                      .link = 2,
                      .gateway = ip("192.0.2.254")}};
    facts_.server = ServerFacts{
        .mode = mode, .vips = {ip("192.0.2.10")}, .interfaces = {"eth0"}, .strips_tunnels = true};
  }

  [[nodiscard]] Service& service() { return facts_.director->services[0]; }
  [[nodiscard]] Server& first() { return service().servers[0]; }

  /// "severity check" of all findings.
  [[nodiscard]] std::vector<std::string> found() const {
    std::vector<std::string> all;
    for (const auto& one : examine(facts_)) {
      EXPECT_FALSE(one.what.empty());
      EXPECT_FALSE(one.remedy.empty());
      all.push_back(std::string(name_of(one.severity)) + ' ' + one.check);
    }
    return all;
  }
  [[nodiscard]] std::string words() const {
    std::string all;
    for (const auto& one : examine(facts_)) all += one.what + " | " + one.remedy + '\n';
    return all;
  }

  std::map<std::string, int> values_;
  Facts facts_;
};

}  // namespace lb::doctor
