// SPDX-License-Identifier: Apache-2.0
#include "datapath/network_changes.hpp"

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

#include "datapath/netlink_socket.hpp"

namespace lb::datapath {
namespace {

using engine::InterfaceId;

/// The fixed header of a message, or null if the message is too short for it.
template <class Header>
const Header* header_of(const nlmsghdr& message) noexcept {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(Header)) return nullptr;
  return static_cast<const Header*>(mnl_nlmsg_get_payload(&message));
}

std::optional<net::Mac> mac_from(const nlattr* attribute) noexcept {
  net::Mac mac;
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != mac.bytes.size()) {
    return std::nullopt;
  }
  std::memcpy(mac.bytes.data(), mnl_attr_get_payload(attribute), mac.bytes.size());
  return mac;
}

/// Text of at most the attribute's size, ended by its first zero.
std::string text_from(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  const auto* text = static_cast<const char*>(mnl_attr_get_payload(attribute));
  return {text, ::strnlen(text, mnl_attr_get_payload_len(attribute))};
}

Change read_link(const nlmsghdr& message, bool removed) {
  const auto* header = header_of<ifinfomsg>(message);
  // Bridges tell of their ports with family AF_BRIDGE; that is not about the link itself.
  if (header == nullptr || header->ifi_family != AF_UNSPEC || header->ifi_index <= 0) return {};
  const Attributes<IFLA_NUM_RX_QUEUES + 1> attributes(message, sizeof(*header));
  LinkChange link;
  link.removed = removed;
  link.interface.id = InterfaceId{static_cast<std::uint32_t>(header->ifi_index)};
  link.interface.name = text_from(attributes.find(IFLA_IFNAME));
  if (const auto mac = mac_from(attributes.find(IFLA_ADDRESS))) link.interface.mac = *mac;
  link.interface.mtu = attributes.u32(IFLA_MTU, 1500);
  link.is_up = (header->ifi_flags & IFF_UP) != 0;
  link.is_ethernet = header->ifi_type == ARPHRD_ETHER;
  link.is_loopback = (header->ifi_flags & IFF_LOOPBACK) != 0;
  link.receive_queues = attributes.u32(IFLA_NUM_RX_QUEUES, 1);
  link.master = attributes.u32(IFLA_MASTER);
  link.below = attributes.u32(IFLA_LINK);
  if (const nlattr* info = attributes.find(IFLA_LINKINFO)) {
    link.kind = text_from(Attributes<IFLA_INFO_KIND + 1>(*info).find(IFLA_INFO_KIND));
  }
  return link;
}

Change read_address(const nlmsghdr& message, bool removed) {
  const auto* header = header_of<ifaddrmsg>(message);
  if (header == nullptr) return {};
  const Attributes<IFA_FLAGS + 1> attributes(message, sizeof(*header));
  const auto peer = address_from(attributes.find(IFA_ADDRESS), header->ifa_family);
  const auto local = address_from(attributes.find(IFA_LOCAL), header->ifa_family);
  if (!peer && !local) return {};
  AddressChange change{.removed = removed,
                       .interface = InterfaceId{header->ifa_index},
                       .address = local ? *local : *peer,
                       .prefix_length = header->ifa_prefixlen};
  // On a point-to-point link the prefix is the peer's; with "noprefixroute" there is none on the
  // link. Both cases are told by routes.
  const bool is_peer = local && peer && *local != *peer;
  if (is_peer || (attributes.u32(IFA_FLAGS, header->ifa_flags) & IFA_F_NOPREFIXROUTE) != 0) {
    change.prefix_length = static_cast<std::uint8_t>(change.address.size() * 8);
  }
  return change;
}

/// The gateway of RTA_GATEWAY, or of RTA_VIA (a next hop of the other family).
template <std::size_t N>
std::optional<net::IpAddress> gateway_from(const Attributes<N>& attributes,
                                           std::uint8_t family) noexcept {
  if (const auto gateway = address_from(attributes.find(RTA_GATEWAY), family)) return gateway;
  const nlattr* via = attributes.find(RTA_VIA);
  if (via == nullptr || mnl_attr_get_payload_len(via) != sizeof(rtvia) + 16) return std::nullopt;
  const auto* payload = static_cast<const std::byte*>(mnl_attr_get_payload(via));
  std::uint16_t via_family;
  std::memcpy(&via_family, payload, sizeof(via_family));
  if (via_family != AF_INET6) return std::nullopt;
  std::array<std::uint8_t, 16> raw;
  std::memcpy(raw.data(), payload + sizeof(via_family), raw.size());
  return net::IpAddress::v6(raw);
}

