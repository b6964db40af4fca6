// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "datapath/datapath.hpp"
#include "net/time.hpp"

namespace lb::daemon {

/// What is looked at to say how the daemon does.
struct HealthSigns {
  std::span<const datapath::InterfaceStatus> interfaces;
  std::uint64_t connections = 0;
  std::uint64_t capacity = 0;          ///< of the connection table
  std::uint64_t table_full_drops = 0;  ///< packets refused so far, since no connection fitted
};

/// Judges from time to time how the daemon does, and tells the log when that changes.
///
/// Degraded: an interface is gone; the connection table is nine tenths full, or refused a
/// connection in the last minute; frames were lost at an interface in the last minute.
class Health {
 public:
  /// What happened is told for so long.
  static constexpr Duration kMemory = std::chrono::minutes(1);

  explicit Health(datapath::Log log) : log_(std::move(log)) {}

  /// Looks again. Returns true if the judgement is another one than before.
  bool look(const HealthSigns& signs, Timestamp now);

  /// "ok", or "degraded: " and the reasons.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  /// A counter that should stand still.
  struct Watched {
    std::string name;
    std::uint64_t last = 0;
    std::optional<Timestamp> grew;
  };

  [[nodiscard]] bool grew_lately(Watched& watched, std::uint64_t value, Timestamp now) const;
  [[nodiscard]] Watched& frames_of(std::string_view interface);
  void warn_of_full_table(const HealthSigns& signs, Timestamp now);

  datapath::Log log_;
  std::string text_ = "ok";
  Watched table_full_;
  std::vector<Watched> frames_;
  std::optional<Timestamp> warned_;
  std::uint64_t told_drops_ = 0;
};

}  // namespace lb::daemon
