// SPDX-License-Identifier: Apache-2.0
#include "host/rtnetlink_read.hpp"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace lb::host {
namespace {

/// The attributes of a message by type.
class Attributes {
 public:
  Attributes(const nlmsghdr& message, std::size_t header) {
    mnl_attr_parse(&message, static_cast<unsigned>(header), keep, this);
  }
  explicit Attributes(const nlattr& nest) { mnl_attr_parse_nested(&nest, keep, this); }
  Attributes(const void* bytes, std::size_t size) {
    mnl_attr_parse_payload(bytes, size, keep, this);
  }

  [[nodiscard]] const nlattr* find(std::size_t type) const { return found_[type]; }
  /// 0 if it is absent or of another size.
  [[nodiscard]] std::uint32_t u32(std::size_t type) const {
    const auto* one = found_[type];
    return one != nullptr && mnl_attr_get_payload_len(one) == 4 ? mnl_attr_get_u32(one) : 0;
  }
  [[nodiscard]] std::uint8_t u8(std::size_t type) const {
    const auto* one = found_[type];
    return one != nullptr && mnl_attr_get_payload_len(one) == 1 ? mnl_attr_get_u8(one)
                                                                : std::uint8_t{0};
  }
  [[nodiscard]] std::string text(std::size_t type) const {
    const auto* one = found_[type];
    if (one == nullptr) return {};
    const auto* bytes = static_cast<const char*>(mnl_attr_get_payload(one));
    return {bytes, ::strnlen(bytes, mnl_attr_get_payload_len(one))};
  }
  [[nodiscard]] std::optional<net::IpAddress> address(std::size_t type, std::uint8_t family) const {
    const auto* one = found_[type];
    if (one == nullptr) return {};
    const auto size = mnl_attr_get_payload_len(one);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), mnl_attr_get_payload(one), std::min<std::size_t>(size, 16));
    if (family == AF_INET6 && size == 16) return net::IpAddress::v6(bytes);
    if (family != AF_INET || size != 4) return {};
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    return net::IpAddress::v4(net::Be32::from_network(word));
  }
  [[nodiscard]] std::optional<net::Mac> mac(std::size_t type) const {
    const auto* one = found_[type];
    net::Mac result;
    if (one == nullptr || mnl_attr_get_payload_len(one) != result.bytes.size()) return {};
    std::memcpy(result.bytes.data(), mnl_attr_get_payload(one), result.bytes.size());
    return result;
  }

 private:
  // Of every message here; higher types are ignored.
  static constexpr std::size_t kMost = 80;
  static_assert(IFLA_MAX < kMost && IFA_MAX < kMost && RTA_MAX < kMost && NDA_MAX < kMost);

  static int keep(const nlattr* attribute, void* self) {
    const auto type = mnl_attr_get_type(attribute);
    if (type < kMost) static_cast<Attributes*>(self)->found_[type] = attribute;
    return MNL_CB_OK;
  }
  std::array<const nlattr*, kMost> found_{};
};

XdpKind xdp_kind(std::uint8_t attached) {
  switch (attached) {
    case XDP_ATTACHED_DRV:
    case XDP_ATTACHED_MULTI:
      return XdpKind::kNative;
    case XDP_ATTACHED_SKB:
      return XdpKind::kGeneric;
    case XDP_ATTACHED_HW:
      return XdpKind::kOffloaded;
    default:
      return XdpKind::kNone;
  }
}

bool fits(const nlmsghdr& message, std::uint16_t type, std::size_t header) {
  return message.nlmsg_type == type && mnl_nlmsg_get_payload_len(&message) >= header;
}

}  // namespace

void read_link(const nlmsghdr& message, std::vector<Link>& into) {
  if (!fits(message, RTM_NEWLINK, sizeof(ifinfomsg))) return;
  const auto& body = *static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&message));
  const Attributes all(message, sizeof(body));
  Link link;
  link.index = body.ifi_index;
  link.name = all.text(IFLA_IFNAME);
  link.mac = all.mac(IFLA_ADDRESS);
  link.mtu = all.u32(IFLA_MTU);
  link.receive_queues = all.u32(IFLA_NUM_RX_QUEUES);
  link.is_up = (body.ifi_flags & IFF_UP) != 0;
  link.is_loopback = (body.ifi_flags & IFF_LOOPBACK) != 0;
  link.is_ethernet = body.ifi_type == ARPHRD_ETHER;
  if (const auto* info = all.find(IFLA_LINKINFO)) {
    link.kind = Attributes(*info).text(IFLA_INFO_KIND);
  }
  if (const auto* nest = all.find(IFLA_XDP)) {
    const Attributes xdp(*nest);
    link.xdp = xdp_kind(xdp.u8(IFLA_XDP_ATTACHED));
    link.xdp_program = xdp.u32(IFLA_XDP_PROG_ID);
  }
  into.push_back(std::move(link));
}

