// SPDX-License-Identifier: Apache-2.0
// Whatever comes in, nothing of SNAT is left when time has passed.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/removal.hpp"
#include "engine/snat.hpp"
#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/snat_lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

model::SnatRule limited(model::SnatRule rule) {
  rule.ports = {5000, 5003};
  rule.client_limit = 6;
  return rule;
}

class Hostile {
 public:
  explicit Hostile(std::uint32_t seed) : random_(seed) {
    auto fixed = limited(fixed_rule(ip("10.0.0.5"), ip("192.0.2.20")));
    fixed.ports = {};
    rules_ = {limited(out4()), limited(out6()), fixed};
    for (const auto& rule : rules_) EXPECT_TRUE(add_snat_rule(lab_.director, rule));
  }

  void step() {
    auto frame = packet();
    if (below(4) == 0) {
      const auto headers = net::parse_frame(frame);
      const auto router = headers->source.is_v4() ? ip("192.0.2.254") : ip("2001:db8:2::fe");
      frame = icmp_error(router, headers->source, frame,
                         static_cast<std::uint8_t>(headers->source.is_v4() ? 3 : 1),
                         static_cast<std::uint8_t>(below(5)));
    }
    for (auto count = below(3) == 0 ? below(4) : 0U; count > 0; --count) {
      frame[14 + below(static_cast<std::uint32_t>(frame.size() - 14))] =
          static_cast<std::byte>(below(256));
    }
    if (below(20) == 0) frame.resize(14 + below(static_cast<std::uint32_t>(frame.size() - 13)));
    const bool is_sound = ChecksumOracle::fault(frame).empty();
    const auto verdict = lab_.process(frame, below(2) == 0 ? kInside : kOutside);
    if (verdict.kind == Verdict::Kind::kDrop) {
      EXPECT_NE(verdict.reason, DropReason::kInternal);
    }
    for (const auto& sent : lab_.sent) {
      EXPECT_TRUE(!is_sound || ChecksumOracle::fault(sent).empty());
    }
    if (below(50) == 0) lab_.pass(std::chrono::seconds(below(100)));
    if (below(500) == 0) replace_rule();
  }

  void finish() {
    Outputs outputs;
    while (end_due(lab_.director, outputs)) {
    }
    for (int i = 0; i < 20; ++i) lab_.pass(std::chrono::hours(1));
    EXPECT_EQ(lab_.director.connection_count(), 0U);
    for (const auto& info : snat_rules(lab_.director)) {
      EXPECT_EQ(info.clients, 0U);
      EXPECT_EQ(info.active_connections + info.inactive_connections, 0U);
    }
    EXPECT_GT(created(), 100U) << "else little was tried";
  }

 private:
  std::uint32_t below(std::uint32_t limit) {
    return std::uniform_int_distribution<std::uint32_t>(0, limit - 1)(random_);
  }
  [[nodiscard]] std::uint64_t created() const {
    return lab_.director.totals().counters.connections;
  }

  /// Between few ends, so that packets meet connections.
  Frame packet() {
    const bool is_v6 = below(3) == 0;
    const auto inside =
        is_v6 ? server6(1 + below(6), 4000 + below(3)) : server(1 + below(6), 4000 + below(3));
    const auto outside = is_v6 ? client6(443 + below(2)) : client(443 + below(2));
    const auto shown = is_v6           ? end("2001:db8:2::20", 5000 + below(5))
                       : below(3) == 0 ? end("192.0.2.20", 4000 + below(3))
                                       : end("192.0.2.11", 5000 + below(5));
    const auto [from, to] = [&]() -> std::pair<net::Endpoint, net::Endpoint> {
      switch (below(4)) {
        case 0:
          return {outside, shown};
        case 1:
          return {inside, shown};
        case 2:
          return {shown, outside};
        default:
          return {inside, outside};
      }
    }();
    switch (below(3)) {
      case 0:
        return udp(from, to, below(64));
      case 1:
        return echo(from.address, to.address, below(2) == 0,
                    static_cast<std::uint16_t>(5000 + below(4)));
      default: {
        constexpr std::uint8_t kFlags[]{kSyn, kSyn | kAck, kAck, kAck, kFin | kAck, kRst};
        return tcp(from, to, kFlags[below(6)], below(64));
      }
    }
  }

  void replace_rule() {
    const auto& rule = rules_[below(static_cast<std::uint32_t>(rules_.size()))];
    EXPECT_TRUE(delete_snat_rule(lab_.director, rule.name));
    EXPECT_TRUE(add_snat_rule(lab_.director, rule));
  }

  std::mt19937 random_;
  Lab lab_;
  std::vector<model::SnatRule> rules_;
};

TEST(SnatHostile, RandomPacketsLeaveNothingBehind) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Hostile hostile(seed);
  for (int i = 0; i < 30000 && !testing::Test::HasFailure(); ++i) hostile.step();
  hostile.finish();
}

}  // namespace
}  // namespace lb::engine
