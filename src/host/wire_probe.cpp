// SPDX-License-Identifier: Apache-2.0
#include "host/wire_probe.hpp"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <span>

namespace lb::host {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kQuestions = 3;
constexpr std::size_t kMacSize = 6;

/// A socket that asks and is answered; closed by the destructor.
class Asker {
 public:
  explicit Asker(int fd) : fd_(fd) {}
  virtual ~Asker() { ::close(fd_); }
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;
  /// Returns 0 or an errno.
  [[nodiscard]] virtual int ask() = 0;
  /// The hardware address of whoever answers, if `message` is an answer.
  [[nodiscard]] virtual std::optional<net::Mac> answer(std::span<const std::byte> message) = 0;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

net::Mac mac_at(const void* bytes) {
  net::Mac mac;
  std::memcpy(mac.bytes.data(), bytes, kMacSize);
  return mac;
}

/// ARP (RFC 826).
class ArpAsker final : public Asker {
 public:
  ArpAsker(int fd, const Link& link, const Question& question) : Asker(fd) {
    to_.sll_family = AF_PACKET;
    to_.sll_protocol = htons(ETH_P_ARP);
    to_.sll_ifindex = link.index;
    to_.sll_halen = kMacSize;
    std::memset(to_.sll_addr, 0xff, kMacSize);
    request_.ea_hdr.ar_hrd = htons(ARPHRD_ETHER);
    request_.ea_hdr.ar_pro = htons(ETH_P_IP);
    request_.ea_hdr.ar_hln = kMacSize;
    request_.ea_hdr.ar_pln = 4;
    request_.ea_hdr.ar_op = htons(ARPOP_REQUEST);
    std::memcpy(request_.arp_sha, link.mac->bytes.data(), kMacSize);
    // Without an address of our own: 0.0.0.0, a probe of RFC 5227.
    if (question.own) std::memcpy(request_.arp_spa, question.own->bytes().data(), 4);
    std::memcpy(request_.arp_tpa, question.address.bytes().data(), 4);
  }
  [[nodiscard]] int bind_to_link() {
    return ::bind(fd(), reinterpret_cast<const sockaddr*>(&to_), sizeof(to_)) == 0 ? 0 : errno;
  }
  [[nodiscard]] int ask() override {
    const auto sent = ::sendto(fd(), &request_, sizeof(request_), 0,
                               reinterpret_cast<const sockaddr*>(&to_), sizeof(to_));
    return sent < 0 ? errno : 0;
  }
  [[nodiscard]] std::optional<net::Mac> answer(std::span<const std::byte> message) override {
    ether_arp reply{};
    if (message.size() < sizeof(reply)) return {};
    std::memcpy(&reply, message.data(), sizeof(reply));
    if (reply.ea_hdr.ar_op != htons(ARPOP_REPLY) || reply.ea_hdr.ar_pro != htons(ETH_P_IP) ||
        std::memcmp(reply.arp_spa, request_.arp_tpa, 4) != 0) {
      return {};
    }
    return mac_at(reply.arp_sha);
  }

 private:
  sockaddr_ll to_{};
  ether_arp request_{};
};

/// Neighbour discovery (RFC 4861, 4.3 and 4.4). The kernel fills in the checksum.
class NeighbourAsker final : public Asker {
 public:
  NeighbourAsker(int fd, const Link& link, const Question& question)
      : Asker(fd), target_(question.address) {
    // The solicited-node address (RFC 4291, 2.7.1): ff02::1:ff and the last three bytes.
    constexpr std::array<std::uint8_t, 13> kPrefix{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    to_.sin6_family = AF_INET6;
    to_.sin6_scope_id = static_cast<std::uint32_t>(link.index);
    std::memcpy(to_.sin6_addr.s6_addr, kPrefix.data(), kPrefix.size());
    std::memcpy(to_.sin6_addr.s6_addr + kPrefix.size(), target_.bytes().data() + kPrefix.size(), 3);
    request_.solicit.nd_ns_hdr.icmp6_type = ND_NEIGHBOR_SOLICIT;
    std::memcpy(request_.solicit.nd_ns_target.s6_addr, target_.bytes().data(), 16);
    request_.option.nd_opt_type = ND_OPT_SOURCE_LINKADDR;
    request_.option.nd_opt_len = 1;
    std::memcpy(request_.mac, link.mac->bytes.data(), kMacSize);
  }
  [[nodiscard]] int prepare(const Link& link) {
    const int hops = 255;  // any other limit is not answered (RFC 4861, 7.1.1)
    const int index = link.index;
    icmp6_filter filter{};
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ND_NEIGHBOR_ADVERT, &filter);
    const bool is_fine =
        ::setsockopt(fd(), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) == 0 &&
        ::setsockopt(fd(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) == 0 &&
        ::setsockopt(fd(), IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)) == 0 &&
        ::setsockopt(fd(), SOL_SOCKET, SO_BINDTODEVICE, link.name.c_str(),
                     static_cast<socklen_t>(link.name.size())) == 0;
    return is_fine ? 0 : errno;
  }
  [[nodiscard]] int ask() override {
    const auto sent = ::sendto(fd(), &request_, sizeof(request_), 0,
                               reinterpret_cast<const sockaddr*>(&to_), sizeof(to_));
    return sent < 0 ? errno : 0;
  }
  [[nodiscard]] std::optional<net::Mac> answer(std::span<const std::byte> message) override {
    if (message.size() < sizeof(nd_neighbor_advert)) return {};
    nd_neighbor_advert advert{};
    std::memcpy(&advert, message.data(), sizeof(advert));
    if (std::memcmp(advert.nd_na_target.s6_addr, target_.bytes().data(), 16) != 0) return {};
    auto options = message.subspan(sizeof(advert));
    while (options.size() >= 8) {
      const auto size = std::to_integer<std::size_t>(options[1]) * 8;
      if (size == 0 || size > options.size()) return {};
      if (options[0] == std::byte{ND_OPT_TARGET_LINKADDR}) return mac_at(&options[2]);
      options = options.subspan(size);
    }
    return {};
  }

