// SPDX-License-Identifier: Apache-2.0
#include "datapath/linux_datapath.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace lb::datapath {
namespace {

using engine::DropReason;
using engine::InterfaceId;
using engine::kBurst;
using engine::Verdict;

}  // namespace

/// Has the engine decide about a frame. `segment_to`: it is a piece of a larger one on its way to
/// that address.
void LinuxDatapath::process(Frame frame, Origin origin, const net::IpAddress* segment_to) {
  auto packet = packet_in(frame);
  const auto ingress =
      origin.is_from_host ? InterfaceId::kHost : interfaces_[origin.interface].opened->id();
  origin.tags = VlanTags(packet.bytes());
  const auto verdict = director_.process(packet, ingress, now_, outputs_);
  conclude(frame, packet, verdict, origin, segment_to);
}

/// Does what the engine has decided about a frame that now lies at `packet`.
void LinuxDatapath::conclude(Frame frame, const net::Packet& packet, const Verdict& verdict,
                             const Origin& origin, const net::IpAddress* segment_to) {
  frame.offset = static_cast<std::uint32_t>(packet.offset());
  frame.length = static_cast<std::uint32_t>(packet.size());
  if (segment_to != nullptr && verdict.kind == Verdict::Kind::kDrop &&
      verdict.reason == DropReason::kTooBig) {
    for (const auto& output : outputs_.frames()) segment_sizes_.learn(*segment_to, output.frame);
  }
  settle(frame, verdict, origin);
  // Settling may add frames.
  for (std::size_t i = 0; i < outputs_.frames().size(); ++i) {
    settle_output(outputs_.frames()[i], origin);
  }
  outputs_.clear();
}

/// Handles a frame larger than the MTU in pieces; false (and nothing is done) if it can't be cut
/// up.
bool LinuxDatapath::process_large(std::span<const std::byte> frame, const Origin& origin) {
  const auto mtu = interfaces_[origin.interface].plan.link.interface.mtu;
  auto segmenter = Segmenter::create(frame, mtu, segment_sizes_);
  if (!segmenter) return false;
  for (;;) {
    if (memory_->free_chunks() == 0) {
      director_.count_drop(DropReason::kOutputFull);
      return true;
    }
    Frame segment{.chunk = memory_->take(),
                  .offset = FrameMemory::kHeadroom,
                  .length = FrameMemory::kLargestFrame};
    segment.length = static_cast<std::uint32_t>(segmenter->next(memory_->bytes(segment)));
    if (segment.length == 0) {
      memory_->give(segment.chunk);
      return true;
    }
    process(segment, origin, &segmenter->destination());
  }
}

/// Adds a part to the frame that it belongs to, and handles frames that are too large for a packet.
/// False (and the chunk is still the caller's): the frame is neither.
bool LinuxDatapath::join(XskPort& port, const Frame& frame, const Origin& origin) {
  auto& partial = port.partial();
  const auto bytes = memory_->bytes(frame);
  if (!frame.continues && partial.empty()) {
    constexpr std::size_t kEthernet = 14;
    const auto mtu = interfaces_[origin.interface].plan.link.interface.mtu;
    if (bytes.size() <= mtu + kEthernet || !process_large(bytes, origin)) return false;
    memory_->give(frame.chunk);
    return true;
  }
  partial.insert(partial.end(), bytes.begin(), bytes.end());
  memory_->give(frame.chunk);
  if (frame.continues) return true;
  if (!process_large(partial, origin)) director_.count_drop(DropReason::kTooBig);
  partial.clear();
  return true;
}

std::size_t LinuxDatapath::receive(std::size_t interface, XskPort& port, std::size_t budget) {
  std::array<Frame, kBurst> frames;
  const auto count = port.receive(std::span(frames).first(std::min(budget, kBurst)));
  Origin origin{.interface = interface, .queue = port.place().queue};
  std::array<engine::BurstPacket, kBurst> burst;
  for (std::size_t i = 0; i < count; ++i) {
    burst[i].packet = packet_in(frames[i]);
    burst[i].ingress = interfaces_[interface].opened->id();
  }
  auto& served = *interfaces_[interface].opened;
  if (served.counts_checksums() && director_.settings().fast_path != 0) {
    for (std::size_t i = 0; i < count; ++i) served.note_checksum(burst[i].packet.bytes());
  }
  director_.prepare(std::span(burst).first(count));
  for (std::size_t i = 0; i < count; ++i) {
    if (join(port, frames[i], origin)) continue;
    origin.tags = VlanTags(burst[i].packet.bytes());
    const auto verdict = director_.process(burst[i], now_, outputs_);
    conclude(frames[i], burst[i].packet, verdict, origin);
  }
  return count;
}

/// Handles what servers on the director send; at most `budget` frames.
std::size_t LinuxDatapath::receive_from_host(std::size_t interface, std::size_t budget) {
  const Origin origin{.interface = interface, .queue = 0, .is_from_host = true};
  for (std::size_t count = 0; count < budget; ++count) {
    if (memory_->free_chunks() == 0) return budget;  // what is sent comes back soon
    Frame frame{.chunk = memory_->take(),
                .offset = FrameMemory::kHeadroom,
                .length = FrameMemory::kLargestFrame};
    frame.length = static_cast<std::uint32_t>(host_->receive(interface, memory_->bytes(frame)));
    if (frame.length == 0) {
      memory_->give(frame.chunk);
      interfaces_[interface].has_host_frames = false;
      return count;
    }
    process(frame, origin);
  }
  return budget;
}

