// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "engine/network_view.hpp"
#include "net/address.hpp"

namespace lb::engine {

enum class DropReason : std::uint8_t {
#define LB_DROP(enumerator, label, meaning) enumerator,
#include "engine/drop_reason.def"
#undef LB_DROP
};

inline constexpr auto kDropReasonLabels = std::to_array<std::string_view>({
#define LB_DROP(enumerator, label, meaning) label,
#include "engine/drop_reason.def"
#undef LB_DROP
});

inline constexpr auto kDropReasonMeanings = std::to_array<std::string_view>({
#define LB_DROP(enumerator, label, meaning) meaning,
#include "engine/drop_reason.def"
#undef LB_DROP
});

inline constexpr std::size_t kDropReasonCount = kDropReasonLabels.size();

/// What becomes of a packet that `Director::process` has been handed.
struct Verdict {
  enum class Kind : std::uint8_t {
    kSend,      ///< the frame is complete: send it out of `out`
    kResolve,   ///< as kSend, but the MAC of `next_hop` is not known yet: the frame's destination
                ///< MAC is zero and must be filled in when the kernel has resolved it
    kHost,      ///< hand the (perhaps translated) packet to the host's own stack
    kConsumed,  ///< what leaves in its place is in the outputs (fragments)
    kDrop,      ///< for `reason`
  };
  Kind kind = Kind::kDrop;
  DropReason reason = DropReason::kInternal;  ///< kDrop only
  InterfaceId out = InterfaceId::kNone;       ///< kSend, kResolve
  net::IpAddress next_hop{};                  ///< kResolve

  [[nodiscard]] static Verdict drop(DropReason reason) noexcept {
    return {.kind = Kind::kDrop, .reason = reason};
  }
  [[nodiscard]] static Verdict host() noexcept { return {.kind = Kind::kHost}; }
  [[nodiscard]] static Verdict consumed() noexcept { return {.kind = Kind::kConsumed}; }
  /// kSend or kResolve, by whether the next hop is resolved.
  [[nodiscard]] static Verdict send(const NextHop& hop) noexcept {
    return {.kind = hop.resolved ? Kind::kSend : Kind::kResolve,
            .out = hop.out,
            .next_hop = hop.address};
  }
};

/// A frame that leaves besides (or instead of) the processed packet: an ICMP error, a fragment.
struct OutputFrame {
  Verdict verdict;  ///< kSend, kResolve or kHost
  std::span<std::byte> frame;
};

/// Where `process` puts the frames that leave besides the packet itself. Fixed room, reserved at
/// construction; the caller takes the frames after each packet and calls `clear`.
class Outputs {
 public:
  /// A packet in as many fragments as the reassembler takes (128), with what a tunnel adds.
  static constexpr std::size_t kMaxFrames = 144;
  static constexpr std::size_t kRoom = 192 * 1024;

  Outputs();
  ~Outputs();
  Outputs(const Outputs&) = delete;
  Outputs& operator=(const Outputs&) = delete;

  /// Reserves room for a frame of `size` bytes, contents undefined; an empty span if there is none.
  [[nodiscard]] std::span<std::byte> reserve(std::size_t size) noexcept;
  /// Adds the frame reserved last. `verdict` says where it goes.
  void commit(const Verdict& verdict) noexcept;
  [[nodiscard]] std::span<const OutputFrame> frames() const noexcept {
    return {frames_.data(), count_};
  }
  void clear() noexcept {
    count_ = 0;
    used_ = 0;
    pending_ = {};
  }

 private:
  std::array<OutputFrame, kMaxFrames> frames_;
  std::size_t count_ = 0;
  std::byte* room_;
  std::size_t used_ = 0;
  std::span<std::byte> pending_;
};

}  // namespace lb::engine
