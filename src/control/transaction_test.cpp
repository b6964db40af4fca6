// SPDX-License-Identifier: Apache-2.0
#include "control/transaction.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "control/direct_transport.hpp"
#include "control/test_director.hpp"
#include "engine/removal.hpp"
#include "wire/ipvs_client.hpp"
#include "wire/mark_messages.hpp"
#include "wire/removal_messages.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::control {
namespace {

using wire::TransactionFailure;

constexpr wire::RequestContext kSluice{.family = wire::kSluiceFamily};

model::ServiceSpec service(std::uint16_t port, const char* scheduler = "rr") {
  model::ServiceSpec spec;
  spec.key.address = net::IpAddress::from_text("192.0.2.10").value();
  spec.key.port = net::Port::from_host(port);
  spec.scheduler = scheduler;
  return spec;
}

model::DestinationSpec destination(const std::string& address, std::int32_t weight = 1) {
  model::DestinationSpec spec;
  spec.address = net::IpAddress::from_text(address).value();
  spec.port = net::Port::from_host(80);
  spec.weight = weight;
  return spec;
}

class TransactionTest : public testing::Test {
 protected:
  int ask(const wire::Message& request) { return ask(client_, request); }
  static int ask(DirectTransport& client, const wire::Message& request) {
    const auto answer = client.exchange(request);
    const auto result = answer ? wire::outcome(*answer) : tl::unexpected(answer.error());
    return result ? 0 : result.error().code;
  }
  void begin() { ASSERT_EQ(ask(wire::begin_transaction_request(kSluice)), 0); }
  std::optional<TransactionFailure> commit() {
    const auto answer = client_.exchange(wire::commit_transaction_request(kSluice));
    const auto result = wire::read_transaction_result(answer.value());
    EXPECT_TRUE(result);
    return result.value_or(TransactionFailure{.request = 0, .error = EBADMSG});
  }
  std::size_t count() { return own_.director.service_count(); }
  auto weights(const model::ServiceKey& key) {
    std::vector<std::int32_t> result;
    for (const auto& info : own_.director.destinations(key)) result.push_back(info.spec.weight);
    return result;
  }