/// Shows the kernel all that is to be sent; true if some of it waits for the kernel.
bool LinuxDatapath::flush() {
  bool is_waiting = false;
  for (auto& interface : interfaces_) {
    if (interface.opened == nullptr) continue;
    for (auto& port : interface.opened->ports()) {
      port->flush();
      is_waiting = is_waiting || port->wants_flush();
    }
  }
  return is_waiting;
}

/// Handles all that is no packet: the kernel's messages and the tick.
void LinuxDatapath::handle_events() {
  std::array<epoll_event, 64> events;
  const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < ready; ++i) {
    const int descriptor = events[static_cast<std::size_t>(i)].data.fd;
    if (descriptor == network_->fd()) network_->poll();
    if (descriptor == requests_->fd()) {
      // Errors are of no interest: the frames concerned run out of time.
      (void)requests_->receive([this](const nlmsghdr& message) { host_->note(message); });
    }
    if (descriptor == errands_->fd()) errands_->conclude();
    if (descriptor == timer_.get()) tick();
    for (std::size_t number = 0; number < interfaces_.size(); ++number) {
      if (descriptor == host_->fd(number)) interfaces_[number].has_host_frames = true;
    }
  }
}

void LinuxDatapath::tick() {
  std::uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof(expirations)) <= 0) return;
  // XDP can send to servers only while their hardware addresses are known.
  director_.visit_stand_in_hops(
      [this](const engine::NextHop& hop) { neighbours_->note_use(hop.out, hop.address, now_); });
  neighbours_->advance(now_);
  network_->advance(now_);
  host_ports_.advance(director_, now_, log_);
  // Both are asked for again soon, should no more errands be taken.
  (void)errands_->post([this]() -> Errands::Conclusion {
    host_->ask_losses(*requests_);
    return {};
  });
  if (!is_asking_) ask_about_sending();
  try_again();
  for (std::size_t number = 0; number < interfaces_.size(); ++number) {
    if (interfaces_[number].opened != nullptr) interfaces_[number].opened->watch_drops(log_);
  }
}

bool LinuxDatapath::poll(Timestamp now, std::size_t budget) {
  now_ = now;
  handle_events();

  // Bursts in turn, so that no interface starves another.
  std::size_t total = 0;
  bool is_more = true;
  while (is_more && total < budget) {
    is_more = false;
    for (std::size_t i = 0; i < interfaces_.size() && total < budget; ++i) {
      const std::size_t which = (turn_ + i) % interfaces_.size();
      auto& interface = interfaces_[which];
      if (interface.has_host_frames) {
        const auto count = receive_from_host(which, std::min(budget - total, kBurst));
        total += count;
        is_more = is_more || count == kBurst;
      }
      if (interface.opened == nullptr) continue;
      for (auto& port : interface.opened->ports()) {
        if (total >= budget) break;
        const auto count = receive(which, *port, budget - total);
        total += count;
        is_more = is_more || count == kBurst;
      }
    }
    ++turn_;
    if (is_more) flush();
  }
  const bool is_more_due = send_due();
  const bool is_waiting = flush();
  return is_waiting || is_more_due || total >= budget;
}

std::vector<InterfaceStatus> LinuxDatapath::status() const {
  std::vector<InterfaceStatus> result;
  for (const auto& interface : interfaces_) {
    if (!interface.is_wanted) continue;
    if (interface.opened != nullptr) {
      result.push_back(interface.opened->status());
    } else {
      InterfaceStatus gone;
      gone.name = interface.plan.link.interface.name;
      gone.xdp_mode = "none";
      result.push_back(std::move(gone));
    }
  }
  return result;
}

std::vector<DatapathCounter> LinuxDatapath::counters() const {
  const auto steered = program_->counters();
  const auto fast = director_.fast_path_status();
  const auto stand_in = director_.stand_in_status();
  return {{"xdp_forwarded", steered[STEER_FORWARDED]},
          {"xdp_forwarded_by_busiest", program_->most_by_one(STEER_FORWARDED)},
          {"xdp_flows", fast.flows},
          {"xdp_flow_ends", fast.ends},
          {"xdp_flows_refused", fast.refused},
          {"xdp_passed", steered[STEER_PASSED]},
          {"xdp_to_virtual", steered[STEER_TO_VIRTUAL]},
          {"xdp_from_real", steered[STEER_FROM_REAL]},
          {"xdp_icmp_errors", steered[STEER_ICMP_ERROR]},
          {"xdp_fragments", steered[STEER_FRAGMENT]},
          {"xdp_odd", steered[STEER_ODD]},
          {"xdp_no_socket_drops", steered[STEER_DROP_NO_SOCKET]},
          {"xdp_stood_in", steered[STEER_STOOD_IN]},
          {"xdp_limit_drops", steered[STEER_DROP_LIMIT]},
          {"stand_in_active", stand_in.is_active ? 1U : 0U},
          {"stand_in_table_full", stand_in.is_table_full ? 1U : 0U},
          {"stand_in_times", stand_in.times},
          {"half_open_given_up", stand_in.given_up},
          {"stand_in_tables", stand_in.tables},
          {"stand_in_tables_refused", stand_in.refused},
          {"stand_in_slots_used", stand_in.slots_used},
          {"stand_in_slots", stand_in.slots},
          {"journal_flows", stand_in.noted},
          {"journal_full", stand_in.full},
          {"journal_adopted", stand_in.adopted},
          {"journal_lost", stand_in.lost},
          {"host_answers_caught", steered[STEER_FROM_HOST]},
          {"host_answer_drops", host_->losses()},
          {"host_return_drops", steered[STEER_HOST_DROP]}};
}

}  // namespace lb::datapath
