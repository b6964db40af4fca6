// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "wire/transport.hpp"

namespace lb::cli {

/// Takes requests that change something without passing them on, and acknowledges them. What only
/// looks up how to ask (families, the version) is passed on once and remembered; other questions
/// fail with EOPNOTSUPP.
class CollectingTransport final : public wire::Transport {
 public:
  /// `director` must outlive this.
  explicit CollectingTransport(wire::Transport& director) : director_(director) {}

  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override;
  /// What was taken so far, in order.
  [[nodiscard]] const std::vector<wire::Message>& requests() const noexcept { return requests_; }

 private:
  wire::Transport& director_;
  std::vector<wire::Message> requests_;
  std::vector<std::pair<wire::Message, std::vector<wire::Message>>> remembered_;
};

}  // namespace lb::cli
