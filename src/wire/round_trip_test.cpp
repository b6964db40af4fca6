// SPDX-License-Identifier: Apache-2.0
// What one half of the codec writes, the other reads back unchanged.
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "wire/arbitrary.hpp"
#include "wire/family.hpp"
#include "wire/ipvs_attributes.hpp"
#include "wire/ipvs_client.hpp"
#include "wire/ipvs_server.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::wire {
namespace {

/// The result refers to `message`.
IpvsRequest parse(Message&& message) = delete;
IpvsRequest parse(const Message& message) {
  const auto request = IpvsRequest::parse(view_message(message)->attributes);
  RC_ASSERT(request.has_value());
  return *request;
}

/// `message` and the end of its dump.
std::vector<Message> dump_of(Message message) {
  std::vector<Message> answer{std::move(message), {}};
  encode_done(answer.back(), {}, 0);
  return answer;
}

std::vector<NamedCounter> arbitrary_counters() {
  std::vector<NamedCounter> counters;
  for (const auto value : *rc::gen::arbitrary<std::vector<std::uint64_t>>()) {
    counters.push_back({"counter_" + std::to_string(counters.size()), value});
  }
  return counters;
}

RC_GTEST_PROP(RoundTrip, ServiceRequest, (const model::ServiceSpec& spec)) {
  const auto message = add_service_request({}, spec);
  const auto request = parse(message);
  RC_ASSERT(parse_service(request.service, Detail::kFull) == spec);
  RC_ASSERT(parse_service(request.service, Detail::kIdentity)->key == spec.key);
}

RC_GTEST_PROP(RoundTrip, DestinationRequest,
              (const model::ServiceKey& key, const model::DestinationSpec& spec)) {
  const auto message = edit_destination_request({}, identity(key), spec);
  const auto request = parse(message);
  RC_ASSERT(parse_service(request.service, Detail::kIdentity)->key == key);
  const auto parsed = parse_destination(request.destination, Detail::kFull);
  RC_ASSERT(parsed.has_value());
  auto read = parsed->spec;
  read.address = make_address(static_cast<net::Family>(parsed->family), parsed->address);
  RC_ASSERT(read == spec);
}

RC_GTEST_PROP(RoundTrip, ListedService,
              (const model::ServiceSpec& spec, const model::Statistics& statistics)) {
  Message message;
  encode_service(message, {}, 0, NLM_F_MULTI, {.spec = spec, .statistics = statistics});
  const auto services = read_services(dump_of(message));
  RC_ASSERT(services.has_value());
  RC_ASSERT(services->size() == 1U);
  auto expected = spec;
  expected.flags_mask = ~0U;
  RC_ASSERT(services->front().spec == expected);
  RC_ASSERT(services->front().statistics == statistics);
}

RC_GTEST_PROP(RoundTrip, ListedDestination,
              (const model::DestinationSpec& spec, const model::Statistics& statistics,
               std::uint32_t active, std::uint32_t inactive, std::uint32_t persistent)) {
  Message message;
  encode_destination(message, {}, 0, NLM_F_MULTI,
                     {.spec = spec,
                      .active_connections = active,
                      .inactive_connections = inactive,
                      .persistent_connections = persistent,
                      .statistics = statistics});
  const auto destinations = read_destinations(dump_of(message));
  RC_ASSERT(destinations.has_value());
  RC_ASSERT(destinations->size() == 1U);
  const auto& read = destinations->front();
  RC_ASSERT(read.spec == spec);
  RC_ASSERT(read.statistics == statistics);
  RC_ASSERT(read.active_connections == active);
  RC_ASSERT(read.inactive_connections == inactive);
  RC_ASSERT(read.persistent_connections == persistent);
}

RC_GTEST_PROP(RoundTrip, Timeouts, (std::uint32_t tcp, std::uint32_t fin, std::uint32_t udp)) {
  const model::Timeouts timeouts{.tcp = tcp, .tcp_fin = fin, .udp = udp};
  const auto request = set_timeouts_request({}, timeouts);
  RC_ASSERT(parse(request).timeouts == timeouts);
  Message message;
  encode_timeouts(message, {}, 0, timeouts);
  RC_ASSERT(read_timeouts(dump_of(message)) == timeouts);
}

RC_GTEST_PROP(RoundTrip, Connection, (const model::ConnectionInfo& connection)) {
  Message message;
  encode_connection(message, {}, 0, NLM_F_MULTI, connection);
  const auto connections = read_connections(dump_of(message));
  RC_ASSERT(connections.has_value());
  RC_ASSERT(connections->size() == 1U);
  const auto& read = connections->front();
  RC_ASSERT(read.protocol == connection.protocol);
  RC_ASSERT(read.client == connection.client);
  RC_ASSERT(read.virtual_end == connection.virtual_end);
  RC_ASSERT(read.destination == connection.destination);
  RC_ASSERT(read.state == connection.state);
  RC_ASSERT(read.expires_in == connection.expires_in);
  RC_ASSERT(read.persistence_engine == connection.persistence_engine);
  RC_ASSERT(read.persistence_data == connection.persistence_data);
  RC_ASSERT(read.snat_rule == connection.snat_rule);
}

RC_GTEST_PROP(RoundTrip, Status,
              (const model::Statistics& totals, std::uint64_t connections, std::uint64_t uptime)) {
  const DirectorStatus director{.version = "1.2.3",
                                .uptime_seconds = uptime,
                                .services = connections / 2,
                                .connections = connections,
                                .connection_capacity = connections ^ 1,
                                .totals = totals,
                                .counters = arbitrary_counters(),
                                .drops = arbitrary_counters(),
                                .health = "degraded: eth1 is gone"};
  const InterfaceStatus interface {
    .name = "eth0", .xdp_mode = "native", .note = "", .counters = arbitrary_counters()
  };
  std::vector<Message> answer(3);
  encode_status(answer[0], {}, 0, NLM_F_MULTI, director);
  encode_interface(answer[1], {}, 0, NLM_F_MULTI, interface);
  encode_done(answer[2], {}, 0);
  const auto status = read_status(answer);
  RC_ASSERT(status.has_value());
  RC_ASSERT(status->director == director);
  RC_ASSERT(status->interfaces == std::vector{interface});
}

TEST(RoundTrip, TooManyCountersAreCutNotGarbled) {
  DirectorStatus status;
  for (int i = 0; i < 5000; ++i) status.drops.push_back({std::string(200, 'x'), 1});
  status.counters = {{"sent", 7}};
  Message message;
  encode_status(message, {}, 0, NLM_F_MULTI, status);
  const auto read = read_status(dump_of(message));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->director.counters, status.counters);
  EXPECT_EQ(read->director.drops.size(), 512U);
}

