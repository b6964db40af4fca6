// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/testing/lab.hpp"
#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::bench {

using engine::test::Frame;

/// Pseudo-random numbers (xorshift64, period 2^64 - 1): the same in every run.
class Numbers {
 public:
  std::uint64_t next() noexcept {
    state_ ^= state_ << 13U;
    state_ ^= state_ >> 7U;
    state_ ^= state_ << 17U;
    return state_;
  }

 private:
  std::uint64_t state_ = 0x9e3779b97f4a7c15U;
};

/// Number `index` of up to four million clients.
inline net::Endpoint numbered_client(bool is_v6, std::uint32_t index) {
  const auto port = engine::test::port_of(40000);
  if (!is_v6) return {net::IpAddress::v4(net::Be32::from_host(0x0a400000U + index)), port};
  auto bytes = engine::test::ip("2001:db8:1::").bytes();
  const auto low = std::bit_cast<std::array<std::uint8_t, 4>>(net::Be32::from_host(index));
  std::copy(low.begin(), low.end(), bytes.begin() + 12);
  return {net::IpAddress::v6(bytes), port};
}

/// A frame that is sent again and again, each time by another client.
class NumberedFrame {
 public:
  NumberedFrame(bool is_v6, std::uint8_t tcp_flags)
      : frame_(engine::test::tcp(numbered_client(is_v6, 0),
                                 is_v6 ? engine::test::vip6() : engine::test::vip(), tcp_flags)),
        is_v6_(is_v6) {}

  /// Makes it the packet of client `index`. The TCP checksum is left behind: the director does
  /// not verify it.
  [[nodiscard]] std::span<const std::byte> from(std::uint32_t index) noexcept {
    constexpr std::size_t kIp = 14;
    const std::span<std::byte> bytes(frame_);
    if (is_v6_) {
      net::store(bytes, kIp + 8 + 12, net::Be32::from_host(index));
      return bytes;
    }
    const auto old_address = net::load<net::Be32>(bytes, kIp + 12);
    const auto new_address = net::Be32::from_host(0x0a400000U + index);
    net::ChecksumUpdate update;
    update.replace(old_address, new_address);
    net::store(bytes, kIp + 12, new_address);
    net::store(bytes, kIp + 10, update.apply(net::load<net::Be16>(bytes, kIp + 10)));
    return bytes;
  }

 private:
  Frame frame_;
  bool is_v6_;
};

/// As the daemon does: huge pages for large tables.
inline void ask_for_huge_pages(void* block, std::size_t size) noexcept {
  constexpr std::uintptr_t kPage = 4096;
  const auto start = (reinterpret_cast<std::uintptr_t>(block) + kPage - 1) & ~(kPage - 1);
  if (size < (std::size_t{4} << 20U)) return;
  ::madvise(reinterpret_cast<void*>(start), (size - kPage) & ~(kPage - 1), MADV_HUGEPAGE);
}

/// Options for so many connections. Of a generic type, lest older revisions that bench/compare.py
/// is to compare with lack a member.
template <class Options = engine::DirectorOptions>
Options options_for(std::uint32_t capacity) {
  Options options;
  options.connection_capacity = capacity;
  if constexpr (requires { options.block_hint; }) options.block_hint = ask_for_huge_pages;
  return options;
}

/// A director with one service of four real servers, over IPv4 or IPv6.
class Balancer {
 public:
  Balancer(bool is_v6, model::ForwardingMethod method, std::uint32_t capacity)
      : director_(options_for(capacity), network_), is_v6_(is_v6) {
    using engine::test::ip;
    engine::test::fill(network_);
    network_.add_route({.destination = ip("10.64.0.0"),
                        .prefix_length = 10,
                        .via = ip("192.0.2.254"),
                        .out = engine::test::kOutside,
                        .source = {}});
    const auto at = is_v6 ? engine::test::vip6() : engine::test::vip();
    const auto key = engine::test::key_of(at);
    ok_ = director_.add_service(engine::test::service_at(at)).has_value();
    for (unsigned n = 1; n <= 4; ++n) {
      const unsigned port = method == model::ForwardingMethod::kMasquerade ? 8080 : 80;
      const auto to = is_v6 ? engine::test::server6(n, port) : engine::test::server(n, port);
      ok_ = ok_ && director_.add_destination(key, engine::test::to(to, method)).has_value();
    }
    director_.advance(now_);
  }

  engine::Verdict process(std::span<const std::byte> frame) noexcept {
    outputs_.clear();
    auto packet = buffer_.receive(frame);
    return director_.process(packet, engine::test::kOutside, now_, outputs_);
  }

#if __has_include("engine/burst.hpp")
  /// Processes packets of the clients that `next` names as one burst; returns how many were sent.
  template <class Next>
  std::size_t process_burst(NumberedFrame& frame, Next next) noexcept {
    constexpr std::size_t kRoom = 2048;
    for (std::size_t i = 0; i < engine::kBurst; ++i) {
      const auto bytes = frame.from(next());
      const auto room = std::span(frames_).subspan(i * kRoom, kRoom);
      std::copy(bytes.begin(), bytes.end(), room.begin() + engine::test::ReceiveBuffer::kHeadroom);
      burst_[i].packet = {room, engine::test::ReceiveBuffer::kHeadroom, bytes.size()};
      burst_[i].ingress = engine::test::kOutside;
    }
    director_.prepare(burst_);
    std::size_t sent = 0;
    for (auto& each : burst_) {
      outputs_.clear();
      const auto verdict = director_.process(each, now_, outputs_);
      sent += verdict.kind == engine::Verdict::Kind::kSend ? 1U : 0U;
    }
    return sent;
  }
#endif

  /// Opens the connections of the clients 0..count-1 and lets them go past the handshake.
  /// False if one could not be opened.
  bool open(std::uint32_t count) {
    NumberedFrame syn(is_v6_, net::kTcpSyn);
    NumberedFrame ack(is_v6_, net::kTcpAck);
    for (std::uint32_t i = 0; i < count; ++i) {
      if (process(syn.from(i)).kind != engine::Verdict::Kind::kSend) return false;
      if (process(ack.from(i)).kind != engine::Verdict::Kind::kSend) return false;
    }
    return ok_ && director_.connection_count() == count;
  }

  void pass(Duration duration) noexcept { now_ = now_ + duration; }
  [[nodiscard]] Timestamp now() const noexcept { return now_; }
  [[nodiscard]] engine::Director& director() noexcept { return director_; }
  /// What the benchmark itself does for each packet.
  net::Packet receive(std::span<const std::byte> frame) noexcept { return buffer_.receive(frame); }

 private:
  engine::NetworkView network_;
  engine::Director director_;
  engine::Outputs outputs_;
  engine::test::ReceiveBuffer buffer_;
#if __has_include("engine/burst.hpp")
  std::vector<std::byte> frames_ = std::vector<std::byte>(engine::kBurst * 2048);
  std::array<engine::BurstPacket, engine::kBurst> burst_;
#endif
  Timestamp now_{std::chrono::hours(1)};
  bool is_v6_;
  bool ok_ = false;
};

}  // namespace lb::bench
