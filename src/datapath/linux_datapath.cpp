// SPDX-License-Identifier: Apache-2.0
#include "datapath/linux_datapath.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace lb::datapath {
namespace {

using engine::DropReason;
using engine::InterfaceId;
using engine::Verdict;

constexpr std::size_t kBurst = 64;

}  // namespace

void LinuxDatapath::link_changed(const LinkChange& link) {
  for (auto& interface : interfaces_) {
    if (interface == nullptr || interface->id() != link.interface.id) continue;
    if (!link.removed) {
      if (link.interface.mtu > FrameMemory::kLargestFrame) {
        log_(LogLevel::kWarning,
             fmt::format("interface {}: the MTU is {} now; frames beyond {} bytes will be lost",
                         interface->name(), link.interface.mtu, FrameMemory::kLargestFrame));
      }
      continue;
    }
    log_(LogLevel::kError,
         fmt::format("interface {}: it is gone and served no more; restart to serve a new one",
                     interface->name()));
    interface.reset();
  }
  if (link.removed) neighbours_->interface_gone(link.interface.id);
}

ServedInterface* LinuxDatapath::served(InterfaceId id) noexcept {
  for (auto& interface : interfaces_) {
    if (interface != nullptr && interface->id() == id) return interface.get();
  }
  return nullptr;
}

void LinuxDatapath::drop(const Frame& frame, DropReason reason) {
  director_.count_drop(reason);
  memory_->give(frame.chunk);
}

void LinuxDatapath::send_raw(InterfaceId out, std::span<const std::byte> frame) {
  const int error = raw_->send(out, frame);
  if (error != 0) {
    director_.count_drop(error == EMSGSIZE ? DropReason::kTooBig : DropReason::kOutputFull);
  }
}

/// Sends a frame and takes its chunk.
void LinuxDatapath::send(Frame frame, InterfaceId out, std::uint32_t queue) {
  ServedInterface* interface = served(out);
  if (interface == nullptr) {
    send_raw(out, memory_->bytes(frame));
    memory_->give(frame.chunk);
  } else if (!interface->port_for(queue).send(frame)) {
    drop(frame, DropReason::kOutputFull);
  }
}

void LinuxDatapath::deliver(std::span<const std::byte> frame, const Origin& origin) {
  if (const int error = host_->deliver(origin.interface, frame); error != 0) {
    director_.count_drop(DropReason::kOutputFull);
  }
}

/// Does with a processed frame what the verdict says, and takes its chunk.
void LinuxDatapath::settle(Frame frame, const Verdict& verdict, const Origin& origin) {
  switch (verdict.kind) {
    case Verdict::Kind::kSend:
      if (!verdict.next_hop.is_unspecified()) {
        neighbours_->note_use(verdict.out, verdict.next_hop, now_);
      }
      return send(frame, verdict.out, origin.queue);
    case Verdict::Kind::kResolve:
      if (!neighbours_->hold(verdict.out, verdict.next_hop, frame, now_)) {
        drop(frame, DropReason::kNoNeighbour);
      }
      return;
    case Verdict::Kind::kHost:
      deliver(memory_->bytes(frame), origin);
      break;
    case Verdict::Kind::kConsumed:
    case Verdict::Kind::kDrop:  // counted by the director
      break;
  }
  memory_->give(frame.chunk);
}

/// Does with a frame that leaves besides what its verdict says; it is copied into a chunk.
void LinuxDatapath::settle_output(const engine::OutputFrame& output, const Origin& origin) {
  using Kind = Verdict::Kind;
  if (output.verdict.kind == Kind::kHost) return deliver(output.frame, origin);
  if (output.verdict.kind != Kind::kSend && output.verdict.kind != Kind::kResolve) return;
  if (output.frame.size() > FrameMemory::kLargestFrame) {
    if (output.verdict.kind == Kind::kSend) return send_raw(output.verdict.out, output.frame);
    return director_.count_drop(DropReason::kTooBig);
  }
  if (memory_->free_chunks() == 0) return director_.count_drop(DropReason::kOutputFull);
  const Frame frame{.chunk = memory_->take(),
                    .offset = FrameMemory::kHeadroom,
                    .length = static_cast<std::uint32_t>(output.frame.size())};
  std::memcpy(memory_->bytes(frame).data(), output.frame.data(), output.frame.size());
  settle(frame, output.verdict, origin);
}

void LinuxDatapath::process(Frame frame, const Origin& origin) {
  net::Packet packet(memory_->chunk(frame), frame.offset, frame.length);
  const auto ingress = interfaces_[origin.interface]->id();
  const auto verdict = director_.process(packet, ingress, now_, outputs_);
  frame.offset = static_cast<std::uint32_t>(packet.offset());
  frame.length = static_cast<std::uint32_t>(packet.size());
  settle(frame, verdict, origin);
  for (const auto& output : outputs_.frames()) settle_output(output, origin);
  outputs_.clear();
}

std::size_t LinuxDatapath::receive(std::size_t interface, XskPort& port, std::size_t budget) {
  std::array<Frame, kBurst> frames;
  const auto count = port.receive(std::span(frames).first(std::min(budget, kBurst)));
  const Origin origin{.interface = interface, .queue = port.place().queue};
  for (std::size_t i = 0; i < count; ++i) process(frames[i], origin);
  return count;
}

/// Shows the kernel all that is to be sent; true if some of it waits for the kernel.
bool LinuxDatapath::flush() {
  bool is_waiting = false;
  for (auto& interface : interfaces_) {
    if (interface == nullptr) continue;
    for (auto& port : interface->ports()) {
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
      // The answers are errors only; the frames concerned run out of time.
      (void)requests_->receive([](const nlmsghdr&) {});
    }
    if (descriptor != timer_.get()) continue;
    std::uint64_t expirations = 0;
    if (::read(timer_.get(), &expirations, sizeof(expirations)) > 0) neighbours_->advance(now_);
    for (auto& interface : interfaces_) {
      if (interface != nullptr) interface->watch_drops(log_);
    }
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
      if (interfaces_[which] == nullptr) continue;
      for (auto& port : interfaces_[which]->ports()) {
        if (total >= budget) break;
        const auto count = receive(which, *port, budget - total);
        total += count;
        is_more = is_more || count == kBurst;
      }
    }
    ++turn_;
    if (is_more) flush();
  }
  const bool is_waiting = flush();
  return is_waiting || total >= budget;
}

std::vector<InterfaceStatus> LinuxDatapath::status() const {
  std::vector<InterfaceStatus> result;
  for (const auto& interface : interfaces_) {
    if (interface != nullptr) result.push_back(interface->status());
  }
  return result;
}

}  // namespace lb::datapath
