// SPDX-License-Identifier: Apache-2.0
// Persistence by Call-ID: what the recorded cases do not have.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "engine/allocation_counter.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using Kind = Verdict::Kind;
using net::Protocol;

Frame call(const net::Endpoint& from, const net::Endpoint& to, std::string_view id) {
  auto packet = between(Protocol::kUdp, from, to);
  for (const char c : "INVITE x\r\nCall-ID: " + std::string(id) + "\r\n\r\n") {
    packet.payload.push_back(static_cast<std::byte>(c));
  }
  return build(packet);
}

class DirectorSip : public testing::Test {
 protected:
  static model::ServiceSpec spec() {
    auto result = service_at(vip(5060), Protocol::kUdp);
    result.flags = model::kServicePersistent;
    result.timeout = 60;
    result.persistence_engine = "sip";
    return result;
  }
  void serve(const model::ServiceSpec& service) {
    ASSERT_TRUE(lab_.director.add_service(service));
    for (const unsigned n : {1U, 2U, 3U}) {
      ASSERT_TRUE(lab_.director.add_destination(service.key, to(server(n, 5060))));
    }
  }
  net::Headers sent() const { return net::parse_frame(lab_.sent.at(0)).value(); }
  net::IpAddress destination_of(std::string_view id, unsigned port) {
    lab_.process(call(client(port), vip(5060), id));
    return sent().destination;
  }
  std::size_t templates() const {
    std::size_t count = 0;
    for (const auto& info : lab_.connections()) count += info.persistence_data.empty() ? 0 : 1;
    return count;
  }

  Lab lab_;
};

TEST_F(DirectorSip, OneCallOneServer) {
  serve(spec());
  const auto first = destination_of("a@h", 1);
  const auto second = destination_of("b@h", 2);
  EXPECT_NE(first, second);
  EXPECT_EQ(destination_of("a@h", 3), first);
  EXPECT_EQ(destination_of("b@h", 4), second);
  EXPECT_EQ(templates(), 2U);
  for (const auto& info : lab_.connections()) {
    EXPECT_EQ(info.persistence_engine.empty(), info.client.port != net::Port{});
  }
  lab_.pass(std::chrono::minutes(10));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

TEST_F(DirectorSip, TheTemplateOfARemovedServerIsReplaced) {
  serve(spec());
  const auto first = destination_of("a@h", 1);
  ASSERT_TRUE(lab_.director.delete_destination(spec().key, {first, port_of(5060)}));
  const auto second = destination_of("a@h", 2);
  EXPECT_NE(second, first);
  EXPECT_EQ(destination_of("a@h", 3), second);
}

TEST_F(DirectorSip, AServerThatBeginsSeemsToBeTheService) {
  serve(spec());
  const auto answer = lab_.process(call(server(2, 5060), client(7), "x@h"), kInside);
  ASSERT_EQ(answer.kind, Kind::kSend);
  EXPECT_EQ(sent().source, vip().address);
  EXPECT_EQ(sent().source_port.to_host(), 5060);
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  // The client's answer, and its other calls with that Call-ID, come to the same server.
  EXPECT_EQ(destination_of("x@h", 7), server(2).address);
  EXPECT_EQ(destination_of("x@h", 8), server(2).address);
}

TEST_F(DirectorSip, AServerThatTakesACallOverGetsTheTemplate) {
  serve(spec());
  const auto first = destination_of("x@h", 1);
  const auto other = server(1).address == first ? server(2, 5060) : server(1, 5060);
  ASSERT_EQ(lab_.process(call(other, client(2), "x@h"), kInside).kind, Kind::kSend);
  EXPECT_EQ(destination_of("x@h", 3), other.address);
}

TEST_F(DirectorSip, OnePacketServicesKeepOnlyTemplates) {
  auto one_packet = spec();
  one_packet.flags |= model::kServiceOnePacket;
  serve(one_packet);
  destination_of("a@h", 1);
  EXPECT_EQ(lab_.process(call(server(1, 5060), client(2), "b@h"), kInside).kind, Kind::kSend);
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  EXPECT_EQ(templates(), 2U);
}

TEST_F(DirectorSip, WithoutCallIdNothingIsOpened) {
  serve(spec());
  const auto verdict = lab_.process(udp(client(), vip(5060)));
  EXPECT_EQ(verdict.kind, Kind::kDrop);
  EXPECT_EQ(verdict.reason, DropReason::kNoKeyData);
  EXPECT_EQ(lab_.process(udp(server(1, 5060), client()), kInside).kind, Kind::kHost);
  EXPECT_EQ(lab_.process(call(server(9, 5060), client(), "a"), kInside).kind, Kind::kHost);
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

TEST_F(DirectorSip, ServersBeginOnlyForServicesWithAnEngine) {
  serve(spec());
  auto without = spec();
  without.persistence_engine = {};
  ASSERT_TRUE(lab_.director.edit_service(without));
  EXPECT_EQ(lab_.process(call(server(1, 5060), client(), "a"), kInside).kind, Kind::kHost);
  ASSERT_TRUE(lab_.director.edit_service(spec()));
  EXPECT_EQ(lab_.process(call(server(1, 5060), client(), "a"), kInside).kind, Kind::kSend);
  ASSERT_TRUE(lab_.director.delete_service(spec().key));
  EXPECT_EQ(lab_.process(call(server(1, 5060), client(9), "b"), kInside).kind, Kind::kHost);
}

TEST_F(DirectorSip, OtherEnginesAreUnknown) {
  auto service = spec();
  service.persistence_engine = "sips";
  EXPECT_EQ(lab_.director.add_service(service).error().code, ENOENT);
}

TEST_F(DirectorSip, AFloodOfCallsFillsTheTableAndNoMore) {
  serve(spec());
  for (unsigned i = 0; i < 500; ++i)
    lab_.process(call(client(i + 1), vip(5060), std::to_string(i)));
  EXPECT_GT(lab_.dropped(DropReason::kTableFull), 0U);
  EXPECT_LE(lab_.director.connection_count(), lab_.director.connection_capacity());
  lab_.pass(std::chrono::minutes(10));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
  EXPECT_EQ(lab_.process(call(client(), vip(5060), "again")).kind, Kind::kSend);
}

TEST_F(DirectorSip, NoAllocation) {
  serve(spec());
  for (const auto& [frame, ingress] : {std::pair{call(client(), vip(5060), "a"), kOutside},
                                       std::pair{call(client(1), vip(5060), "a"), kOutside},
                                       std::pair{call(server(2, 5060), client(2), "b"), kInside}}) {
    lab_.outputs.clear();
    auto packet = lab_.buffer.receive(frame);
    const lb::test::AllocationCounter counter;
    const auto verdict = lab_.director.process(packet, ingress, lab_.now, lab_.outputs);
    EXPECT_EQ(counter.count(), 0U);
    EXPECT_EQ(verdict.kind, Kind::kSend);
  }
}

}  // namespace
}  // namespace lb::engine