  TestDirector own_;
  RequestHandler handler_{own_.director, nullptr};
  DirectTransport client_{handler_};
};

TEST_F(TransactionTest, AppliesAllAtCommit) {
  begin();
  EXPECT_EQ(ask(wire::add_service_request({}, service(80))), 0);
  EXPECT_EQ(ask(wire::add_destination_request({}, service(80), destination("10.0.0.1", 3))), 0);
  EXPECT_EQ(ask(wire::set_setting_request(kSluice, {"net.ipv4.vs.sloppy_tcp", "1"})), 0);
  EXPECT_EQ(count(), 0U);
  EXPECT_EQ(own_.director.settings().sloppy_tcp, 0);
  EXPECT_EQ(commit(), std::nullopt);
  EXPECT_EQ(weights(service(80).key), std::vector<std::int32_t>{3});
  EXPECT_EQ(own_.director.settings().sloppy_tcp, 1);
  // It is over: what comes now is done at once.
  EXPECT_EQ(ask(wire::add_service_request({}, service(81))), 0);
  EXPECT_EQ(count(), 2U);
}

TEST_F(TransactionTest, ChangesNothingIfOneRequestFails) {
  ASSERT_TRUE(own_.director.add_service(service(80)));
  ASSERT_TRUE(own_.director.add_destination(service(80).key, destination("10.0.0.1", 1)));
  begin();
  EXPECT_EQ(ask(wire::flush_request({})), 0);
  EXPECT_EQ(ask(wire::add_service_request({}, service(81))), 0);
  EXPECT_EQ(ask(wire::add_service_request({}, service(82, "nosuch"))), 0);
  EXPECT_EQ(ask(wire::add_service_request({}, service(81))), 0);
  EXPECT_EQ(commit(), (TransactionFailure{.request = 2, .error = ENOENT}));
  EXPECT_EQ(count(), 1U);
  EXPECT_EQ(weights(service(80).key), std::vector<std::int32_t>{1});
}

TEST_F(TransactionTest, RehearsesOnWhatIsThere) {
  ASSERT_TRUE(own_.director.add_service(service(80)));
  ASSERT_TRUE(own_.director.add_destination(service(80).key, destination("10.0.0.1", 1)));
  ASSERT_TRUE(own_.director.add_destination(service(80).key, destination("10.0.0.2", 2)));
  begin();
  EXPECT_EQ(ask(wire::edit_destination_request({}, service(80), destination("10.0.0.1", 7))), 0);
  EXPECT_EQ(ask(wire::delete_destination_request({}, service(80), destination("10.0.0.2"))), 0);
  EXPECT_EQ(ask(wire::add_destination_request({}, service(80), destination("10.0.0.1"))), 0);
  EXPECT_EQ(commit(), (TransactionFailure{.request = 2, .error = EEXIST}));
  EXPECT_EQ(weights(service(80).key), (std::vector<std::int32_t>{2, 1}));
  begin();
  EXPECT_EQ(ask(wire::edit_destination_request({}, service(80), destination("10.0.0.1", 7))), 0);
  EXPECT_EQ(ask(wire::delete_destination_request({}, service(80), destination("10.0.0.2"))), 0);
  EXPECT_EQ(commit(), std::nullopt);
  EXPECT_EQ(weights(service(80).key), std::vector<std::int32_t>{7});
}

TEST_F(TransactionTest, ServiceOptionsBelongToIt) {
  ASSERT_TRUE(own_.director.add_service(service(80)));
  const wire::NamedServiceOptions named{
      .key = service(80).key,
      .options = {.drain = 5, .drain_end = {}, .reuse_ports = {}, .timeouts = {}}};
  begin();
  EXPECT_EQ(ask(wire::set_service_options_request(kSluice, named)), 0);
  EXPECT_EQ(ask(wire::add_service_request({}, service(80))), 0);
  EXPECT_EQ(commit(), (TransactionFailure{.request = 1, .error = EEXIST}));
  EXPECT_TRUE(engine::service_options(own_.director, service(80).key)->is_default());
  begin();
  EXPECT_EQ(ask(wire::set_service_options_request(kSluice, named)), 0);
  EXPECT_EQ(commit(), std::nullopt);
  EXPECT_EQ(engine::service_options(own_.director, service(80).key), named.options);
}

TEST_F(TransactionTest, MarkRulesBelongToIt) {
  model::MarkRule rule;
  rule.value = 7;
  ASSERT_TRUE(own_.director.add_mark_rule(rule));
  begin();
  EXPECT_EQ(ask(wire::flush_mark_rules_request(kSluice)), 0);
  EXPECT_EQ(ask(wire::delete_mark_rule_request(kSluice, 1)), 0);
  EXPECT_EQ(commit(), (TransactionFailure{.request = 1, .error = E2BIG}));
  EXPECT_EQ(own_.director.mark_rule_count(), 1U);
}

// More endpoints than there is room for: the rehearsal, with few services, can't know.
TEST_F(TransactionTest, UndoesWhatFailsInSpiteOfRehearsal) {
  ASSERT_TRUE(own_.director.add_service(service(80)));
  ASSERT_TRUE(own_.director.add_destination(service(80).key, destination("10.0.0.1", 5)));
  const auto is_full = [&] {
    auto spec = service(1);
    for (std::uint32_t number = 0; number < 1U << 20; ++number) {
      spec.key.address = net::IpAddress::v4(net::Be32::from_host(0x0a100000U + (number >> 15)));
      spec.key.port = net::Port::from_host(static_cast<std::uint16_t>(1 + (number & 0x7fff)));
      if (!own_.director.add_service(spec)) return true;
    }
    return false;
  };
  ASSERT_TRUE(is_full());
  const auto before = count();
  begin();
  EXPECT_EQ(ask(wire::delete_service_request({}, service(80))), 0);
  EXPECT_EQ(ask(wire::add_service_request({}, service(81))), 0);
  EXPECT_EQ(ask(wire::add_service_request({}, service(82))), 0);
  EXPECT_EQ(commit(), (TransactionFailure{.request = 2, .error = ENOMEM}));
  EXPECT_EQ(count(), before);
  EXPECT_FALSE(own_.director.has_service(service(81).key));
  EXPECT_FALSE(own_.director.has_service(service(82).key));
  EXPECT_EQ(weights(service(80).key), std::vector<std::int32_t>{5});
}

TEST_F(TransactionTest, EachClientHasItsOwn) {
  DirectTransport other(handler_);
  begin();
  EXPECT_EQ(ask(wire::begin_transaction_request(kSluice)), EBUSY);
  EXPECT_EQ(ask(wire::add_service_request({}, service(80))), 0);
  EXPECT_EQ(ask(other, wire::commit_transaction_request(kSluice)), EINVAL);
  EXPECT_EQ(ask(other, wire::add_service_request({}, service(81))), 0);
  EXPECT_EQ(count(), 1U);
  EXPECT_EQ(ask(wire::abort_transaction_request(kSluice)), 0);
  EXPECT_EQ(ask(wire::commit_transaction_request(kSluice)), EINVAL);
  EXPECT_EQ(count(), 1U);
}

TEST_F(TransactionTest, RefusesWhatCannotBeUndone) {
  begin();
  EXPECT_EQ(ask(wire::start_daemon_request({}, {})), EOPNOTSUPP);
  EXPECT_EQ(commit(), std::nullopt);
}

TEST_F(TransactionTest, IsBounded) {
  begin();
  const auto request = wire::add_service_request({}, service(80));
  const auto fit = Transaction::kMaxBytes / request.size();
  int error = 0;
  std::size_t kept = 0;
  for (; error == 0 && kept <= fit; ++kept) error = ask(request);
  EXPECT_EQ(error, ENOBUFS);
  EXPECT_GE(kept, fit - 1);
  EXPECT_EQ(ask(wire::abort_transaction_request(kSluice)), 0);
}

}  // namespace
}  // namespace lb::control
