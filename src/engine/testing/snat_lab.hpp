// SPDX-License-Identifier: Apache-2.0
// The lab's director with rules of source NAT, for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/snat.hpp"
#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine::test {

/// Hosts of a prefix go out by a pool of one range of addresses.
inline model::SnatRule pool_rule(std::string_view name, std::string_view inside, unsigned length,
                                 std::string_view first, std::string_view last = "") {
  model::SnatRule rule;
  rule.name = name;
  rule.inside = {.address = ip(inside), .length = static_cast<std::uint8_t>(length)};
  rule.family = rule.inside.address.family();
  rule.destination = model::MarkRule::any(rule.family);
  (void)rule.add({ip(first), ip(last.empty() ? first : last)});
  return rule;
}
inline model::SnatRule out4() { return pool_rule("out", "10.0.0.0", 16, "192.0.2.11"); }
inline model::SnatRule out6() { return pool_rule("out6", "2001:db8:3::", 64, "2001:db8:2::20"); }
/// The inside host is the outside address.
inline model::SnatRule fixed_rule(const net::IpAddress& inside, const net::IpAddress& outside) {
  auto rule = pool_rule("fixed", inside.to_text(), static_cast<unsigned>(inside.size() * 8),
                        outside.to_text());
  rule.kind = model::SnatKind::kStatic;
  return rule;
}

/// An echo request or reply.
inline Frame echo(const net::IpAddress& from, const net::IpAddress& to, bool is_request,
                  std::uint16_t identifier) {
  auto packet =
      between(from.is_v4() ? net::Protocol::kIcmp : net::Protocol::kIcmpv6, {from, {}}, {to, {}});
  Frame segment(24);
  const int type = from.is_v4() ? (is_request ? 8 : 0) : (is_request ? 128 : 129);
  segment[0] = static_cast<std::byte>(type);
  net::store(std::span(segment), 4, net::Port::from_host(identifier));
  seal(packet, segment, 2);
  return build(packet, segment);
}

inline std::uint16_t identifier_of(const Frame& frame, const net::Headers& headers) {
  return net::load<net::Port>(std::span<const std::byte>(frame), headers.transport_offset + 4U)
      .to_host();
}

/// A director with rules of SNAT, and what passes it.
class SnatLabTest : public testing::Test {
 protected:
  void add(const model::SnatRule& rule) { ASSERT_TRUE(add_snat_rule(lab_.director, rule)); }

  /// Sends a frame that must be passed on by `out`, with right checksums; its headers.
  net::Headers passed(const Frame& frame, InterfaceId ingress, InterfaceId out) {
    const auto verdict = lab_.process(frame, ingress);
    EXPECT_EQ(verdict.kind, Verdict::Kind::kSend);
    EXPECT_EQ(verdict.out, out);
    if (lab_.sent.empty()) return {};
    EXPECT_EQ(ChecksumOracle::fault(lab_.sent[0]), "");
    const auto headers = net::parse_frame(lab_.sent[0]);
    EXPECT_TRUE(headers);
    return headers ? *headers : net::Headers{};
  }
  net::Headers outward(const Frame& frame) { return passed(frame, kInside, kOutside); }
  net::Headers inward(const Frame& frame) { return passed(frame, kOutside, kInside); }

  DropReason lost(const Frame& frame, InterfaceId ingress = kInside) {
    const auto verdict = lab_.process(frame, ingress);
    EXPECT_EQ(verdict.kind, Verdict::Kind::kDrop);
    return verdict.reason;
  }
  model::SnatRuleInfo info(const char* name = "out") {
    return snat_rule(lab_.director, name).value();
  }
  /// Opens a TCP connection; where it seems to come from.
  net::Endpoint open(const net::Endpoint& inside, const net::Endpoint& outside) {
    const auto headers = outward(tcp(inside, outside, kSyn));
    return {headers.source, headers.source_port};
  }

  Lab lab_;
};

}  // namespace lb::engine::test
