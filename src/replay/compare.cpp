// SPDX-License-Identifier: Apache-2.0
#include "replay/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <tuple>

#include "net/protocol_name.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/frame_text.hpp"

namespace lb::replay {
namespace {

constexpr std::int64_t kExpiryTolerance = 2;  // seconds; see the corpus' README

bool is_any(const ExpectedFrame& expected, std::size_t offset) {
  return std::any_of(expected.any.begin(), expected.any.end(), [&](const AnyBytes& stretch) {
    return offset >= stretch.offset && offset < stretch.offset + stretch.length;
  });
}

std::optional<std::size_t> first_difference(const ExpectedFrame& expected, const Bytes& got) {
  const auto common = std::min(expected.bytes.size(), got.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (expected.bytes[i] != got[i] && !is_any(expected, i)) return i;
  }
  if (expected.bytes.size() != got.size()) return common;
  return std::nullopt;
}

/// A layer whose checksum is right in the recorded frame and wrong in ours; null if none.
std::optional<std::string> newly_wrong_checksum(const Bytes& expected, const Bytes& got) {
  const auto known = wrong_checksums(expected);
  for (const auto& layer : wrong_checksums(got)) {
    if (std::find(known.begin(), known.end(), layer) == known.end()) return layer;
  }
  return std::nullopt;
}

std::string frame_line(const std::string& port, const Bytes& bytes) {
  return port + " " + describe_frame(bytes);
}

std::string expected_text(std::span<const ExpectedFrame> frames) {
  if (frames.empty()) return "nothing leaves";
  std::string text;
  for (const auto& frame : frames) {
    text += (text.empty() ? "" : " | ") + frame_line(frame.port, frame.bytes);
  }
  return text;
}

std::string byte_at(const Bytes& bytes, std::size_t offset) {
  if (offset >= bytes.size()) return "end of frame";
  return fmt::format("{:02x}", std::to_integer<unsigned>(bytes[offset]));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t start = 0; start < text.size();) {
    const auto end = text.find('\n', start);
    if (end == std::string::npos) {
      lines.push_back(text.substr(start) + "<no newline>");
      break;
    }
    lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

/// A listing line parted at its minutes:seconds column.
struct TimedLine {
  std::string rest;
  std::int64_t seconds = 0;
};

std::optional<TimedLine> timed_line(const std::string& line) {
  // "TCP 00:59  SYN_RECV    ..."; the column is five characters or, above 99 minutes, more.
  if (line.size() < 9 || line[3] != ' ') return std::nullopt;
  const auto colon = line.find(':', 4);
  if (colon == std::string::npos || colon == 4 || colon + 2 >= line.size()) return std::nullopt;
  for (std::size_t i = 4; i < colon + 3; ++i) {
    if (i != colon && std::isdigit(static_cast<unsigned char>(line[i])) == 0) return std::nullopt;
  }
  const auto minutes = std::strtoll(line.c_str() + 4, nullptr, 10);
  const auto seconds = std::strtoll(line.c_str() + colon + 1, nullptr, 10);
  return TimedLine{line.substr(0, 4) + line.substr(colon + 3), minutes * 60 + seconds};
}

bool same_line(const std::string& expected, const std::string& got) {
  if (expected == got) return true;
  const auto a = timed_line(expected);
  const auto b = timed_line(got);
  return a && b && a->rest == b->rest && std::abs(a->seconds - b->seconds) <= kExpiryTolerance;
}

void make_ordered(std::vector<std::string>& lines) {
  for (auto& line : lines) {
    if (const auto timed = timed_line(line)) line = timed->rest;
  }
  std::sort(lines.begin(), lines.end());
}

std::string protocol_text(net::Protocol protocol) {
  switch (protocol) {
    case net::Protocol::kIp:
      return "IP";
    case net::Protocol::kEsp:
      return "ESP";
    case net::Protocol::kAh:
      return "AH";
    default:
      return std::string(
          net::listed_name(protocol, std::to_string(static_cast<unsigned>(protocol))));
  }
}

ConnectionLine line_of(const model::ConnectionInfo& connection) {
  return {protocol_text(connection.protocol),   connection.expires_in,
          std::string(connection.state.view()), to_text(connection.client),
          to_text(connection.virtual_end),      to_text(connection.destination)};
}

std::string line_text(const ConnectionLine& line) {
  return fmt::format("{} {} {} {} {} {}", line.protocol, line.expires_in, line.state, line.client,
                     line.virtual_end, line.destination);
}

auto identity(const ConnectionLine& line) {
  return std::tie(line.protocol, line.client, line.virtual_end, line.destination, line.state);
}

bool by_identity(const ConnectionLine& a, const ConnectionLine& b) {
  return std::tuple_cat(identity(a), std::tie(a.expires_in)) <
         std::tuple_cat(identity(b), std::tie(b.expires_in));
}

}  // namespace

std::string frames_text(std::span<const SentFrame> frames) {
  if (frames.empty()) return "nothing leaves";
  std::string text;
  for (const auto& frame : frames) {
    text += (text.empty() ? "" : " | ") + frame_line(frame.port, frame.bytes);
  }
  return text;
}

std::optional<Mismatch> compare_frames(std::span<const ExpectedFrame> expected,
                                       std::span<const SentFrame> got) {
  if (expected.size() != got.size()) return Mismatch{expected_text(expected), frames_text(got)};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    Mismatch mismatch{frame_line(expected[i].port, expected[i].bytes),
                      frame_line(got[i].port, got[i].bytes)};
    if (expected[i].port != got[i].port) return mismatch;
    if (const auto at = first_difference(expected[i], got[i].bytes)) {
      mismatch.expected += fmt::format(" (byte {}: {})", *at, byte_at(expected[i].bytes, *at));
      mismatch.got += fmt::format(" (byte {}: {})", *at, byte_at(got[i].bytes, *at));
      return mismatch;
    }
    if (expected[i].any.empty()) continue;
    if (const auto layer = newly_wrong_checksum(expected[i].bytes, got[i].bytes)) return mismatch;
  }
  return std::nullopt;
}

std::optional<Mismatch> compare_output(const CommandStep& expected, const std::string& got) {
  auto expected_lines = lines_of(expected.out);
  auto got_lines = lines_of(got);
  // The order of the connection table is that of a keyed hash, though two recordings may agree.
  if (expected.unordered || expected.out.starts_with("IPVS connection entries\n")) {
    make_ordered(expected_lines);
    make_ordered(got_lines);
  }
  const auto skipped = [&](std::size_t line) {
    return std::find(expected.skip_lines.begin(), expected.skip_lines.end(), line) !=
           expected.skip_lines.end();
  };
  for (std::size_t i = 0; i < std::max(expected_lines.size(), got_lines.size()); ++i) {
    const auto line_or_end = [&](const std::vector<std::string>& lines) {
      return i < lines.size() ? "\"" + lines[i] + "\"" : std::string("end");
    };
    if (i < expected_lines.size() && i < got_lines.size() &&
        (skipped(i) || same_line(expected_lines[i], got_lines[i]))) {
      continue;
    }
    return Mismatch{fmt::format("line {} of output {}", i, line_or_end(expected_lines)),
                    line_or_end(got_lines)};
  }
  return std::nullopt;
}

std::optional<Mismatch> compare_connections(const ConnectionsStep& expected,
                                            std::span<const model::ConnectionInfo> got) {
  auto wanted = expected.connections;
  std::vector<ConnectionLine> there;
  for (const auto& connection : got) there.push_back(line_of(connection));
  std::sort(wanted.begin(), wanted.end(), by_identity);
  std::sort(there.begin(), there.end(), by_identity);
  Mismatch mismatch;
  const auto add = [](std::string& text, const ConnectionLine& line) {
    text += (text.empty() ? "" : " | ") + line_text(line);
  };
  // The recorded time of a listing is a little earlier than the listing.
  const auto add_surplus = [&](const ConnectionLine& line) {
    if (!expected.partial && line.expires_in != 0) add(mismatch.got, line);
  };
  auto at = there.begin();
  for (const auto& line : wanted) {
    while (at != there.end() && identity(*at) < identity(line)) {
      add_surplus(*at);
      ++at;
    }
    const bool found = at != there.end() && identity(*at) == identity(line);
    if (!found) {
      // The kernel's timers fire late, by up to 5 s of 120: what shows 0 is as good as gone.
      if (line.expires_in != 0 || expected.ignore_expiry) add(mismatch.expected, line);
      continue;
    }
    // A template whose late timer has not fired shows 0; ours has, and may have been prolonged. Or
    // the kernel's was a moment before the listing, whose recorded time is before ours.
    const bool is_due_template = at->expires_in == 0 && line.client.ends_with(":0");
    if (!expected.ignore_expiry && line.expires_in != 0 && !is_due_template &&
        std::abs(at->expires_in - line.expires_in) > kExpiryTolerance) {
      add(mismatch.expected, line);
      add(mismatch.got, *at);
    }
    ++at;
  }
  for (; at != there.end(); ++at) add_surplus(*at);
  if (mismatch.expected.empty() && mismatch.got.empty()) return std::nullopt;
  if (mismatch.expected.empty()) mismatch.expected = "no such connection";
  if (mismatch.got.empty()) mismatch.got = "no such connection";
  return mismatch;
}

}  // namespace lb::replay
