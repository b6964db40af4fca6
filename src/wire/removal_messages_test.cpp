// SPDX-License-Identifier: Apache-2.0
#include "wire/removal_messages.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cerrno>

#include "net/bytes.hpp"
#include "wire/arbitrary.hpp"
#include "wire/sluice_messages.hpp"
#include "wire/transaction_messages.hpp"

namespace lb::wire {
namespace {

NamedServiceOptions arbitrary_service() {
  NamedServiceOptions service;
  service.key = *rc::gen::arbitrary<model::ServiceKey>();
  auto& options = service.options;
  if (*rc::gen::arbitrary<bool>()) options.drain = *rc::gen::arbitrary<std::int32_t>();
  if (*rc::gen::arbitrary<bool>()) {
    options.drain_end = static_cast<model::DrainEnd>(*rc::gen::inRange(0, 3));
  }
  if (*rc::gen::arbitrary<bool>()) options.reuse_ports = *rc::gen::arbitrary<bool>();
  options.timeouts.tcp = *rc::gen::arbitrary<std::uint32_t>();
  options.timeouts.udp = *rc::gen::arbitrary<std::uint32_t>();
  return service;
}

RC_GTEST_PROP(RemovalMessages, ServiceOptionsRoundTrip, ()) {
  const auto service = arbitrary_service();
  const auto asked =
      parse_service_options_request(*view_message(set_service_options_request({}, service)));
  RC_ASSERT(asked.has_value());
  RC_ASSERT(*asked == service);
  std::vector<Message> answer(2);
  encode_service_options(answer[0], {}, 0, NLM_F_MULTI, service);
  encode_done(answer[1], {}, 0);
  const auto read = read_service_options(answer);
  RC_ASSERT(read.has_value());
  RC_ASSERT(*read == std::vector<NamedServiceOptions>{service});
}

RC_GTEST_PROP(RemovalMessages, SelectionRoundTrip, (const net::IpAddress& server)) {
  model::ConnectionSelection selection;
  selection.server = server;
  if (*rc::gen::arbitrary<bool>()) selection.server_port = *rc::gen::arbitrary<net::Port>();
  if (*rc::gen::arbitrary<bool>()) selection.client = *rc::gen::arbitrary<net::IpAddress>();
  if (*rc::gen::arbitrary<bool>()) selection.service = *rc::gen::arbitrary<model::ServiceKey>();
  const auto asked =
      parse_end_connections_request(*view_message(end_connections_request({}, selection)));
  RC_ASSERT(asked.has_value());
  RC_ASSERT(*asked == selection);
}

TEST(RemovalMessages, WhatSelectsNothingIsRefused) {
  const auto asked = parse_end_connections_request(*view_message(end_connections_request({}, {})));
  ASSERT_FALSE(asked);
  EXPECT_EQ(asked.error().code, EINVAL);
}

// Every cut and every changed byte is refused or read as something that makes sense.
TEST(RemovalMessages, HostileBytes) {
  model::ConnectionSelection selection;
  selection.server = net::IpAddress::from_text("2001:db8::1").value();
  selection.service = model::ServiceKey();
  NamedServiceOptions service;
  service.options.drain = 5;
  service.options.drain_end = model::DrainEnd::kReset;
  for (const auto& message :
       {end_connections_request({}, selection), set_service_options_request({}, service)}) {
    for (std::size_t at = 16; at < message.size(); ++at) {
      for (const unsigned value : {0U, 1U, 4U, 0x7fU, 0xffU}) {
        auto changed = message;
        changed[at] = std::byte(value);
        const auto view = view_message(changed);
        if (!view) continue;
        const auto options = parse_service_options_request(*view);
        if (options && options->options.drain_end) {
          EXPECT_LE(*options->options.drain_end, model::DrainEnd::kReset);
        }
        const auto ended = parse_end_connections_request(*view);
        if (ended) {
          EXPECT_TRUE(ended->is_limited());
        }
      }
    }
  }
}

TEST(TransactionMessages, Results) {
  const std::array<std::byte, sizeof(nlmsghdr)> header{};  // of the request, which answers quote
  MessageView request;
  request.bytes = header;
  const auto read = [&](const std::optional<TransactionFailure>& failure) {
    std::vector<Message> answer(2);
    encode_transaction_result(answer[0], request, 0, failure);
    encode_error(answer[1], request, 0, 0);
    return read_transaction_result(answer);
  };
  EXPECT_EQ(read({}).value(), std::nullopt);
  const TransactionFailure failure{.request = 70000, .error = EEXIST};
  EXPECT_EQ(read(failure).value(), failure);
  EXPECT_FALSE(read(TransactionFailure{.request = 1, .error = 100000}));
  // An acknowledgement alone does not say that anything was applied.
  std::vector<Message> alone(1);
  encode_error(alone[0], request, 0, 0);
  EXPECT_FALSE(read_transaction_result(alone));
}

}  // namespace
}  // namespace lb::wire
