// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "control/direct_transport.hpp"
#include "control/request_handler.hpp"
#include "replay/case_file.hpp"
#include "wire/transport.hpp"

namespace lb::replay {

/// Carries requests to a director in the same process and keeps a copy of all that passes.
class RecordingTransport final : public wire::Transport {
 public:
  explicit RecordingTransport(control::RequestHandler& handler) : direct_(handler) {}

  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override;
  /// What passed since the last call.
  [[nodiscard]] std::vector<NetlinkRecord> take();

 private:
  control::DirectTransport direct_;
  std::vector<NetlinkRecord> records_;
};

}  // namespace lb::replay
