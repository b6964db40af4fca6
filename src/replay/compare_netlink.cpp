// SPDX-License-Identifier: Apache-2.0
#include "replay/compare_netlink.hpp"

#include <fmt/format.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "net/bytes.hpp"
#include "replay/frame_text.hpp"

namespace lb::replay {
namespace {

constexpr std::uint16_t kOneFamily = 0x7fff;  // stands for IPVS on both sides
constexpr std::size_t kAttributes = NLMSG_HDRLEN + GENL_HDRLEN;

std::uint16_t type_of(const Bytes& message) {
  return net::holds(message, 4, 2) ? net::load<std::uint16_t>(message, 4) : std::uint16_t{0};
}

/// The type of a message, or of the request that an acknowledgement or error is about.
std::uint16_t subject_of(const Bytes& message) {
  const bool is_error = type_of(message) == NLMSG_ERROR && net::holds(message, 24, 2);
  return is_error ? net::load<std::uint16_t>(message, 24) : type_of(message);
}

/// Where the payload of the first attribute `type` lies, and its size; null if there is none.
std::optional<std::pair<std::size_t, std::size_t>> find_attribute(const Bytes& message,
                                                                  std::uint16_t type) {
  for (std::size_t at = kAttributes; net::holds(message, at, NLA_HDRLEN);) {
    const std::size_t size = net::load<std::uint16_t>(message, at);
    if (size < NLA_HDRLEN || !net::holds(message, at, size)) return std::nullopt;
    if ((net::load<std::uint16_t>(message, at + 2) & NLA_TYPE_MASK) == type) {
      return std::pair{at + NLA_HDRLEN, size - NLA_HDRLEN};
    }
    at += NLA_ALIGN(size);
  }
  return std::nullopt;
}

bool names_ipvs(const Bytes& message) {
  const auto name = find_attribute(message, CTRL_ATTR_FAMILY_NAME);
  constexpr std::string_view kName{IPVS_GENL_NAME, sizeof(IPVS_GENL_NAME)};
  return name && name->second == kName.size() &&
         std::memcmp(message.data() + name->first, kName.data(), kName.size()) == 0;
}

void clear_numbers(Bytes& message, std::size_t header) {
  if (net::holds(message, header + 8, 8)) net::store<std::uint64_t>(message, header + 8, 0);
}

std::string message_text(const NetlinkRecord& record) {
  const auto& message = record.message;
  const auto command =
      net::holds(message, NLMSG_HDRLEN, 1) ? std::to_integer<int>(message[NLMSG_HDRLEN]) : -1;
  std::string kind;
  if (type_of(message) == NLMSG_ERROR && net::holds(message, NLMSG_HDRLEN, 4)) {
    kind = fmt::format("error {}", net::load<std::int32_t>(message, NLMSG_HDRLEN));
  } else if (type_of(message) == NLMSG_DONE) {
    kind = "done";
  } else {
    kind = fmt::format("command {}", command);
  }
  return fmt::format("{} {} {}", record.to_kernel ? "request" : "answer", kind, hex_text(message));
}

std::optional<Mismatch> compare_lists(const std::vector<NetlinkRecord>& expected,
                                      const std::vector<NetlinkRecord>& got) {
  for (std::size_t i = 0; i < std::max(expected.size(), got.size()); ++i) {
    const auto text = [&](const std::vector<NetlinkRecord>& records) {
      return i < records.size() ? message_text(records[i]) : std::string("no more messages");
    };
    if (i < expected.size() && i < got.size() && expected[i].to_kernel == got[i].to_kernel &&
        expected[i].message == got[i].message) {
      continue;
    }
    return Mismatch{fmt::format("message {}: {}", i, text(expected)), text(got)};
  }
  return std::nullopt;
}

}  // namespace

void NetlinkComparison::Side::learn(std::span<const NetlinkRecord> records) {
  if (family != 0) return;
  for (const auto& record : records) {
    if (type_of(record.message) != GENL_ID_CTRL || !names_ipvs(record.message)) continue;
    const auto id = find_attribute(record.message, CTRL_ATTR_FAMILY_ID);
    if (record.to_kernel) {
      lookup = {record};
    } else if (id && id->second == sizeof(std::uint16_t)) {
      family = net::load<std::uint16_t>(record.message, id->first);
      lookup.push_back(record);
      net::store<std::uint16_t>(lookup.back().message, id->first, kOneFamily);
      return;
    }
  }
}

void NetlinkComparison::Side::normalise(std::vector<NetlinkRecord>& records) const {
  std::erase_if(records, [&](const NetlinkRecord& record) {
    const auto subject = subject_of(record.message);
    return subject != family && subject != NLMSG_DONE && subject != NLMSG_ERROR;
  });
  for (auto& record : records) {
    auto& message = record.message;
    clear_numbers(message, 0);
    if (type_of(message) == family) net::store<std::uint16_t>(message, 4, kOneFamily);
    if (type_of(message) != NLMSG_ERROR) continue;
    clear_numbers(message, 20);
    if (net::holds(message, 24, 2)) net::store<std::uint16_t>(message, 24, kOneFamily);
  }
}

std::optional<Mismatch> NetlinkComparison::compare_lookups() {
  if (lookup_compared_ || expected_.lookup.empty() || got_.lookup.empty()) return std::nullopt;
  lookup_compared_ = true;
  for (auto* side : {&expected_, &got_}) {
    for (auto& record : side->lookup) clear_numbers(record.message, 0);
  }
  return compare_lists(expected_.lookup, got_.lookup);
}

std::optional<Mismatch> NetlinkComparison::compare(std::vector<NetlinkRecord> expected,
                                                   std::vector<NetlinkRecord> got) {
  expected_.learn(expected);
  got_.learn(got);
  if (auto mismatch = compare_lookups()) return mismatch;
  expected_.normalise(expected);
  got_.normalise(got);
  return compare_lists(expected, got);
}

}  // namespace lb::replay
