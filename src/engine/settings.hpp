// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace lb::engine {

/// A list of CPUs as text ("0-3,6"), as it was set. Only kept: nothing in Sluice has CPUs to
/// choose.
class CpuList {
 public:
  /// Takes numbers and ranges of them, rising, parted by commas; or nothing. False: it is
  /// something else, or too long, and nothing was changed.
  [[nodiscard]] bool assign(std::string_view text) noexcept;
  [[nodiscard]] std::string_view view() const noexcept {
    return std::string_view(text_.data());  // there is always a zero at the end
  }
  friend bool operator==(const CpuList&, const CpuList&) = default;

 private:
  std::array<char, 64> text_{};
};

/// The net.ipv4.vs.* settings that change what happens to packets; names and defaults as in
/// the kernel (ipvs-sysctl.rst). A value of a switch is any non-zero number, as there.
struct Settings {
  std::int32_t amemthresh = 1024;
  std::int32_t am_droprate = 10;
  std::int32_t drop_entry = 0;
  std::int32_t drop_packet = 0;
  std::int32_t secure_tcp = 0;
  std::int32_t conntrack = 0;
  std::int32_t snat_reroute = 1;
  // Of the sync daemon.
  std::int32_t sync_version = 1;
  std::int32_t sync_ports = 1;         ///< read when the first daemon starts
  std::int32_t sync_persist_mode = 0;  ///< 1: of persistent connections only templates are told
  std::int32_t sync_qlen_max = 4096;   ///< messages that wait to be sent
  std::int32_t sync_sock_size = 0;     ///< of socket buffers, bytes; 0: as the system has it
  std::int32_t cache_bypass = 0;
  std::int32_t expire_nodest_conn = 0;
  std::int32_t sloppy_tcp = 0;
  std::int32_t sloppy_sctp = 0;
  std::int32_t expire_quiescent_template = 0;
  // The two numbers of sync_threshold: told when packets modulo `sync_period` are `sync_threshold`.
  std::int32_t sync_threshold = 3;
  std::int32_t sync_period = 50;
  std::int32_t sync_refresh_period = 0;  ///< seconds
  std::int32_t sync_retries = 0;
  std::int32_t nat_icmp_send = 0;
  std::int32_t pmtu_disc = 1;
  std::int32_t backup_only = 0;
  std::int32_t conn_reuse_mode = 1;
  std::int32_t schedule_icmp = 0;
  std::int32_t ignore_tunneled = 0;
  std::int32_t run_estimation = 1;
  CpuList est_cpulist{};  ///< without effect, as the four below: docs/ipvs-differences.md
  std::int32_t est_nice = 0;
  std::int32_t conn_lfactor = -4;
  std::int32_t svc_lfactor = -3;
  std::int32_t debug_level = 0;
  std::int32_t conn_max = 1 << 30;        ///< connections and templates that there may be at once
  std::int32_t lblc_expiration = 86400;   ///< seconds
  std::int32_t lblcr_expiration = 86400;  ///< seconds

  // Of Sluice.
  std::int32_t fast_path = 1;  ///< XDP forwards plain packets of established connections
  /// New flows a second that XDP hands to the engine, of all CPUs; 0: no limit.
  std::int32_t punt_limit = 200'000;
  // Beyond IPVS: what services have that say nothing else (model::ServiceOptions).
  /// Seconds that connections of a removed or quiescent server go on; -1: as IPVS has it.
  std::int32_t drain = -1;
  std::int32_t drain_end = 0;    ///< model::DrainEnd: what becomes of those that are left
  std::int32_t reuse_ports = 0;  ///< a SYN on a connection of such a server opens a new one

  // Faults of the kernel that Sluice does not share unless asked to (docs/ipvs-differences.md).
  /// Drop ICMPv6 errors from real servers unless the NIC has verified their checksum.
  std::int32_t quirk_icmpv6_checksum = 0;
  /// Read TCP flags and SCTP chunks right behind the IPv6 header, even if extension headers are
  /// there.
  std::int32_t quirk_ipv6_extension_state = 0;
};

}  // namespace lb::engine