 private:
  net::IpAddress target_;
  sockaddr_in6 to_{};
  struct {
    nd_neighbor_solicit solicit{};
    nd_opt_hdr option{};
    std::uint8_t mac[kMacSize]{};
  } request_;
};

Outcome<std::unique_ptr<Asker>> open_asker(const Link& link, const Question& question) {
  const bool is_v4 = question.address.is_v4();
  const int fd = is_v4 ? ::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ARP))
                       : ::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
  if (fd < 0) return system_trouble("cannot open a socket to ask on " + link.name, errno);
  int failed = 0;
  std::unique_ptr<Asker> result;
  if (is_v4) {
    auto arp = std::make_unique<ArpAsker>(fd, link, question);
    failed = arp->bind_to_link();
    result = std::move(arp);
  } else {
    auto neighbour = std::make_unique<NeighbourAsker>(fd, link, question);
    failed = neighbour->prepare(link);
    result = std::move(neighbour);
  }
  if (failed != 0) return system_trouble("cannot ask on " + link.name, failed);
  return result;
}

/// Adds those who answer until `end`.
Outcome<void> listen(Asker& asker, Clock::time_point end, std::vector<net::Mac>& found) {
  std::array<std::byte, 2048> buffer;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return {};
    pollfd waiting{.fd = asker.fd(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, static_cast<int>(left.count())) <= 0) continue;
    const auto size = ::recv(asker.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0) {
      if (errno == EAGAIN || errno == EINTR) continue;
      return system_trouble("cannot hear answers", errno);
    }
    const auto mac = asker.answer({buffer.data(), static_cast<std::size_t>(size)});
    if (mac && std::find(found.begin(), found.end(), *mac) == found.end()) found.push_back(*mac);
  }
}

}  // namespace

Outcome<std::vector<net::Mac>> who_has(const Link& link, const Question& question,
                                       std::chrono::milliseconds wait) {
  std::vector<net::Mac> found;
  if (!link.mac || !link.is_ethernet || !link.is_up) return found;  // nobody to be asked
  const auto asker = open_asker(link, question);
  if (!asker) return trouble(asker.error());
  const auto start = Clock::now();
  for (int number = 1; number <= kQuestions; ++number) {
    // The link may lack an address to ask from, or be going down.
    if (const int failed = (*asker)->ask(); failed != 0) {
      return system_trouble("cannot ask for " + question.address.to_text() + " on " + link.name,
                            failed);
    }
    if (auto heard = listen(**asker, start + wait * number / kQuestions, found); !heard) {
      return trouble(heard.error());
    }
  }
  return found;
}

void ask_all(std::vector<Asked>& all, std::chrono::milliseconds wait) {
  constexpr std::size_t kAtOnce = 32;  // each waits in a thread of its own
  for (std::size_t first = 0; first < all.size(); first += kAtOnce) {
    std::vector<std::future<void>> running;
    for (std::size_t i = first; i < std::min(all.size(), first + kAtOnce); ++i) {
      running.push_back(std::async(std::launch::async, [&one = all[i], wait] {
        one.answers = who_has(one.link, one.question, wait);
      }));
    }
    for (auto& one : running) one.get();
  }
}

std::optional<net::IpAddress> own_address(const std::vector<LinkAddress>& addresses,
                                          const Link& link, const net::IpAddress& address) {
  std::optional<net::IpAddress> best;
  for (const auto& own : addresses) {
    if (own.link != link.index || own.address.family() != address.family()) continue;
    if (own.address == address) continue;
    if (own.address.prefix(own.length) == address.prefix(own.length)) return own.address;
    if (!best) best = own.address;
  }
  return best;
}

}  // namespace lb::host
