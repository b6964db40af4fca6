// SPDX-License-Identifier: Apache-2.0
// Each check: the fault is made and found, and taken away and not reported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "doctor/check.hpp"
#include "host/device.hpp"

namespace lb::doctor {
namespace {

using model::ForwardingMethod;
using realserver::Mode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

net::IpAddress ip(const char* text) { return *net::IpAddress::from_text(text); }
net::Mac mac(const char* text) { return *net::Mac::from_text(text); }

const auto kOwnMac = mac("02:00:00:00:00:01");
const auto kServerMac = mac("02:00:00:00:00:11");

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
    server.info.spec.method = ForwardingMethod::kMasquerade;
    server.route = host::Route{.destination = ip("10.0.0.11"), .length = 32, .link = 3};
    server.next_hop_answers = std::vector{kServerMac};
    return server;
  }

  void be_server(Mode mode) {
    if (mode != Mode::kNat) {
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

TEST_F(ChecksTest, VipMissingOnTheDirector) {
  be_director();
  service().is_local = false;
  EXPECT_THAT(found(), ElementsAre("error vip-missing"));
  EXPECT_THAT(words(), HasSubstr("ip address add 192.0.2.10/32 dev"));
  service().info.spec.key.fwmark = 7;  // marks name no address
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, VipMissingOnTheServer) {
  be_server(Mode::kDirect);
  facts_.addresses.pop_back();
  EXPECT_THAT(found(), ElementsAre("error vip-missing"));
}

TEST_F(ChecksTest, VipOnALinkOfTheServer) {
  be_server(Mode::kDirect);
  facts_.addresses.push_back({.link = 2, .address = ip("192.0.2.10"), .length = 24});
  EXPECT_THAT(found(), ElementsAre("error vip-missing"));
  EXPECT_THAT(words(), HasSubstr("ip address del 192.0.2.10/24 dev eth0"));
}

TEST_F(ChecksTest, VipAnsweredByARealServer) {
  be_director();
  facts_.answers = {{.address = ip("192.0.2.10"), .link = 2, .macs = {kOwnMac}}};
  EXPECT_THAT(found(), IsEmpty());  // another interface of this host
  facts_.answers[0].macs.push_back(kServerMac);
  EXPECT_THAT(found(), ElementsAre("error vip-answered"));
  EXPECT_THAT(words(), HasSubstr("02:00:00:00:00:11 (real server 10.0.0.11) answers ARP"));
}

TEST_F(ChecksTest, VipAnsweredByTwoAsAServerSeesIt) {
  be_server(Mode::kDirect);
  facts_.answers = {{.address = ip("192.0.2.10"), .link = 2, .macs = {kServerMac}}};
  EXPECT_THAT(found(), IsEmpty());  // the director
  facts_.answers[0].macs.push_back(mac("02:00:00:00:00:22"));
  EXPECT_THAT(found(), ElementsAre("error vip-answered"));
}

TEST_F(ChecksTest, ArpIgnore) {
  be_server(Mode::kDirect);
  for (const int value : {0, 3}) {
    values_["net/ipv4/conf/all/arp_ignore"] = value;
    EXPECT_THAT(found(), ElementsAre("error arp-ignore", "error arp-ignore"));
  }
  for (const int value : {1, 2, 8}) {
    values_["net/ipv4/conf/all/arp_ignore"] = value;
    EXPECT_THAT(found(), IsEmpty());
  }
  values_["net/ipv4/conf/all/arp_ignore"] = 0;
  facts_.server->vips = {};
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, ArpAnnounce) {
  be_server(Mode::kDirect);
  values_["net/ipv4/conf/all/arp_announce"] = 1;
  values_["net/ipv4/conf/eth1/arp_announce"] = 2;
  EXPECT_THAT(found(), ElementsAre("warning arp-announce"));
}

TEST_F(ChecksTest, ServerUnresolved) {
  be_director();
  first().next_hop_answers = std::vector<net::Mac>();
  EXPECT_THAT(found(), ElementsAre("error server-unresolved"));
  first().info.spec.weight = 0;  // it is out of use, and the service without another
  EXPECT_THAT(found(), ElementsAre("warning no-server"));
  first() = server();
  first().next_hop_answers.reset();  // a link that can't be asked
  EXPECT_THAT(found(), IsEmpty());
  first().route.reset();
  EXPECT_THAT(found(), ElementsAre("error server-unresolved"));
  EXPECT_THAT(words(), HasSubstr("no route to real server 10.0.0.11"));
}

TEST_F(ChecksTest, DirectServerBehindARouter) {
  be_director();
  first().route->gateway = ip("10.0.0.254");
  EXPECT_THAT(found(), IsEmpty());  // NAT may
  first().info.spec.method = ForwardingMethod::kDirectRoute;
  EXPECT_THAT(found(), ElementsAre("error dr-other-subnet"));
}

TEST_F(ChecksTest, NatAnswersDoNotReturn) {
  be_director();
  auto& counted = first().info.statistics.counters;
  counted.packets_in = 9;
  EXPECT_THAT(found(), IsEmpty());
  counted.packets_in = 10;
  EXPECT_THAT(found(), ElementsAre("error nat-return-path"));
  counted.packets_out = 1;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, DefaultRoute) {
  be_server(Mode::kNat);
  facts_.server->director = ip("192.0.2.1");
  EXPECT_THAT(found(), ElementsAre("error default-route"));
  facts_.routes[0].gateway = ip("192.0.2.1");
  EXPECT_THAT(found(), IsEmpty());
  facts_.addresses.push_back({.link = 1, .address = ip("192.0.2.10"), .length = 32});
  facts_.server->mode = Mode::kDirect;
  EXPECT_THAT(found(), ElementsAre("error default-route"));
  facts_.routes.clear();
  EXPECT_THAT(found(), ElementsAre("warning default-route"));
}

TEST_F(ChecksTest, RpFilter) {
  be_server(Mode::kDirect);
  values_["net/ipv4/conf/all/rp_filter"] = 1;
  EXPECT_THAT(found(), IsEmpty());  // the way to clients is the same interface
  facts_.routes[0].link = 3;
  EXPECT_THAT(found(), ElementsAre("error rp-filter"));
  values_["net/ipv4/conf/eth0/rp_filter"] = 2;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, IpForward) {
  be_director();
  values_["net/ipv4/ip_forward"] = 0;
  EXPECT_THAT(found(), ElementsAre("warning ip-forward"));
  first().info.spec.method = ForwardingMethod::kDirectRoute;
  EXPECT_THAT(found(), IsEmpty());
  first() = server();
  values_["net/ipv4/ip_forward"] = 1;
  values_["net/ipv6/conf/all/forwarding"] = 0;
  EXPECT_THAT(found(), IsEmpty());  // no server has IPv6
  first().info.spec.address = ip("2001:db8::11");
  EXPECT_THAT(found(), ElementsAre("warning ip-forward"));
}

TEST_F(ChecksTest, RedirectsOfTheDirector) {
  be_director();
  values_["net/ipv4/conf/all/send_redirects"] = 1;
  EXPECT_THAT(found(), IsEmpty());  // two arms
  first().route->link = 2;
  EXPECT_THAT(found(), ElementsAre("warning redirects"));
  values_["net/ipv4/conf/all/send_redirects"] = 0;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, RedirectsOfTheServer) {
  be_server(Mode::kNat);
  values_["net/ipv4/conf/eth0/accept_redirects"] = 1;
  EXPECT_THAT(found(), ElementsAre("warning redirects"));
}

TEST_F(ChecksTest, TunnelMtu) {
  be_director();
  first().info.spec.method = ForwardingMethod::kTunnel;
  EXPECT_THAT(found(), IsEmpty());  // 1600 on that link
  facts_.links[2].mtu = 1520;
  EXPECT_THAT(found(), IsEmpty());
  facts_.links[2].mtu = 1519;
  EXPECT_THAT(found(), ElementsAre("warning tunnel-mtu"));
  EXPECT_THAT(words(), HasSubstr("holds 1499 bytes (MTU 1519 less 20 of headers)"));
  EXPECT_THAT(words(), HasSubstr("to 1520, or have the server tell segments of 1459"));
  facts_.links[2].mtu = 1520;
  first().info.spec.tunnel.type = model::TunnelType::kGue;
  EXPECT_THAT(found(), ElementsAre("warning tunnel-mtu"));
  facts_.links[2].mtu = 1532;
  EXPECT_THAT(found(), IsEmpty());
  first().route->mtu = 1500;  // of the path
  EXPECT_THAT(found(), ElementsAre("warning tunnel-mtu"));
}

TEST_F(ChecksTest, TunnelSegmentsOfTheServer) {
  be_server(Mode::kTunnel);
  EXPECT_THAT(found(), ElementsAre("note tunnel-mtu"));
  facts_.routes[0].advmss = 1400;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, Decapsulation) {
  be_server(Mode::kTunnel);
  facts_.routes[0].advmss = 1400;
  facts_.server->strips_tunnels = false;
  EXPECT_THAT(found(), ElementsAre("error decapsulation"));
  facts_.links.push_back({.index = 9, .name = "tunl0", .kind = "ipip", .mtu = 1480, .is_up = true});
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, NotServed) {
  be_director();
  facts_.director->status.interfaces.pop_back();
  EXPECT_THAT(found(), ElementsAre("error not-served"));  // the NAT server's side
  first().info.spec.method = ForwardingMethod::kDirectRoute;
  EXPECT_THAT(found(), IsEmpty());
  facts_.director->status.interfaces[0].xdp_mode = "none";
  EXPECT_THAT(found(), ElementsAre("error not-served"));
  facts_.director->status.interfaces[0] = {
      .name = "eth1", .xdp_mode = "native", .note = {}, .counters = {}};
  EXPECT_THAT(found(), ElementsAre("warning not-served"));  // the clients' side
}

TEST_F(ChecksTest, GenericXdpAndWhatTheDriverLacks) {
  be_director();
  facts_.director->status.interfaces[0].xdp_mode = "generic";
  EXPECT_THAT(found(), ElementsAre("warning xdp-generic"));
  EXPECT_THAT(words(), HasSubstr("the driver (fast) has no native XDP or refused it"));
  facts_.xdp_abilities[2] = 0;
  EXPECT_THAT(words(), HasSubstr("the driver (fast) has no native XDP |"));
  facts_.xdp_abilities[2] = host::kXdpBasic;
  EXPECT_THAT(words(), HasSubstr("can't redirect to AF_XDP"));
  facts_.xdp_abilities[2] = host::kXdpBasic | host::kXdpRedirect;
  EXPECT_THAT(words(), HasSubstr("so xdp_mode says generic or the driver refused"));
}

TEST_F(ChecksTest, VethOffload) {
  be_director();
  facts_.director->status.interfaces[0].xdp_mode = "generic";
  facts_.links[1].kind = "veth";
  EXPECT_THAT(found(), ElementsAre("warning xdp-generic", "warning veth-offload"));
  facts_.kernel = 6009;
  EXPECT_THAT(found(), ElementsAre("warning xdp-generic"));
  facts_.kernel = 6001;
  facts_.links[1].kind = "";
  EXPECT_THAT(found(), ElementsAre("warning xdp-generic"));
}

TEST_F(ChecksTest, UnfinishedChecksums) {
  be_director();
  auto& counters = facts_.director->status.interfaces[0].counters;
  counters = {{"unfinished_checksums", 999}};
  EXPECT_THAT(found(), IsEmpty());
  counters = {{"unfinished_checksums", 1000}};
  EXPECT_THAT(found(), ElementsAre("warning veth-offload"));
  EXPECT_THAT(words(), HasSubstr("eth0 is a veth whose peer left the checksums of 1000 frames"));
}

TEST_F(ChecksTest, OneProcessor) {
  be_director();
  auto& counters = facts_.director->status.director.counters;
  counters = {{"xdp_forwarded", 9999}, {"xdp_forwarded_by_busiest", 9999}};
  EXPECT_THAT(found(), IsEmpty());  // too few to tell
  counters = {{"xdp_forwarded", 20000}, {"xdp_forwarded_by_busiest", 18001}};
  EXPECT_THAT(found(), ElementsAre("warning one-queue"));
  counters[1].value = 18000;
  EXPECT_THAT(found(), IsEmpty());
  counters[1].value = 20000;
  facts_.processors = 1;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, OneQueue) {
  be_director();
  auto& counters = facts_.director->status.interfaces[0].counters;
  counters = {{"packets_received_queue_0", 9001}, {"packets_received_queue_1", 998}};
  EXPECT_THAT(found(), IsEmpty());  // too few to tell
  counters = {{"packets_received_queue_0", 9100}, {"packets_received_queue_1", 900}};
  EXPECT_THAT(found(), ElementsAre("warning one-queue"));
  counters = {{"packets_received_queue_0", 9000}, {"packets_received_queue_1", 1000}};
  EXPECT_THAT(found(), IsEmpty());
  counters.clear();
  facts_.links[1].receive_queues = 1;
  EXPECT_THAT(found(), ElementsAre("note one-queue"));
  facts_.processors = 1;
  EXPECT_THAT(found(), IsEmpty());
}

class SnatChecksTest : public ChecksTest {
 protected:
  /// Hosts 10.0.0.0/8 behind eth1 leave by eth0 as 192.0.2.20, an address of this host.
  SnatChecksTest() {
    be_director();
    facts_.addresses.push_back({.link = 2, .address = ip("192.0.2.20"), .length = 32});
    facts_.local_ports = {{.first = 32768, .last = 60999}};
    SnatFacts rule;
    rule.info.rule.name = "out";
    rule.info.rule.inside = {.address = ip("10.0.0.0"), .length = 8};
    EXPECT_TRUE(rule.info.rule.add({.first = ip("192.0.2.20"), .last = ip("192.0.2.21")}));
    rule.asks_for_inside = true;
    rule.inside = host::Route{.destination = ip("10.0.0.1"), .length = 32, .link = 3};
    rule.outside = host::Route{.destination = ip("0.0.0.1"), .length = 32, .link = 2};
    rule.answers = {{.address = ip("192.0.2.20"), .link = 2, .macs = {}}};
    facts_.director->snat = {rule};
  }
  SnatFacts& snat() { return facts_.director->snat[0]; }
};

TEST_F(SnatChecksTest, Pool) {
  EXPECT_THAT(found(), IsEmpty()) << words();
  snat().answers[0].macs = {kOwnMac};  // another interface of this host
  EXPECT_THAT(found(), IsEmpty());
  snat().answers[0].macs = {kServerMac};
  EXPECT_THAT(found(), ElementsAre("error snat-pool"));
  EXPECT_THAT(words(), HasSubstr("192.0.2.20 of the SNAT rule `out' is another host's"));
  snat().answers = {{.address = ip("192.0.2.21"), .link = 2, .macs = {}},
                    {.address = ip("192.0.2.22"), .link = 2, .macs = {}}};
  EXPECT_THAT(found(), ElementsAre("warning snat-pool"));
  EXPECT_THAT(words(), HasSubstr("ip address add 192.0.2.21/32 dev eth0"));
}

TEST_F(SnatChecksTest, Served) {
  snat().inside.reset();
  EXPECT_THAT(found(), ElementsAre("error snat-served"));
  EXPECT_THAT(words(), HasSubstr("ip route add 10.0.0.0/8 via"));
  snat().asks_for_inside = false;
  EXPECT_THAT(found(), IsEmpty());
  facts_.links.push_back({.index = 4, .name = "eth2", .mtu = 1500, .is_up = true});
  snat().inside = host::Route{.destination = ip("10.0.0.1"), .length = 32, .link = 4};
  EXPECT_THAT(found(), ElementsAre("error snat-served"));
  EXPECT_THAT(words(), HasSubstr("inside hosts of the SNAT rule `out' are behind eth2"));
  snat().inside->is_local = true;
  EXPECT_THAT(found(), IsEmpty());
  snat().info.rule.interface = "eth9";
  EXPECT_THAT(found(), ElementsAre("error snat-served"));
  EXPECT_THAT(words(), HasSubstr("would be behind eth9"));
  snat().info.rule.interface = "eth0";
  EXPECT_THAT(found(), IsEmpty());
  snat().info.rule.interface = {};
  snat().outside->link = 4;
  EXPECT_THAT(found(), ElementsAre("error snat-served"));
  snat().outside.reset();
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(SnatChecksTest, Ports) {
  snat().info.rule.ports = {.first = 1024, .last = 32767};
  EXPECT_THAT(found(), IsEmpty());
  snat().info.rule.ports.last = 32768;
  EXPECT_THAT(found(), ElementsAre("warning snat-ports"));
  EXPECT_THAT(words(), HasSubstr("ports 1024-32768 of 192.0.2.20"));
  snat().info.rule.pool[0] = {.first = ip("203.0.113.1"), .last = ip("203.0.113.9")};
  EXPECT_THAT(found(), IsEmpty());  // not this host's
}

TEST_F(SnatChecksTest, Refused) {
  snat().info.refused_pool = 3;
  snat().info.last_refusal = model::SnatRefusal::kPoolExhausted;
  snat().info.last_refused = ip("10.0.0.7");
  snat().info.last_refused_destination = {.address = ip("198.51.100.7"),
                                          .port = net::Port::from_host(443)};
  EXPECT_THAT(found(), ElementsAre("warning snat-refused"));
  EXPECT_THAT(words(), HasSubstr("refused 3 connections"));
  EXPECT_THAT(words(), HasSubstr("10.0.0.7 to 198.51.100.7:443: no port was free"));
  EXPECT_THAT(words(), HasSubstr("sluice snat zero out"));
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
