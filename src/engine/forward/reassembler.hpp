// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "engine/forward/fragment.hpp"
#include "engine/verdict.hpp"
#include "net/parse.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// Puts fragments of IPv4 and IPv6 packets together, in any order (RFC 791, 3.2; RFC 8200, 4.5).
///
/// Memory is fixed at construction: blocks of 2 KiB for data, a number of packets under way. When
/// either runs out, the packet that waits longest is given up. A packet is given up after 30
/// (IPv4) or 60 seconds (IPv6) as well, and when fragments overlap (RFC 5722; Linux does so for
/// IPv4 too); an exact repetition is ignored. At most `kMaxFragments` make up one packet.
class Reassembler {
 public:
  static constexpr std::size_t kMaxFragments = 128;
  /// Largest frame it gives back: link header with two tags, 65535 bytes.
  static constexpr std::size_t kMaxFrame = 22 + 65535;

  struct Limits {
    std::uint32_t blocks = 2048;  ///< of 2 KiB: 4 MiB, the kernel's ipfrag_high_thresh
    std::uint32_t packets = 512;
  };

  struct Outcome {
    enum class Kind : std::uint8_t {
      kHeld,      ///< kept; more is to come
      kComplete,  ///< the frame is in the caller's buffer
      kDropped,   ///< for `reason`
    };
    Kind kind = Kind::kHeld;
    DropReason reason = DropReason::kInternal;
    std::uint32_t given_up = 0;  ///< older packets that had to make room: count as kFragmentMemory
    std::size_t size = 0;        ///< kComplete: bytes of the frame
    /// kComplete: for cutting it up again; valid until the next call.
    FragmentShape shape;
  };

  Reassembler(const Limits& limits, std::uint64_t hash_key);
  Reassembler() : Reassembler(Limits{}, 0) {}
  ~Reassembler();
  Reassembler(const Reassembler&) = delete;
  Reassembler& operator=(const Reassembler&) = delete;

  /// Takes the fragment that `headers` (which say that it is one) describe in `frame`. If it was
  /// the last one missing, writes the whole frame, with the link header of the first fragment,
  /// to `out` (at least `kMaxFrame` bytes to be safe; too small drops the packet).
  [[nodiscard]] Outcome add(std::span<const std::byte> frame, const net::Headers& headers,
                            Timestamp now, std::span<std::byte> out) noexcept;

  /// Gives up what waits too long; returns how many packets (count them as kFragmentTimeout).
  std::uint32_t expire(Timestamp now) noexcept;
  /// Packets under way.
  [[nodiscard]] std::uint32_t waiting() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lb::engine
