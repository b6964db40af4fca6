// SPDX-License-Identifier: Apache-2.0
// Both halves on bytes that nobody meant: they may answer anything, but must not read outside,
// loop or grow. Meant to be run with the sanitizers as well.
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "net/bytes.hpp"
#include "wire/family.hpp"
#include "wire/ipvs_attributes.hpp"
#include "wire/ipvs_client.hpp"
#include "wire/ipvs_server.hpp"
#include "wire/recorded_messages.hpp"
#include "wire/sluice_messages.hpp"
#include "wire/snat_messages.hpp"

namespace lb::wire {
namespace {

/// Reads `bytes` in every way there is; returns how many readings made sense of it.
int read_as_request(const MessageView& view) {
  int understood = 0;
  if (const auto asked = IpvsRequest::parse(view.attributes)) {
    for (const auto detail : {Detail::kIdentity, Detail::kFull}) {
      understood += parse_service(asked->service, detail).has_value();
      understood += parse_destination(asked->destination, detail).has_value();
      understood += parse_daemon(asked->daemon, detail).has_value();
    }
  }
  understood += parse_family_request(view).has_value();
  understood += parse_setting_request(view).has_value();
  understood += parse_stop_request(view).has_value();
  understood += parse_snat_rule_request(view).has_value();
  understood += parse_snat_name_request(view).has_value();
  return understood;
}

int read_as_answer(const Message& bytes) {
  std::vector<Message> answer{bytes, {}};
  encode_done(answer.back(), {}, 0);
  int understood = outcome(std::span(answer).first(1)).has_value();
  understood += read_family_id(answer).has_value();
  understood += read_info(answer).has_value();
  understood += read_services(answer).has_value();
  understood += read_destinations(answer).has_value();
  understood += read_timeouts(answer).has_value();
  understood += read_daemons(answer).has_value();
  understood += read_connections(answer).has_value();
  understood += read_status(answer).has_value();
  understood += read_settings(answer).has_value();
  understood += read_snat_rules(answer).has_value();
  understood += read_snat_conflict(answer).has_value();
  return understood;
}

void read_all(const Message& bytes) {
  std::span<const std::byte> rest = bytes;
  std::size_t messages = 0;
  while (const auto view = take_message(rest)) {
    read_as_request(*view);
    ++messages;
  }
  EXPECT_LE(messages, bytes.size() / sizeof(nlmsghdr));
  read_as_answer(bytes);
}

/// The recordings, and one message of each kind of the SLUICE family.
std::vector<Message> seeds() {
  std::vector<Message> messages;
  for (auto& message : distinct_recorded_messages()) messages.push_back(std::move(message.bytes));
  messages.push_back(set_setting_request({}, {.name = "net.ipv4.vs.drop_entry", .value = "1"}));
  encode_connection(messages.emplace_back(), {}, 0, NLM_F_MULTI, {});
  encode_snat_rule(messages.emplace_back(), {}, 0, NLM_F_MULTI, {});
  encode_status(messages.emplace_back(), {}, 0, NLM_F_MULTI,
                {.version = "1",
                 .totals = {},
                 .counters = {{"sent", 1}, {"to_host", 2}},
                 .drops = {{"truncated", 3}}});
  encode_interface(messages.emplace_back(), {}, 0, NLM_F_MULTI,
                   {.name = "eth0", .xdp_mode = "native", .note = "", .counters = {{"rx", 1}}});
  return messages;
}

TEST(Hostile, SeedsMakeSense) {
  for (const auto& seed : seeds()) {
    EXPECT_GT(read_as_request(*view_message(seed)) + read_as_answer(seed), 0);
  }
}

TEST(Hostile, EveryTruncation) {
  for (const auto& seed : seeds()) {
    for (std::size_t size = 0; size < seed.size(); ++size) {
      // In a buffer of exactly that size, so that a sanitizer sees a read beyond.
      Message cut(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_FALSE(view_message(cut).has_value());
      read_all(cut);
      if (size < sizeof(nlmsghdr)) continue;
      // The header agrees with the cut: now the attributes end early.
      net::store(cut, 0, static_cast<std::uint32_t>(size));
      EXPECT_TRUE(view_message(cut).has_value());
      read_all(cut);
    }
  }
}

TEST(Hostile, EveryLengthField) {
  constexpr auto kLengths =
      std::to_array<std::uint16_t>({0, 1, 3, 4, 5, 8, 20, 255, 0x7fff, 0xfffc, 0xffff});
  for (const auto& seed : seeds()) {
    // Attributes lie on borders of 4 bytes, so this meets the length field of every one.
    for (std::size_t at = 0; at + 4 <= seed.size(); at += 4) {
      for (const auto length : kLengths) {
        auto changed = seed;
        net::store(changed, at, length);
        read_all(changed);
      }
    }
  }
}

TEST(Hostile, NestsInNests) {
  // 16 KiB of nests, each holding the next, in each nested attribute.
  for (const unsigned type : {1U, 2U, 3U, 10U, 12U, 15U, 16U}) {
    Message message;
    MessageWriter writer(message);
    writer.begin({.type = kIpvsFamily, .flags = NLM_F_REQUEST, .command = 1});
    std::vector<std::size_t> open;
    for (int depth = 0; depth < 4000; ++depth) open.push_back(writer.begin_nest(type));
    for (; !open.empty(); open.pop_back()) writer.end_nest(open.back());
    writer.end();
    read_all(message);
  }
}

RC_GTEST_PROP(Hostile, AnyBytes, (const std::vector<std::uint8_t>& bytes)) {
  Message message(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) message[i] = std::byte{bytes[i]};
  read_all(message);
  // The same behind valid headers.
  Message framed;
  MessageWriter writer(framed);
  writer.begin({.type = kIpvsFamily, .flags = NLM_F_REQUEST, .command = 1});
  writer.put_raw(message);
  writer.end();
  read_all(framed);
}

}  // namespace
}  // namespace lb::wire
