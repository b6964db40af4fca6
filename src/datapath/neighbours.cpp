// SPDX-License-Identifier: Apache-2.0
#include "datapath/neighbours.hpp"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <array>
#include <bit>

namespace lb::datapath {
namespace {

constexpr Duration kAskAgain = std::chrono::seconds(1);      // while frames wait
constexpr Duration kTellAgain = std::chrono::seconds(5);     // the kernel's delay_first_probe_time
constexpr Duration kForgetAfter = std::chrono::seconds(60);  // its gc_stale_time
constexpr int kTellAtOnce = 256;                             // bounds the time of one advance()

}  // namespace

Neighbours::Neighbours(Ask ask, Release release)
    : ask_(std::move(ask)), release_(std::move(release)), waiting_(kMaxWaiting) {
  hops_.reserve(kMaxHops);
  free_.reserve(kMaxWaiting);
  for (std::uint32_t i = kMaxWaiting; i-- > 0;) free_.push_back(i);
}

std::size_t Neighbours::Hash::operator()(const Key& key) const noexcept {
  const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(key.address.bytes());
  auto mixed = (words[0] ^ std::rotl(words[1], 32) ^ static_cast<std::uint64_t>(key.out)) *
               0x9e3779b97f4a7c15U;  // Fibonacci hashing; neighbours are no hostile input
  return mixed ^ (mixed >> 32U);
}

Neighbours::Hop* Neighbours::hop_for(const Key& key, Timestamp now) {
  if (const auto found = hops_.find(key); found != hops_.end()) return &found->second;
  if (hops_.size() >= kMaxHops) return nullptr;
  // Not yet due: only what is used for a while needs to be told.
  return &hops_.emplace(key, Hop{.used = now, .asked = now}).first->second;
}

void Neighbours::note_use(engine::InterfaceId out, const net::IpAddress& next_hop, Timestamp now) {
  if (Hop* hop = hop_for({out, next_hop}, now)) hop->used = now;
}

bool Neighbours::hold(engine::InterfaceId out, const net::IpAddress& next_hop, const Frame& frame,
                      Timestamp now) {
  const Key key{out, next_hop};
  Hop* hop = hop_for(key, now);
  if (hop == nullptr) return false;
  hop->used = now;
  if (hop->waiting == 0 || now - hop->asked >= kAskAgain) ask(key, *hop, now);
  if (hop->waiting >= kMaxWaitingEach || free_.empty()) return false;
  const auto index = free_.back();
  free_.pop_back();
  waiting_[index] = {.frame = frame, .since = now, .next = kNone};
  if (hop->tail == kNone) {
    hop->head = index;
  } else {
    waiting_[hop->tail].next = index;
  }
  hop->tail = index;
  ++hop->waiting;
  return true;
}

void Neighbours::ask(const Key& key, Hop& hop, Timestamp now) {
  hop.asked = now;
  ask_(key.out, key.address);
}

void Neighbours::release_first(const Key& key, Hop& hop, const net::Mac* mac) {
  const auto index = hop.head;
  const Frame frame = waiting_[index].frame;
  hop.head = waiting_[index].next;
  if (hop.head == kNone) hop.tail = kNone;
  --hop.waiting;
  free_.push_back(index);
  release_(key.out, frame, mac);
}

void Neighbours::changed(const NeighbourChange& change) {
  if (!change.mac && !change.failed) return;
  const auto found = hops_.find({change.interface, change.address});
  if (found == hops_.end()) return;
  while (found->second.waiting != 0) {
    release_first(found->first, found->second, change.mac ? &*change.mac : nullptr);
  }
}

void Neighbours::interface_gone(engine::InterfaceId id) {
  for (auto hop = hops_.begin(); hop != hops_.end();) {
    if (hop->first.out != id) {
      ++hop;
      continue;
    }
    while (hop->second.waiting != 0) release_first(hop->first, hop->second, nullptr);
    hop = hops_.erase(hop);
  }
}

void Neighbours::advance(Timestamp now) {
  int told = 0;
  for (auto item = hops_.begin(); item != hops_.end();) {
    auto& [key, hop] = *item;
    while (hop.waiting != 0 && now - waiting_[hop.head].since >= kLongestWait) {
      release_first(key, hop, nullptr);
    }
    if (hop.waiting == 0 && now - hop.used >= kForgetAfter) {
      item = hops_.erase(item);
      continue;
    }
    const bool is_due = hop.waiting != 0 ? now - hop.asked >= kAskAgain
                                         : hop.used > hop.asked && now - hop.asked >= kTellAgain;
    if (is_due && told < kTellAtOnce) {
      ++told;
      ask(key, hop, now);
    }
    ++item;
  }
}

int tell_use(NetlinkSocket& socket, engine::InterfaceId out, const net::IpAddress& next_hop) {
  std::array<char, 128> buffer{};
  auto* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = RTM_NEWNEIGH;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE;
  auto* neighbour = static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(ndmsg)));
  neighbour->ndm_family = static_cast<std::uint8_t>(next_hop.family());
  neighbour->ndm_ifindex = static_cast<int>(out);
  neighbour->ndm_state = NUD_NONE;
  neighbour->ndm_flags = NTF_USE;
  mnl_attr_put(message, NDA_DST, next_hop.size(), next_hop.bytes().data());
  return socket.send(*message);
}

}  // namespace lb::datapath
