// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <popt.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lb::cli {

/// What `OptionReader::next` returns for options without a letter.
enum LongOption : int {
  kOptionSet = 1000,
  kOptionStartDaemon,
  kOptionStopDaemon,
  kOptionSctpService,
  kOptionMcastInterface,
  kOptionTimeout,
  kOptionDaemon,
  kOptionStats,
  kOptionRate,
  kOptionThresholds,
  kOptionPersistentConn,
  kOptionNoSort,
  kOptionSort,
  kOptionPersistenceEngine,
  kOptionSyncId,
  kOptionSyncMaxLength,
  kOptionMcastGroup,
  kOptionMcastPort,
  kOptionMcastTtl,
  kOptionTunnelInfo,
  kOptionTunnelType,
  kOptionTunnelPort,
  kOptionTunnelNoChecksum,
  kOptionTunnelChecksum,
  kOptionTunnelRemoteChecksum,
};

/// ipvsadm's options as popt reads them. Holds no state outside itself, prints nothing.
class OptionReader {
 public:
  /// `arguments[0]` is the program's name. The strings must outlive the reader.
  explicit OptionReader(std::span<const std::string> arguments);

  /// The next option: its letter, a `LongOption`, -1 at the end, below -1 an error.
  [[nodiscard]] int next();
  /// The argument of the option that `next` returned; null if it has none.
  [[nodiscard]] std::optional<std::string> argument();
  /// The next word that is no option, after the last option was read.
  [[nodiscard]] std::optional<std::string> word();
  /// The option last read as it was written.
  [[nodiscard]] std::string written() const;
  /// popt's own text of an error.
  [[nodiscard]] static std::string error_text(int error);

 private:
  struct ContextDeleter {
    void operator()(poptContext_s* context) const { poptFreeContext(context); }
  };
  std::vector<const char*> arguments_;
  std::unique_ptr<poptContext_s, ContextDeleter> context_;
};

}  // namespace lb::cli
