// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "daemon/log.hpp"
#include "daemon/sync_peers_options.hpp"
#include "datapath/datapath.hpp"
#include "engine/settings.hpp"

namespace lb::daemon {

/// All that an administrator can set for one daemon, from the configuration file and, with
/// precedence, the command line.
struct Configuration {
  static constexpr std::uint32_t kMinTableSize = 16;
  static constexpr std::uint32_t kMaxTableSize = 1U << 24;

  /// Enough for the table of one large service.
  static constexpr std::uint32_t kMinSlots = 1U << 12;
  static constexpr std::uint32_t kMinNotes = 1U << 10;

  datapath::DatapathOptions datapath;
  std::uint32_t table_size = 1U << 16;  ///< connections that fit
  std::string socket_group;             ///< may use the control socket; empty: nobody but root
  std::string rules_file;               ///< as `ipvsadm -S` writes it; empty: start without rules
  bool keep_forwarding = false;         ///< XDP goes on when the daemon ends in order, too
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  engine::Settings settings;
  SyncPeersOptions sync;
};

/// Reads a configuration file's text over `base`. `name` is said in errors, with line and
/// column. Unknown keys and values of a wrong type or range are errors: a mistyped key that is
/// silently ignored costs an evening.
[[nodiscard]] tl::expected<Configuration, std::string> parse_configuration(
    std::string_view text, std::string_view name, const Configuration& base);

/// Reads the file at `path` (see `parse_configuration`).
[[nodiscard]] tl::expected<Configuration, std::string> read_configuration(
    const std::string& path, const Configuration& base);

// One value as the file and the command line write it; the error says what is accepted.
[[nodiscard]] tl::expected<datapath::XdpMode, std::string> parse_xdp_mode(std::string_view text);
[[nodiscard]] tl::expected<datapath::XdpTx, std::string> parse_xdp_tx(std::string_view text);
[[nodiscard]] tl::expected<LogLevel, std::string> parse_log_level(std::string_view text);
[[nodiscard]] tl::expected<LogFormat, std::string> parse_log_format(std::string_view text);
[[nodiscard]] tl::expected<std::uint32_t, std::string> check_table_size(std::int64_t connections);
[[nodiscard]] tl::expected<std::uint32_t, std::string> check_fast_path_room(
    std::int64_t connections);
[[nodiscard]] tl::expected<void, std::string> check_interface_name(std::string_view name);

}  // namespace lb::daemon