/// Takes the first next hop of a multipath route that is alive; false if there is none.
bool take_multipath(const nlattr& multipath, std::uint8_t family, engine::RouteEntry& route) {
  const auto* bytes = static_cast<const std::byte*>(mnl_attr_get_payload(&multipath));
  std::size_t left = mnl_attr_get_payload_len(&multipath);
  while (left >= sizeof(rtnexthop)) {
    rtnexthop hop;
    std::memcpy(&hop, bytes, sizeof(hop));
    if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > left) return false;
    if ((hop.rtnh_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) == 0) {
      route.out = InterfaceId{static_cast<std::uint32_t>(hop.rtnh_ifindex)};
      const Attributes<RTA_VIA + 1> attributes(bytes + sizeof(hop), hop.rtnh_len - sizeof(hop));
      route.via = gateway_from(attributes, family);
      return true;
    }
    const std::size_t step = RTNH_ALIGN(hop.rtnh_len);
    if (step > left) return false;
    bytes += step;
    left -= step;
  }
  return false;
}

Change read_route(const nlmsghdr& message, bool removed) {
  const auto* header = header_of<rtmsg>(message);
  if (header == nullptr || (header->rtm_flags & (RTM_F_CLONED | RTNH_F_DEAD)) != 0) return {};
  if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6) return {};
  if (header->rtm_tos != 0 || header->rtm_src_len != 0) return {};
  const Attributes<RTA_VIA + 1> attributes(message, sizeof(*header));
  const auto table = attributes.u32(RTA_TABLE, header->rtm_table);
  const bool is_local = table == RT_TABLE_LOCAL && header->rtm_type == RTN_LOCAL;
  if (!is_local && (table != RT_TABLE_MAIN || header->rtm_type != RTN_UNICAST)) return {};

  RouteChange change{.removed = removed,
                     .is_local = is_local,
                     .replaces = (message.nlmsg_flags & NLM_F_REPLACE) != 0,
                     .route = {}};
  auto& route = change.route;
  const auto family = header->rtm_family;
  const auto destination = address_from(attributes.find(RTA_DST), family);
  if (!destination && header->rtm_dst_len != 0) return {};
  route.destination = destination ? *destination : net::IpAddress::any(net::Family{family});
  route.prefix_length = header->rtm_dst_len;
  // A link-local prefix is on every link; such routes say nothing without the interface.
  if (!is_local && route.destination.family() == net::Family::kIpv6 && destination &&
      destination->is_link_local_v6()) {
    return {};
  }
  route.metric = attributes.u32(RTA_PRIORITY);
  route.source = address_from(attributes.find(RTA_PREFSRC), family);
  route.via = gateway_from(attributes, family);
  route.out = InterfaceId{attributes.u32(RTA_OIF)};
  if (const nlattr* multipath = attributes.find(RTA_MULTIPATH)) {
    if (!take_multipath(*multipath, family, route) && !removed) return {};
  }
  if (route.out == InterfaceId::kNone && !removed) return {};
  return change;
}

Change read_neighbour(const nlmsghdr& message, bool removed) {
  const auto* header = header_of<ndmsg>(message);
  if (header == nullptr || (header->ndm_flags & NTF_PROXY) != 0) return {};
  const Attributes<NDA_LLADDR + 1> attributes(message, sizeof(*header));
  const auto address = address_from(attributes.find(NDA_DST), header->ndm_family);
  if (!address || address->is_multicast()) return {};
  NeighbourChange change{.interface = InterfaceId{static_cast<std::uint32_t>(header->ndm_ifindex)},
                         .address = *address,
                         .mac = {},
                         .failed = removed || (header->ndm_state & NUD_FAILED) != 0};
  constexpr unsigned kUsable =
      NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
  if (!removed && (header->ndm_state & kUsable) != 0) {
    change.mac = mac_from(attributes.find(NDA_LLADDR));
    change.is_fixed = (header->ndm_state & (NUD_PERMANENT | NUD_NOARP)) != 0;
  }
  return change;
}

}  // namespace

Change read_change(const nlmsghdr& message) {
  switch (message.nlmsg_type) {
    case RTM_NEWLINK:
      return read_link(message, false);
    case RTM_DELLINK:
      return read_link(message, true);
    case RTM_NEWADDR:
      return read_address(message, false);
    case RTM_DELADDR:
      return read_address(message, true);
    case RTM_NEWROUTE:
      return read_route(message, false);
    case RTM_DELROUTE:
      return read_route(message, true);
    case RTM_NEWNEIGH:
      return read_neighbour(message, false);
    case RTM_DELNEIGH:
      return read_neighbour(message, true);
    default:
      return {};
  }
}

}  // namespace lb::datapath
