// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace lb::engine {

/// The Call-ID of a SIP message (RFC 3261, 20.8; also in its short form "i"), without which the
/// persistence engine "sip" can't do anything. Takes any bytes; nothing if there is no Call-ID, it
/// is longer than `kMaxCallId`, or its line does not end inside the message.
[[nodiscard]] std::optional<std::string_view> find_call_id(std::string_view message) noexcept;

/// The name of the engine, the only one there is (as in the kernel).
inline constexpr std::string_view kSipEngine = "sip";

/// What IPVS takes (IP_VS_PEDATA_MAXLEN).
inline constexpr std::size_t kMaxCallId = 255;

}  // namespace lb::engine
