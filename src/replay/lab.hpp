// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/request_handler.hpp"
#include "engine/director.hpp"
#include "engine/network_view.hpp"
#include "replay/case_file.hpp"
#include "replay/ip_view.hpp"
#include "replay/recording_transport.hpp"

namespace lb::replay {

class SyncLink;

struct SentFrame {
  std::string port;
  Bytes bytes;
};

/// What became of one frame.
struct Outcome {
  std::vector<SentFrame> sent;        ///< complete frames, in order
  std::vector<Bytes> to_host;         ///< frames handed to the director's own stack
  std::vector<SentFrame> unresolved;  ///< frames whose next hop's MAC is not known
  bool routed_locally = false;        ///< by its mark: the host does not forward it
  std::string verdict;                ///< for people: "send", "host", "drop: no_destination"
};

/// A local route for marked packets (`ip rule` with `ip route add local`).
struct LocalRoute {
  std::uint32_t mark = 0;
  InterfaceAddress destination;
};

/// The surroundings of a recorded case with a director in the middle.
///
/// It plays the parts that do not belong to the engine: interfaces, addresses, routes and
/// neighbours (as a NetworkView), local routes for marks, and the clock. The firewall's mark rules
/// of the case become the director's own.
/// Time never goes backwards. The engine is told to copy the faults of the kernel (`quirk_*`) that
/// it can copy, since the recordings have them.
class Lab {
 public:
  /// Builds what `meta` tells. The error is a sentence: what of it this lab cannot build.
  [[nodiscard]] static tl::expected<std::unique_ptr<Lab>, std::string> create(const CaseMeta& meta);
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  /// Sets the clock, in steps as a daemon's loop would take them. Earlier times are ignored.
  void advance_to(double seconds);
  /// A frame arrives at `port`.
  [[nodiscard]] Outcome receive(const std::string& port, const Bytes& frame);
  /// The director's own stack sends an IP packet. If the engine leaves it alone, it goes where the
  /// routes tell.
  [[nodiscard]] Outcome send_from_host(const Bytes& packet);
  /// What plain forwarding would make of a frame handed to the host: TTL less one and new MACs;
  /// null if it is for the host itself, cannot be forwarded, or makes no sense.
  [[nodiscard]] std::optional<SentFrame> forward_plainly(const Bytes& frame) const;
  /// Sets a `net.ipv4.vs.*` value; false if the engine has no such setting or it is no number.
  [[nodiscard]] bool set_sysctl(const std::string& name, const std::string& value);

  [[nodiscard]] const CasePort* port(std::string_view name) const noexcept;
  /// The MAC of a neighbour, all zero if there is none.
  [[nodiscard]] net::Mac mac_of(const net::IpAddress& address) const noexcept;
  /// The neighbour of `family` with this MAC.
  [[nodiscard]] std::optional<net::IpAddress> neighbour(const net::Mac& mac,
                                                        net::Family family) const noexcept;
  /// The MAC of the clients' gateway of `family`.
  [[nodiscard]] net::Mac gateway_mac(net::Family family) const noexcept;
  [[nodiscard]] engine::Director& director() noexcept { return director_; }
  [[nodiscard]] SyncLink& sync_link() noexcept { return *sync_link_; }
  [[nodiscard]] Timestamp now() const noexcept { return now_; }
  [[nodiscard]] RecordingTransport& transport() noexcept { return transport_; }

 private:
  explicit Lab(const CaseMeta& meta);
  [[nodiscard]] std::optional<std::string> run_setup(const std::string& command);
  [[nodiscard]] std::optional<std::string> add_mark_rule(const std::string& command);
  [[nodiscard]] bool is_routed_locally(const IpView& ip, std::uint32_t mark) const;
  [[nodiscard]] Outcome process(const Bytes& frame, engine::InterfaceId ingress);
  void collect(const engine::Verdict& verdict, std::span<const std::byte> frame, Outcome& outcome);
  [[nodiscard]] std::string port_name(engine::InterfaceId id) const;

  CaseMeta meta_;
  engine::NetworkView network_;
  engine::Director director_;
  control::RequestHandler handler_;
  RecordingTransport transport_;
  engine::Outputs outputs_;
  std::vector<LocalRoute> local_routes_;
  std::vector<std::pair<std::uint32_t, std::string>> rules_;  // mark -> table, of `ip rule`
  bool checksums_verified_ = false;
  Timestamp now_{};
  std::unique_ptr<SyncLink> sync_link_;
  Bytes buffer_;
};

}  // namespace lb::replay
