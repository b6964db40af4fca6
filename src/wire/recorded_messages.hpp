// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "wire/netlink.hpp"

/// For tests: the netlink messages that the kernel and ipvsadm exchanged (tests/ipvs-oracle/genl).
/// In them the family has the id that the recorded kernel gave it.
namespace lb::wire {

inline constexpr std::uint16_t kRecordedIpvsFamily = 0x1c;

/// One message of a recorded command.
struct RecordedMessage {
  std::string where;  ///< file and command line, for failure messages
  bool to_kernel = false;
  Message bytes;
};

inline Message from_hex(const std::string& text) {
  Message bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

/// All of them, in order; throws if there are none, so that no test passes for want of input.
inline std::vector<RecordedMessage> recorded_messages() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator("tests/ipvs-oracle/genl")) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<RecordedMessage> messages;
  for (const auto& file : files) {
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);) {
      const auto step = nlohmann::json::parse(line);
      if (!step.contains("nl")) continue;
      std::string where = file.filename().string() + ":";
      for (const auto& word : step["argv"]) where += " " + word.get<std::string>();
      for (const auto& message : step["nl"]) {
        messages.push_back({.where = where,
                            .to_kernel = message["dir"] == "to-kernel",
                            .bytes = from_hex(message["msg"])});
      }
    }
  }
  if (messages.empty()) throw std::runtime_error("no recorded messages found");
  return messages;
}

/// The same with each distinct message once.
inline std::vector<RecordedMessage> distinct_recorded_messages() {
  auto messages = recorded_messages();
  const auto less = [](const auto& a, const auto& b) { return a.bytes < b.bytes; };
  const auto same = [](const auto& a, const auto& b) { return a.bytes == b.bytes; };
  std::stable_sort(messages.begin(), messages.end(), less);
  messages.erase(std::unique(messages.begin(), messages.end(), same), messages.end());
  return messages;
}

}  // namespace lb::wire
