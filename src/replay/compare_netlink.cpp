// SPDX-License-Identifier: Apache-2.0
#include "replay/compare_netlink.hpp"

#include <fmt/format.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "net/bytes.hpp"
#include "replay/frame_text.hpp"

namespace lb::replay {
namespace {

constexpr std::uint16_t kOneFamily = 0x7fff;  // stands for IPVS on both sides
constexpr std::size_t kAttributes = NLMSG_HDRLEN + GENL_HDRLEN;
constexpr std::size_t kErrorHeader = NLMSG_HDRLEN + 4;  // of the request in an error message

std::uint16_t type_of(const Bytes& message) {
  return net::holds(message, 4, 2) ? net::load<std::uint16_t>(message, 4) : std::uint16_t{0};
}

/// A stretch of a message.
struct Stretch {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The payload of the first attribute `type` within `where`; null if there is none.
std::optional<Stretch> find_attribute(const Bytes& message, const Stretch& where,
                                      std::uint16_t type) {
  for (std::size_t at = where.begin; at + NLA_HDRLEN <= where.end;) {
    const std::size_t size = net::load<std::uint16_t>(message, at);
    if (size < NLA_HDRLEN || size > where.end - at) return std::nullopt;
    if ((net::load<std::uint16_t>(message, at + 2) & NLA_TYPE_MASK) == type) {
      return Stretch{at + NLA_HDRLEN, at + size};
    }
    at += NLA_ALIGN(size);
  }
  return std::nullopt;
}

std::optional<Stretch> find_attribute(const Bytes& message, std::uint16_t type) {
  return find_attribute(message, {kAttributes, message.size()}, type);
}

/// Clears what lies behind the four bytes of an IPv4 destination address in its attribute: ipvsadm
/// leaves the rest of an earlier IPv6 address there, the kernel does not read it.
void clear_unused_address(Bytes& message, std::size_t header) {
  const auto destination =
      find_attribute(message, {header + kAttributes, message.size()}, IPVS_CMD_ATTR_DEST);
  if (!destination) return;
  const auto family = find_attribute(message, *destination, IPVS_DEST_ATTR_ADDR_FAMILY);
  const auto address = find_attribute(message, *destination, IPVS_DEST_ATTR_ADDR);
  if (!family || !address || family->end - family->begin != sizeof(std::uint16_t)) return;
  if (net::load<std::uint16_t>(message, family->begin) != AF_INET) return;
  for (auto i = address->begin + 4; i < address->end; ++i) message[i] = std::byte{0};
}

bool is_service_answer(const NetlinkRecord& record) {
  return !record.to_kernel && net::holds(record.message, NLMSG_HDRLEN, 1) &&
         type_of(record.message) == kOneFamily &&
         std::to_integer<int>(record.message[NLMSG_HDRLEN]) == IPVS_CMD_NEW_SERVICE;
}

/// Brings the services of each dump in one order: the kernel's is that of a hash with a secret.
void sort_service_dumps(std::vector<NetlinkRecord>& records) {
  for (auto begin = records.begin(); begin != records.end();) {
    begin = std::find_if(begin, records.end(), is_service_answer);
    const auto end = std::find_if_not(begin, records.end(), is_service_answer);
    std::sort(begin, end,
              [](const NetlinkRecord& a, const NetlinkRecord& b) { return a.message < b.message; });
    begin = end;
  }
}

bool names_ipvs(const Bytes& message) {
  const auto name = find_attribute(message, CTRL_ATTR_FAMILY_NAME);
  constexpr std::string_view kName{IPVS_GENL_NAME, sizeof(IPVS_GENL_NAME)};
  return name && name->end - name->begin == kName.size() &&
         std::memcmp(message.data() + name->begin, kName.data(), kName.size()) == 0;
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

/// True if what `got` has beyond `expected` only asks for the servers of services. The capture of
/// some recorded listings lost its end, though their output shows those servers.
bool ends_early(const std::vector<NetlinkRecord>& expected, const std::vector<NetlinkRecord>& got) {
  const auto is_about_servers = [](const NetlinkRecord& record) {
    if (type_of(record.message) == NLMSG_DONE) return true;
    if (type_of(record.message) != kOneFamily || !net::holds(record.message, NLMSG_HDRLEN, 1)) {
      return false;
    }
    const auto command = std::to_integer<int>(record.message[NLMSG_HDRLEN]);
    return command == (record.to_kernel ? IPVS_CMD_GET_DEST : IPVS_CMD_NEW_DEST);
  };
  return std::any_of(expected.begin(), expected.end(), is_service_answer) &&
         std::all_of(got.begin() + static_cast<std::ptrdiff_t>(expected.size()), got.end(),
                     is_about_servers);
}

std::optional<Mismatch> compare_lists(const std::vector<NetlinkRecord>& expected,
                                      const std::vector<NetlinkRecord>& got) {
  for (std::size_t i = 0; i < std::max(expected.size(), got.size()); ++i) {
    if (i == expected.size() && ends_early(expected, got)) return std::nullopt;
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
    } else if (id && id->end - id->begin == sizeof(std::uint16_t)) {
      family = net::load<std::uint16_t>(record.message, id->begin);
      lookup.push_back(record);
      net::store<std::uint16_t>(lookup.back().message, id->begin, kOneFamily);
      return;
    }
  }
}

void NetlinkComparison::Side::normalise(std::vector<NetlinkRecord>& records) const {
  bool about_ipvs = false;  // an answer belongs to the question before it
  std::erase_if(records, [&](const NetlinkRecord& record) {
    if (record.to_kernel) about_ipvs = type_of(record.message) == family;
    return !about_ipvs;
  });
  for (auto& record : records) {
    auto& message = record.message;
    clear_numbers(message, 0);
    if (type_of(message) == family) net::store<std::uint16_t>(message, 4, kOneFamily);
    clear_unused_address(message, 0);
    if (type_of(message) != NLMSG_ERROR) continue;
    clear_numbers(message, kErrorHeader);
    if (net::holds(message, kErrorHeader + 4, 2)) {
      net::store<std::uint16_t>(message, kErrorHeader + 4, kOneFamily);
    }
    clear_unused_address(message, kErrorHeader);
  }
  sort_service_dumps(records);
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
