// SPDX-License-Identifier: Apache-2.0
#include "replay/sync_link.hpp"

#include <algorithm>
#include <array>

#include "replay/frame_checksum.hpp"
#include "replay/ip_view.hpp"

namespace lb::replay {
namespace {

constexpr std::uint16_t kSourcePort = 40000;
constexpr std::uint8_t kUdp = 17;
constexpr std::size_t kEthernet = 14;
constexpr std::size_t kUdpHeader = 8;
// The kernel's thread looks once a second and wakes some ticks late.
constexpr Duration kEarlier = std::chrono::milliseconds(1100);
constexpr Duration kLater = std::chrono::milliseconds(100);

void put8(Bytes& out, unsigned value) { out.push_back(static_cast<std::byte>(value & 0xffU)); }
void put16(Bytes& out, unsigned value) {
  put8(out, value >> 8);
  put8(out, value);
}
void put_address(Bytes& out, const net::IpAddress& address) {
  for (std::size_t i = 0; i < address.size(); ++i) put8(out, address.bytes()[i]);
}
void set16(Bytes& out, std::size_t at, unsigned value) {
  out[at] = static_cast<std::byte>(value >> 8);
  out[at + 1] = static_cast<std::byte>(value & 0xffU);
}

// RFC 1112, 6.4; RFC 2464, 7.
net::Mac multicast_mac(const net::IpAddress& group) {
  const auto& b = group.bytes();
  if (group.is_v4())
    return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(b[1] & 0x7f), b[2], b[3]}};
  return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
}

Bytes udp_frame(const engine::Interface& interface, const net::IpAddress& source,
                const model::SyncDaemonSpec& daemon, std::uint16_t port,
                std::span<const std::byte> message) {
  const bool is_v4 = daemon.group.is_v4();
  const auto udp_size = static_cast<unsigned>(kUdpHeader + message.size());
  Bytes frame;
  for (const auto byte : multicast_mac(daemon.group).bytes) put8(frame, byte);
  for (const auto byte : interface.mac.bytes) put8(frame, byte);
  put16(frame, is_v4 ? 0x0800 : 0x86dd);
  if (is_v4) {
    put16(frame, 0x4500);
    put16(frame, 20 + udp_size);
    put16(frame, 0);
    put16(frame, 0);
    put8(frame, daemon.ttl);
    put8(frame, kUdp);
    put16(frame, 0);
  } else {
    put16(frame, 0x6000);
    put16(frame, 0);
    put16(frame, udp_size);
    put8(frame, kUdp);
    put8(frame, daemon.ttl);
  }
  put_address(frame, source);
  put_address(frame, daemon.group);
  const auto udp = frame.size();
  put16(frame, kSourcePort);
  put16(frame, port);
  put16(frame, udp_size);
  put16(frame, 0);
  frame.insert(frame.end(), message.begin(), message.end());
  const std::span<const std::byte> all(frame);
  if (is_v4) set16(frame, kEthernet + 10, plain_checksum(all.subspan(kEthernet, 20)));
  const auto sum =
      plain_checksum(all.subspan(udp), pseudo_header_sum(all.subspan(kEthernet), kUdp, udp_size));
  set16(frame, udp + 6, sum == 0 ? 0xffff : sum);
  return frame;
}

bool is_for(const engine::SyncSockets& sockets, const IpView& ip) {
  const auto to = destination_end(ip);
  const auto port = to.port.to_host();
  return ip.protocol == kUdp && to.address == sockets.daemon.group && port >= sockets.daemon.port &&
         port < sockets.daemon.port + sockets.ports;
}

// What differs between any two runs: identification or flow label, source port, and the checksums
// over them. Said for every message whose step was recorded alike both times.
ExpectedFrame with_what_is_random(ExpectedFrame frame) {
  if (!frame.any.empty()) return frame;
  const auto ip = view_frame(frame.bytes);
  if (ip && ip->is_v4()) {
    frame.any = {{18, 2}, {24, 2}, {34, 2}, {40, 2}};
  } else {
    frame.any = {{14, 4}, {54, 2}, {60, 2}};
  }
  return frame;
}

}  // namespace

Result<void> SyncLink::open(const engine::SyncSockets& sockets) noexcept {
  (sockets.daemon.role == model::SyncRole::kMaster ? master_ : backup_) = sockets;
  return {};
}

void SyncLink::close(model::SyncRole role) noexcept {
  if (role == model::SyncRole::kBackup) backup_.reset();
}

void SyncLink::send(unsigned port, std::span<const std::byte> message) noexcept {
  const auto& daemon = master_->daemon;
  const auto* interface = network_.interface(daemon.interface.view());
  if (interface == nullptr) return;
  const auto source = network_.interface_address(interface->id, daemon.group.family());
  const auto number = static_cast<std::uint16_t>(daemon.port + port);
  sent_.push_back(
      {now_,
       {interface->name,
        udp_frame(*interface, source.value_or(net::IpAddress::any(daemon.group.family())), daemon,
                  number, message)}});
}

bool SyncLink::is_sync_frame(const Bytes& frame) const {
  const auto ip = view_frame(frame);
  return master_ && ip && is_for(*master_, *ip);
}

std::optional<Bytes> SyncLink::message_of(const std::string& port, const Bytes& frame) const {
  const auto ip = view_frame(frame);
  if (!backup_ || backup_->daemon.interface.view() != port || !ip || !is_for(*backup_, *ip) ||
      !wrong_checksums(frame).empty() || ip->payload().size() < kUdpHeader) {
    return std::nullopt;
  }
  const auto message = ip->payload().subspan(kUdpHeader);
  return Bytes(message.begin(), message.end());
}

void SyncComparison::expect(std::size_t line, Timestamp time, const ExpectedFrame& frame) {
  expected_.push_back({line, time, with_what_is_random(frame)});
}

void SyncComparison::add(std::vector<SyncLink::Sent> sent) {
  std::move(sent.begin(), sent.end(), std::back_inserter(sent_));
}

std::optional<SyncComparison::Finding> SyncComparison::check(Timestamp now, bool is_end) {
  while (!expected_.empty() && !sent_.empty()) {
    const auto wanted = std::move(expected_.front());
    const auto got = std::move(sent_.front());
    expected_.pop_front();
    sent_.pop_front();
    if (auto mismatch = compare_frames(std::span(&wanted.frame, 1), std::span(&got.frame, 1))) {
      return Finding{wanted.line, *std::move(mismatch)};
    }
  }
  if (!expected_.empty() && (is_end || now - expected_.front().time > kLater)) {
    const auto wanted = std::move(expected_.front());
    expected_.pop_front();
    auto mismatch = compare_frames(std::span(&wanted.frame, 1), {});
    return Finding{wanted.line, mismatch.value_or(Mismatch{"a sync message", "none"})};
  }
  if (!sent_.empty() && now - sent_.front().time > kEarlier) {
    const auto got = std::move(sent_.front());
    sent_.pop_front();
    return Finding{0, {"no sync message", frames_text(std::span(&got.frame, 1))}};
  }
  return std::nullopt;
}

}  // namespace lb::replay
