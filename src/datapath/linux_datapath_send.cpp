// SPDX-License-Identifier: Apache-2.0
// What becomes of frames that the engine has decided about.
#include <cerrno>
#include <cstring>

#include "datapath/linux_datapath.hpp"
#include "engine/forward/fragment.hpp"
#include "engine/removal.hpp"
#include "net/parse.hpp"

namespace lb::datapath {

using engine::DropReason;
using engine::InterfaceId;
using engine::Verdict;

ServedInterface* LinuxDatapath::served(InterfaceId id) noexcept {
  for (auto& interface : interfaces_) {
    if (interface.opened != nullptr && interface.opened->id() == id) return interface.opened.get();
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

/// Lets a frame of the host go where it was going before it was caught.
void LinuxDatapath::leave(std::span<std::byte> frame, const Origin& origin) {
  const auto& interface = interfaces_[origin.interface].opened;
  if (interface == nullptr) return director_.count_drop(DropReason::kOutputFull);
  const std::span<const std::byte> bytes = frame;
  const auto verdict = Verdict{.kind = Verdict::Kind::kSend, .out = interface->id()};
  const auto headers = net::parse_frame(bytes);
  const auto* link = view_->interface(interface->id());
  if (!headers || link == nullptr || headers->ip_size() <= link->mtu) {
    return settle_output({.verdict = verdict, .frame = frame}, origin);
  }
  // It came in fragments and was put together to be looked at.
  const bool is_sent =
      headers->family() == net::Family::kIpv4
          ? engine::fragment_ipv4(bytes, *headers, link->mtu, {}, verdict, outputs_)
          : engine::fragment_ipv6(bytes, *headers, link->mtu, {},
                                  net::Be32::from_host(++identification_), verdict, outputs_);
  if (!is_sent) director_.count_drop(DropReason::kOutputFull);
}

/// Takes tags off, or puts those that the packet came with on, by where the frame leaves.
Frame LinuxDatapath::match_tags(Frame frame, const Origin& origin, InterfaceId out) {
  net::Packet packet(memory_->chunk(frame), frame.offset, frame.length);
  const auto& interface = interfaces_[origin.interface].opened;
  if (interface == nullptr || interface->id() != out) {
    VlanTags::remove(packet);
  } else if (!origin.tags.empty() && VlanTags(packet.bytes()).empty()) {
    (void)origin.tags.add_to(packet);  // the room before a frame is larger than any header
  }
  frame.offset = static_cast<std::uint32_t>(packet.offset());
  frame.length = static_cast<std::uint32_t>(packet.size());
  return frame;
}

/// Does with a processed frame what the verdict says, and takes its chunk.
void LinuxDatapath::settle(Frame frame, const Verdict& verdict, const Origin& origin) {
  switch (verdict.kind) {
    case Verdict::Kind::kSend:
      if (!verdict.next_hop.is_unspecified()) {
        neighbours_->note_use(verdict.out, verdict.next_hop, now_);
      }
      return send(match_tags(frame, origin, verdict.out), verdict.out, origin.queue);
    case Verdict::Kind::kResolve:
      frame = match_tags(frame, origin, verdict.out);
      if (!neighbours_->hold(verdict.out, verdict.next_hop, frame, now_)) {
        drop(frame, DropReason::kNoNeighbour);
      }
      return;
    case Verdict::Kind::kHost:
      if (origin.is_from_host) {
        const auto& interface = interfaces_[origin.interface].opened;
        if (interface != nullptr) return send(frame, interface->id(), origin.queue);
        return drop(frame, DropReason::kOutputFull);
      }
      deliver(memory_->bytes(frame), origin);
      break;
    case Verdict::Kind::kConsumed:
    case Verdict::Kind::kDrop:  // counted by the director
      break;
  }
  memory_->give(frame.chunk);
}

/// Does with a frame that leaves besides what its verdict says; it is copied into a chunk.
void LinuxDatapath::settle_output(engine::OutputFrame output, const Origin& origin) {
  using Kind = Verdict::Kind;
  if (output.verdict.kind == Kind::kHost) {
    // Of the host's own packets some are answered to it (an ICMP error), others go on.
    const auto headers = net::parse_frame(output.frame);
    const bool is_for_host =
        !origin.is_from_host || !headers || view_->is_local(headers->destination);
    return is_for_host ? deliver(output.frame, origin) : leave(output.frame, origin);
  }
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

bool LinuxDatapath::send_due() {
  const bool is_more = engine::end_due(director_, outputs_);
  const Origin nowhere{.interface = 0, .queue = 0};
  for (const auto& output : outputs_.frames()) settle_output(output, nowhere);
  outputs_.clear();
  return is_more;
}

}  // namespace lb::datapath
