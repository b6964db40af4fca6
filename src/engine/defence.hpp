// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/settings.hpp"

namespace lb::engine {

/// The defences against running out of memory (drop_packet, secure_tcp), with their automatic
/// modes: 0 off, 1 armed, 2 armed and running, 3 always. Modes 1 and 2 change into each other
/// as free memory crosses `amemthresh`.
class Defence {
 public:
  /// Free memory in pages as whoever runs the director sees it; plenty until told otherwise.
  void set_available_memory(std::int64_t pages) noexcept { available_pages_ = pages; }
  /// Evaluates the levels; once a second and after each change of settings.
  void update(Settings& settings) noexcept;
  /// True for each packet that should open a connection and is to be dropped instead.
  [[nodiscard]] bool drops_packet() noexcept;
  [[nodiscard]] bool is_secure_tcp() const noexcept { return secure_tcp_; }

 private:
  std::int64_t available_pages_ = INT64_MAX;
  std::int32_t drop_rate_ = 0;  // 0: none, else one in so many
  std::int32_t drop_counter_ = 0;
  bool secure_tcp_ = false;
};

}  // namespace lb::engine
