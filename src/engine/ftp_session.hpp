// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/ftp_text.hpp"
#include "engine/sequence_adjustment.hpp"

namespace lb::engine {

inline constexpr std::uint16_t kFtpPort = 21;
inline constexpr std::uint16_t kFtpDataPort = 20;

/// What is remembered of an FTP control connection besides its record.
struct FtpSession {
  SequenceShift shift;                     ///< of what the server says
  std::uint32_t rewritten_at = 0;          ///< sequence number of the answer rewritten last
  bool has_rewritten = false;              ///< `rewritten_at` is valid
  FtpPassive awaited = FtpPassive::kNone;  ///< the answer that the server owes
};

}  // namespace lb::engine
