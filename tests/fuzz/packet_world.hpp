// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/packet_builder.hpp"
#include "fuzz/director_world.hpp"

namespace lb::fuzz {

/// A service for `PacketWorld::serve`.
struct ServiceSetting {
  net::Protocol protocol = net::Protocol::kTcp;
  bool is_v6 = false;
  net::Port port = net::Port::from_host(80);
  model::ForwardingMethod method = model::ForwardingMethod::kMasquerade;
  std::uint32_t flags = 0;
  std::string_view persistence_engine{};
};

/// Masquerade, direct, or a tunnel.
inline model::ForwardingMethod method_of(unsigned selector) {
  constexpr std::array kMethods{
      model::ForwardingMethod::kMasquerade, model::ForwardingMethod::kMasquerade,
      model::ForwardingMethod::kDirectRoute, model::ForwardingMethod::kTunnel};
  return kMethods[selector % kMethods.size()];
}

/// A director that frames are given to. What must hold after each: right checksums out of right
/// ones in, what is sent is whole, no drop for an internal reason.
class PacketWorld : public DirectorWorld {
 public:
  using Frame = engine::test::Frame;
  using InterfaceId = engine::InterfaceId;
  using Verdict = engine::Verdict;

  static constexpr std::uint32_t kCapacity = 24;
  static constexpr std::size_t kLargestFrame = 9000;
  static constexpr std::uint8_t kVirtual = 10;  ///< last byte of the address that `serve` takes
  static constexpr std::array<std::uint8_t, 3> kServers{103, 112, 126};

  PacketWorld() : DirectorWorld(kCapacity), buffer_(kHeadroom + kLargestFrame) {}

  /// Frames are cut at `kLargestFrame`. With `is_marked` mark and routing are made of the size.
  Verdict process(Frame frame, InterfaceId ingress, bool is_marked = false) {
    if (frame.size() > kLargestFrame) frame.resize(kLargestFrame);
    const auto headers = net::parse_frame(frame);
    const bool is_sound =
        headers && !headers->is_fragment() && engine::test::ChecksumOracle::fault(frame).empty();
    std::copy(frame.begin(), frame.end(), buffer_.begin() + kHeadroom);
    net::Packet packet(buffer_, kHeadroom, frame.size());
    if (is_marked) {
      packet.mark = static_cast<std::uint32_t>(frame.size() % 5);
      packet.routed_locally = frame.size() % 7 == 6;
    }
    outputs_.clear();
    const auto verdict = director.process(packet, ingress, now, outputs_);
    received = std::move(frame);
    sent.clear();
    expect(verdict.kind != Verdict::Kind::kDrop || verdict.reason != engine::DropReason::kInternal,
           "no drop for an internal reason");
    take(verdict, packet, is_sound);
    for (const auto& output : outputs_.frames()) {
      expect(net::parse_frame(output.frame).has_value(), "what else is sent is a whole packet");
      if (is_sound) check_checksums(output.frame);
      if (sent.empty()) sent.assign(output.frame.begin(), output.frame.end());
    }
    return verdict;
  }

  /// What left besides the packet that was processed last.
  [[nodiscard]] std::span<const engine::OutputFrame> outputs() const { return outputs_.frames(); }

  /// Adds a service at virtual address 10 with three real servers.
  void serve(const ServiceSetting& setting) {
    model::ServiceSpec service;
    service.key = {.family = setting.is_v6 ? net::Family::kIpv6 : net::Family::kIpv4,
                   .fwmark = 0,
                   .protocol = setting.protocol,
                   .address = virtual_address(setting.is_v6, kVirtual),
                   .port = setting.port};
    service.scheduler = "rr";
    service.flags = setting.flags;
    service.timeout = 300;
    service.netmask = setting.is_v6 ? 128 : 0xffffffff;
    service.persistence_engine = setting.persistence_engine;
    static_cast<void>(director.add_service(service));
    for (const auto server : kServers) {
      model::DestinationSpec destination;
      destination.address = server_address(setting.is_v6, server);
      destination.port = setting.port;
      destination.method = setting.method;
      destination.weight = 1;
      static_cast<void>(director.add_destination(service.key, destination));
    }
  }

  /// Moves time on, or back; at most `budget` timers are handled.
  void wait(std::chrono::milliseconds time, std::size_t budget = SIZE_MAX) {
    now = now + time;
    director.advance(now, budget);
  }

  void check_capacity() const {
    expect(director.connection_count() <= director.connection_capacity(),
           "no more connections than fit");
  }

  void check_counts() {
    listed_.clear();
    std::optional<std::uint32_t> cursor = 0;
    while (cursor) cursor = director.list_connections(*cursor, 7, listed_);
    expect(listed_.size() == director.connection_count(), "every connection is listed");
    std::uint64_t bound = 0;
    for (const auto& key : director.service_keys()) {
      expect(director.has_service(key), "listed services are found");
      for (const auto& info : director.destinations(key)) {
        bound += std::uint64_t{info.active_connections} + info.inactive_connections +
                 info.persistent_connections;
      }
    }
    expect(bound <= director.connection_count(), "destinations count only connections there are");
  }

  /// Ends an input: all of the above, and nothing is left when all is deleted and expired.
  void finish() {
    check_counts();
    clear();
    received.clear();
    sent.clear();
  }

  Frame received;  ///< what was processed last
  Frame sent;      ///< what left for it first; empty: nothing

 private:
  static constexpr std::size_t kHeadroom = 128;

  void take(const Verdict& verdict, net::Packet& packet, bool is_sound) {
    const bool leaves =
        verdict.kind == Verdict::Kind::kSend || verdict.kind == Verdict::Kind::kResolve;
    if (!leaves && verdict.kind != Verdict::Kind::kHost) return;
    const auto bytes = packet.bytes();
    sent.assign(bytes.begin(), bytes.end());
    if (is_sound) check_checksums(sent);
    if (leaves) expect(net::parse_frame(sent).has_value(), "what is sent is a whole packet");
  }

  static void check_checksums(std::span<const std::byte> frame) {
    const auto fault = engine::test::ChecksumOracle::fault(frame);
    expect(fault.empty(), fault);
  }

  engine::Outputs outputs_;
  std::vector<std::byte> buffer_;
  std::vector<model::ConnectionInfo> listed_;
};

}  // namespace lb::fuzz
