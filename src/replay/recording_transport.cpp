// SPDX-License-Identifier: Apache-2.0
#include "replay/recording_transport.hpp"

#include <utility>

namespace lb::replay {

Result<std::vector<wire::Message>> RecordingTransport::exchange(
    std::span<const std::byte> request) {
  records_.push_back({true, Bytes(request.begin(), request.end())});
  auto answer = direct_.exchange(request);
  if (answer) {
    for (const auto& message : *answer) records_.push_back({false, message});
  }
  return answer;
}

std::vector<NetlinkRecord> RecordingTransport::take() { return std::exchange(records_, {}); }

}  // namespace lb::replay
