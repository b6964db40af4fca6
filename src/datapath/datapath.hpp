// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "engine/director.hpp"
#include "engine/network_view.hpp"
#include "net/time.hpp"

namespace lb::datapath {

class Pins;

enum class XdpMode : std::uint8_t { kAuto, kNative, kGeneric };

/// Whether packets that leave by the interface that they came in by are sent by XDP_TX, which costs
/// less than a redirect. Auto: yes, but for veth, which cannot tell whether its peer has an XDP
/// program, without which they are lost.
enum class XdpTx : std::uint8_t { kAuto, kOn, kOff };

/// How much XDP has for the time without an engine.
struct StandInSizes {
  static constexpr std::uint32_t kMaxSlots = 1U << 24;
  static constexpr std::uint32_t kMaxNotes = 1U << 22;
  std::uint32_t slots = 1U << 20;  ///< of the tables of all services together; 4 bytes each
  std::uint32_t notes = 1U << 16;  ///< new flows that are remembered; 32 bytes each
};

/// How many connections of a family XDP has room for, by two flows each.
struct FlowSizes {
  /// For a director of so many connections: all of them may be of IPv4, two thirds of IPv6, whose
  /// flows are twice as large.
  FlowSizes(std::size_t connections) : ipv4(connections), ipv6(connections / 3 * 2) {}  // NOLINT
  std::size_t ipv4;
  std::size_t ipv6;
};

struct DatapathOptions {
  /// Names of the interfaces to serve; empty: every Ethernet-like interface that is up ("auto").
  std::vector<std::string> interfaces;
  XdpMode xdp_mode = XdpMode::kAuto;
  XdpTx xdp_tx = XdpTx::kAuto;
  std::uint32_t frames_per_queue = 4096;  ///< UMEM frames a receive queue
  StandInSizes stand_in;
  std::optional<std::uint32_t> fast_ipv4;  ///< room in XDP; none: see FlowSizes
  std::optional<std::uint32_t> fast_ipv6;
  Duration time_origin{0};     ///< CLOCK_MONOTONIC at the director's Timestamp{}
  const Pins* pins = nullptr;  ///< for what outlives the process; null: nothing does
};

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };
using Log = std::function<void(LogLevel, std::string_view)>;

/// What one served interface looks like to an operator.
struct InterfaceStatus {
  std::string name;
  std::string xdp_mode;  ///< "native", "generic", or "none": the interface is gone for now
  std::uint32_t queues = 0;
  std::uint64_t packets_received = 0;  ///< by the engine
  std::vector<std::uint64_t> received_by_queue = {};
  std::uint64_t packets_sent = 0;
  std::uint64_t receive_drops = 0;  ///< of AF_XDP: ring full, no frame
  /// Of a veth with native XDP, while the fast path is on: frames whose checksum the peer left to
  /// its device. XDP leaves them to the engine.
  std::uint64_t unfinished_checksums = 0;
};

/// A counter of the data path as a whole.
struct DatapathCounter {
  std::string_view name;
  std::uint64_t value = 0;
};

/// Brings packets from interfaces to a director and back: XDP programs, AF_XDP sockets, the
/// way to the host's own stack, and the network view fed from rtnetlink.
class Datapath {
 public:
  virtual ~Datapath() = default;

  /// Attaches to the interfaces and starts steering for `director`. The error is a sentence for
  /// an operator: what failed, where, what to do. Removes all it attached when it fails or is
  /// destroyed.
  [[nodiscard]] static tl::expected<std::unique_ptr<Datapath>, std::string> create(
      const DatapathOptions& options, engine::Director& director, engine::NetworkView& network,
      Log log);

  /// Serves these interfaces from now on, named as in DatapathOptions; others that were served are
  /// left to the host, and packets of those that stay pass meanwhile. Without names those that are
  /// up come on top. The error is a sentence for an operator, and nothing was changed. An interface
  /// that cannot be opened is told to the log, counts as gone, and is tried again.
  [[nodiscard]] virtual tl::expected<void, std::string> serve(
      const std::vector<std::string>& names) = 0;

  /// Readable when `poll` has something to do (an epoll descriptor over all the sockets).
  [[nodiscard]] virtual int fd() const = 0;
  /// Handles what is there: packets (at most `budget`), kernel messages, resolved neighbours,
  /// packets that waited too long. Returns true if more is waiting.
  virtual bool poll(Timestamp now, std::size_t budget) = 0;
  [[nodiscard]] virtual std::vector<InterfaceStatus> status() const = 0;
  /// What the steering program did with packets, and losses outside of the engine.
  [[nodiscard]] virtual std::vector<DatapathCounter> counters() const = 0;
};

}  // namespace lb::datapath
