// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

namespace lb::realserver {

enum class XdpMode : std::uint8_t { kAuto, kNative, kGeneric };

/// Attaches the program that strips tunnels (bpf/decap.bpf.c) to `interface`, where it stays
/// until `detach_decap`. `gue_port` 0: no GUE. Returns the mode in use, "native" or "generic";
/// the error is a sentence for an operator. An earlier one of ours is replaced; a program of
/// somebody else is an error.
[[nodiscard]] tl::expected<std::string, std::string> attach_decap(const std::string& interface,
                                                                  XdpMode mode,
                                                                  std::uint16_t gue_port);

/// Whether `interface` has the program.
[[nodiscard]] tl::expected<bool, std::string> has_decap(const std::string& interface);

/// Removes it. An error if `interface` has none of ours.
[[nodiscard]] tl::expected<void, std::string> detach_decap(const std::string& interface);

}  // namespace lb::realserver
