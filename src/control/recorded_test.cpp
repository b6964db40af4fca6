// SPDX-License-Identifier: Apache-2.0
// Every recorded request to a director of our own: it must answer what the kernel answered.
#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "control/direct_transport.hpp"
#include "control/test_director.hpp"
#include "net/bytes.hpp"
#include "wire/family.hpp"
#include "wire/recorded_messages.hpp"

namespace lb::control {
namespace {

using wire::Message;

void replace_type(Message& message, std::uint16_t from, std::uint16_t to) {
  if (message.size() < sizeof(nlmsghdr)) return;
  constexpr std::size_t kAt = offsetof(nlmsghdr, nlmsg_type);
  if (net::load<std::uint16_t>(message, kAt) == from) net::store(message, kAt, to);
  // The request that an error or acknowledgement echoes.
  constexpr std::size_t kEchoAt = sizeof(nlmsghdr) + sizeof(std::int32_t) + kAt;
  if (net::load<std::uint16_t>(message, kAt) == NLMSG_ERROR &&
      net::load<std::uint16_t>(message, kEchoAt) == from) {
    net::store(message, kEchoAt, to);
  }
}

bool is_done(const Message& message) {
  return wire::view_message(message)->header.type == NLMSG_DONE;
}

/// Compares answers. Services are listed in the order of a hash. The recorder missed the end of
/// some dumps.
void expect_same(std::vector<Message> got, std::vector<Message> wanted) {
  if (std::none_of(wanted.begin(), wanted.end(), is_done)) std::erase_if(got, is_done);
  std::sort(got.begin(), got.end());
  std::sort(wanted.begin(), wanted.end());
  EXPECT_EQ(got, wanted);
}

class RecordedCase : public testing::TestWithParam<std::string> {};

TEST_P(RecordedCase, IsAnsweredAsByTheKernel) {
  std::ifstream stream("tests/ipvs-oracle/genl/" + GetParam() + ".jsonl");
  ASSERT_TRUE(stream.good());
  TestDirector own;
  const RequestHandler handler(own.director, nullptr);
  DirectTransport transport(handler);
  int requests = 0;
  for (std::string line; std::getline(stream, line);) {
    const auto step = nlohmann::json::parse(line);
    if (step["op"] == "meta") {
      own.add_interface(1, step["ports"]["ext"]["addrs"]);
      own.add_interface(2, step["ports"]["int"]["addrs"]);
      continue;
    }
    SCOPED_TRACE(step["argv"].dump());
    std::vector<Message> got;
    std::vector<Message> wanted;
    for (const auto& entry : step["nl"]) {
      auto message = wire::from_hex(entry["msg"]);
      const auto type = wire::view_message(message)->header.type;
      if (entry["dir"] == "to-kernel") {
        if (!step.value("nl_loose", false)) {
          expect_same(got, wanted);
        }
        wanted.clear();
        replace_type(message, wire::kRecordedIpvsFamily, wire::kIpvsFamily);
        got = *transport.exchange(message);
        for (auto& each : got) {
          replace_type(each, wire::kIpvsFamily, wire::kRecordedIpvsFamily);
        }
        ++requests;
      } else if (type == wire::kControllerFamily) {
        // Another id; that all else is the same is checked in wire.
        std::erase_if(got, [](const auto& each) {
          return wire::view_message(each)->header.type == wire::kControllerFamily;
        });
      } else {
        wanted.push_back(message);
      }
    }
    if (!step.value("nl_loose", false)) {
      expect_same(got, wanted);
    }
  }
  EXPECT_GT(requests, 20);
}

// All but "daemon", which needs a network between directors: `ipvs-replay` has one.
INSTANTIATE_TEST_SUITE_P(All, RecordedCase,
                         testing::Values("fwmark", "ipv6", "list-options", "ops", "persistence",
                                         "save-restore", "sched-flags", "servers", "service-protos",
                                         "service-tcp", "set-timeouts", "thresholds", "tunnels"),
                         [](const auto& parameter) {
                           auto name = parameter.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace lb::control
