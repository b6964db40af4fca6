// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/connection.hpp"
#include "replay/case_file.hpp"
#include "replay/lab.hpp"

namespace lb::replay {

/// What a step should have given and what it gave, as text for people.
struct Mismatch {
  std::string expected;
  std::string got;
};

/// Compares frames in order, byte by byte but for the stretches marked `any`. Of a frame with
/// such stretches no checksum may be wrong that is right in the recorded one.
[[nodiscard]] std::optional<Mismatch> compare_frames(std::span<const ExpectedFrame> expected,
                                                     std::span<const SentFrame> got);

/// Compares a command's standard output line by line: times of the connection listing within two
/// seconds, and for unordered listings sorted and without them.
[[nodiscard]] std::optional<Mismatch> compare_output(const CommandStep& expected,
                                                     const std::string& got);

/// Compares the connection table, in any order, expiry within two seconds.
[[nodiscard]] std::optional<Mismatch> compare_connections(
    const ConnectionsStep& expected, std::span<const model::ConnectionInfo> got);

/// A list of frames for people.
[[nodiscard]] std::string frames_text(std::span<const SentFrame> frames);

}  // namespace lb::replay
