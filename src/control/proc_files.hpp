// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/director.hpp"

/// What the files of IPVS under /proc would say of a director: in /proc/net ip_vs (services and
/// servers), ip_vs_conn, ip_vs_conn_sync (connections), ip_vs_stats and ip_vs_stats_percpu (totals
/// and rates), all with hexadecimal addresses and numbers; and /proc/sys/net/ipv4/vs/NAME.
namespace lb::control {

/// The text of a file, made while it is read.
class ProcFile {
 public:
  virtual ~ProcFile() = default;
  /// Appends the next piece of the text, which is empty while a long search goes on. False: that
  /// was all, and nothing was appended.
  [[nodiscard]] virtual bool next(std::string& text) = 0;
};

[[nodiscard]] bool has_proc_file(std::string_view path) noexcept;

/// Null if there is no such file. `director` must outlive the file.
[[nodiscard]] std::unique_ptr<ProcFile> open_proc_file(engine::Director& director,
                                                       std::string_view path);

/// All of the text at once.
[[nodiscard]] std::optional<std::string> proc_file(engine::Director& director,
                                                   std::string_view path);

}  // namespace lb::control