void read_address(const nlmsghdr& message, std::vector<LinkAddress>& into) {
  if (!fits(message, RTM_NEWADDR, sizeof(ifaddrmsg))) return;
  const auto& body = *static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&message));
  const Attributes all(message, sizeof(body));
  // On a point-to-point link IFA_ADDRESS is the peer's.
  auto address = all.address(IFA_LOCAL, body.ifa_family);
  if (!address) address = all.address(IFA_ADDRESS, body.ifa_family);
  if (!address) return;
  into.push_back({.link = static_cast<int>(body.ifa_index),
                  .address = *address,
                  .length = body.ifa_prefixlen});
}

void read_route(const nlmsghdr& message, std::vector<Route>& into) {
  if (!fits(message, RTM_NEWROUTE, sizeof(rtmsg))) return;
  const auto& body = *static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&message));
  if (body.rtm_family != AF_INET && body.rtm_family != AF_INET6) return;
  if (body.rtm_type != RTN_UNICAST && body.rtm_type != RTN_LOCAL) return;
  const Attributes all(message, sizeof(body));
  Route route;
  const auto family = static_cast<net::Family>(body.rtm_family);
  route.destination = all.address(RTA_DST, body.rtm_family).value_or(net::IpAddress::any(family));
  route.length = body.rtm_dst_len;
  route.link = static_cast<int>(all.u32(RTA_OIF));
  route.gateway = all.address(RTA_GATEWAY, body.rtm_family);
  route.source = all.address(RTA_PREFSRC, body.rtm_family);
  route.table = all.u32(RTA_TABLE);
  route.is_local = body.rtm_type == RTN_LOCAL;
  if (const auto* nest = all.find(RTA_METRICS)) {
    const Attributes metrics(*nest);
    route.mtu = metrics.u32(RTAX_MTU);
    route.advmss = metrics.u32(RTAX_ADVMSS);
  }
  const auto* hops = all.find(RTA_MULTIPATH);
  if (hops == nullptr) {
    into.push_back(route);
    return;
  }
  const auto* bytes = static_cast<const char*>(mnl_attr_get_payload(hops));
  std::size_t left = mnl_attr_get_payload_len(hops);
  while (left >= sizeof(rtnexthop)) {
    rtnexthop hop{};
    std::memcpy(&hop, bytes, sizeof(hop));
    if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > left) return;
    const Attributes own(bytes + sizeof(hop), hop.rtnh_len - sizeof(hop));
    route.link = hop.rtnh_ifindex;
    route.gateway = own.address(RTA_GATEWAY, body.rtm_family);
    into.push_back(route);
    const auto step = std::min<std::size_t>(MNL_ALIGN(hop.rtnh_len), left);
    bytes += step;
    left -= step;
  }
}

void read_neighbour(const nlmsghdr& message, std::vector<Neighbour>& into) {
  if (!fits(message, RTM_NEWNEIGH, sizeof(ndmsg))) return;
  const auto& body = *static_cast<const ndmsg*>(mnl_nlmsg_get_payload(&message));
  const Attributes all(message, sizeof(body));
  const auto address = all.address(NDA_DST, body.ndm_family);
  if (!address) return;
  Neighbour neighbour{.link = body.ndm_ifindex,
                      .address = *address,
                      .mac = all.mac(NDA_LLADDR),
                      .state = NeighbourState::kUnknown};
  constexpr unsigned kKnown =
      NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
  if ((body.ndm_state & kKnown) != 0) {
    neighbour.state = NeighbourState::kReachable;
  } else if ((body.ndm_state & NUD_INCOMPLETE) != 0) {
    neighbour.state = NeighbourState::kPending;
  } else if ((body.ndm_state & NUD_FAILED) != 0) {
    neighbour.state = NeighbourState::kFailed;
  }
  into.push_back(neighbour);
}

}  // namespace lb::host
