// SPDX-License-Identifier: Apache-2.0
#include "host/rtnetlink.hpp"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "host/rtnetlink_read.hpp"

namespace lb::host {
namespace {

constexpr int kDumpAttempts = 5;
constexpr std::uint32_t kForever = 0xffffffff;

int run_visit(const nlmsghdr* message, void* visit) {
  (*static_cast<const std::function<void(const nlmsghdr&)>*>(visit))(*message);
  return MNL_CB_OK;
}

void put_address(nlmsghdr& message, std::uint16_t type, const net::IpAddress& address) {
  mnl_attr_put(&message, type, address.size(), address.bytes().data());
}

std::uint8_t family_of(const net::IpAddress& address) {
  return static_cast<std::uint8_t>(address.family());
}

template <class T, class Read>
std::function<void(const nlmsghdr&)> collect(std::vector<T>& into, Read read) {
  return [&into, read](const nlmsghdr& message) { read(message, into); };
}

}  // namespace

Outcome<Rtnetlink> Rtnetlink::open() {
  auto* socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
  if (socket == nullptr) return system_trouble("cannot open a routing netlink socket", errno);
  Rtnetlink result(socket);
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) != 0) {
    return system_trouble("cannot bind a routing netlink socket", errno);
  }
  return result;
}

int Rtnetlink::exchange(nlmsghdr& request, const Visit& visit) {
  request.nlmsg_seq = ++sequence_;
  request.nlmsg_flags |= NLM_F_REQUEST;
  auto* socket = socket_.get();
  if (mnl_socket_sendto(socket, &request, request.nlmsg_len) < 0) return errno;
  for (;;) {
    const auto size = mnl_socket_recvfrom(socket, buffer_.data(), buffer_.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno;
    const auto state =
        mnl_cb_run(buffer_.data(), static_cast<std::size_t>(size), sequence_,
                   mnl_socket_get_portid(socket), run_visit, const_cast<Visit*>(&visit));
    if (state == MNL_CB_ERROR) return errno;
    // A single answer has no end mark unless an acknowledgement was asked for.
    if (state == MNL_CB_STOP) return 0;
  }
}

Outcome<void> Rtnetlink::dump(std::uint16_t type, const Visit& visit,
                              const std::function<void()>& restart) {
  int failed = 0;
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    restart();
    std::array<char, 256> storage{};
    auto& request = *mnl_nlmsg_put_header(storage.data());
    request.nlmsg_type = type;
    request.nlmsg_flags = NLM_F_DUMP;
    mnl_nlmsg_put_extra_header(&request, sizeof(rtgenmsg));  // any family
    failed = exchange(request, visit);
    if (failed == 0) return {};
    if (failed != EINTR) break;  // EINTR: the table changed while it was read
  }
  return system_trouble("cannot read the kernel's network configuration", failed);
}

Outcome<std::vector<Link>> Rtnetlink::links() {
  std::vector<Link> all;
  const auto done = dump(RTM_GETLINK, collect(all, read_link), [&] { all.clear(); });
  if (!done) return trouble(done.error());
  return all;
}

Outcome<std::vector<LinkAddress>> Rtnetlink::addresses() {
  std::vector<LinkAddress> all;
  const auto done = dump(RTM_GETADDR, collect(all, read_address), [&] { all.clear(); });
  if (!done) return trouble(done.error());
  return all;
}

Outcome<std::vector<Route>> Rtnetlink::routes() {
  std::vector<Route> all;
  const auto done = dump(RTM_GETROUTE, collect(all, read_route), [&] { all.clear(); });
  if (!done) return trouble(done.error());
  std::erase_if(all, [](const Route& route) { return route.is_local; });
  return all;
}

Outcome<std::vector<Neighbour>> Rtnetlink::neighbours() {
  std::vector<Neighbour> all;
  const auto done = dump(RTM_GETNEIGH, collect(all, read_neighbour), [&] { all.clear(); });
  if (!done) return trouble(done.error());
  return all;
}

Outcome<std::optional<Route>> Rtnetlink::route_to(const net::IpAddress& address) {
  std::array<char, 256> storage{};
  auto& request = *mnl_nlmsg_put_header(storage.data());
  request.nlmsg_type = RTM_GETROUTE;
  request.nlmsg_flags = NLM_F_ACK;
  auto* body = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(&request, sizeof(rtmsg)));
  body->rtm_family = family_of(address);
  body->rtm_dst_len = static_cast<unsigned char>(address.size() * 8);
  put_address(request, RTA_DST, address);
  std::vector<Route> found;
  const int failed = exchange(request, collect(found, read_route));
  if (failed == ENETUNREACH || failed == EHOSTUNREACH || failed == EACCES || failed == EINVAL) {
    return std::optional<Route>();
  }
  if (failed != 0)
    return system_trouble("cannot ask for the route to " + address.to_text(), failed);
  if (found.empty()) return std::optional<Route>();
  return found.front();
}

int Rtnetlink::change_address(std::uint16_t type, std::uint16_t flags, int link,
                              const net::IpAddress& address) {
  std::array<char, 256> storage{};
  auto& request = *mnl_nlmsg_put_header(storage.data());
  request.nlmsg_type = type;
  request.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_ACK | flags);
  auto* body = static_cast<ifaddrmsg*>(mnl_nlmsg_put_extra_header(&request, sizeof(ifaddrmsg)));
  body->ifa_family = family_of(address);
  body->ifa_prefixlen = static_cast<unsigned char>(address.size() * 8);
  body->ifa_index = static_cast<unsigned>(link);
  put_address(request, IFA_LOCAL, address);
  put_address(request, IFA_ADDRESS, address);
  if (type == RTM_NEWADDR && !address.is_v4()) {
    body->ifa_flags = IFA_F_NODAD;
    // A preferred time of 0 makes it deprecated: good for answers, never chosen for what this
    // host opens itself (RFC 6724, rule 3).
    const ifa_cacheinfo times{.ifa_prefered = 0, .ifa_valid = kForever, .cstamp = 0, .tstamp = 0};
    mnl_attr_put(&request, IFA_CACHEINFO, sizeof(times), &times);
  }
  return exchange(request, [](const nlmsghdr&) {});
}

int Rtnetlink::add_host_address(int link, const net::IpAddress& address) {
  return change_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, link, address);
}

int Rtnetlink::remove_host_address(int link, const net::IpAddress& address) {
  return change_address(RTM_DELADDR, 0, link, address);
}

const Link* find_link(const std::vector<Link>& links, int index) {
  const auto found = std::find_if(links.begin(), links.end(),
                                  [&](const Link& link) { return link.index == index; });
  return found == links.end() ? nullptr : &*found;
}

const Link* find_link(const std::vector<Link>& links, const std::string& name) {
  const auto found =
      std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.name == name; });
  return found == links.end() ? nullptr : &*found;
}

}  // namespace lb::host