TEST(RoundTrip, Setting) {
  const Setting setting{.name = "net.ipv4.vs.drop_entry", .value = "2"};
  const auto request = set_setting_request({.family = kSluiceFamily}, setting);
  EXPECT_EQ(parse_setting_request(*view_message(request)), setting);
  Message message;
  encode_setting(message, {}, 0, 0, setting);
  EXPECT_EQ(read_settings(dump_of(message)), std::vector{setting});
}

TEST(RoundTrip, FamilyLookUp) {
  for (const auto& family : families()) {
    const auto request = family_request(family.name, 7, 8);
    const auto view = *view_message(request);
    EXPECT_EQ(view.header.sequence, 7U);
    const auto found = parse_family_request(view);
    ASSERT_TRUE(found.has_value());
    std::vector<Message> answer(2);
    encode_family(answer[0], view, **found, 8);
    encode_error(answer[1], view, 0, 8);
    EXPECT_EQ(read_family_id(answer), family.id);
  }
  EXPECT_EQ(parse_family_request(*view_message(family_request("nlctrl-x"))).error().code, ENOENT);
}

TEST(Outcome, OfAnswersWithoutEnd) {
  EXPECT_EQ(outcome({}).error().code, EBADMSG);
  std::vector<Message> answer(1);
  encode_timeouts(answer[0], {}, 0, {});
  EXPECT_EQ(outcome(answer).error().code, EBADMSG);
  answer.emplace_back();
  encode_error(answer[1], {}, ENOSPC, 0);
  EXPECT_EQ(outcome(answer).error().code, ENOSPC);
}

}  // namespace
}  // namespace lb::wire
