// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "wire/family.hpp"
#include "wire/netlink.hpp"
#include "wire/transport.hpp"

namespace lb::shim {

/// A connected socket to the director of a network namespace: that of `sibling`, a socket, as far
/// as the kernel tells and permits; else this thread's. The caller closes it. ECONNREFUSED: nobody
/// listens; EACCES: who listens is not root's (anybody may bind a name that is free).
[[nodiscard]] Result<int> connect_director(int sibling) noexcept;

/// How long a director may take to answer before it counts as gone.
inline constexpr int kAnswerSeconds = 30;

/// Short conversations with the director, over a connection of its own. Nothing of it goes by the
/// functions that this library replaces.
class DirectorLink final : public wire::Transport {
 public:
  /// `sibling`: see connect_director().
  explicit DirectorLink(int sibling = -1) : sibling_(sibling) {}
  ~DirectorLink() override;
  DirectorLink(const DirectorLink&) = delete;
  DirectorLink& operator=(const DirectorLink&) = delete;

  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override;

  using Visit = std::function<Result<void>(const wire::MessageView&)>;
  /// As exchange(), but hands over each message as it comes, and ends at the first error of
  /// `visit`. What a dump ended with is the result.
  [[nodiscard]] Result<void> stream(std::span<const std::byte> request, const Visit& visit);

  /// What to write into a request of that family.
  [[nodiscard]] Result<wire::RequestContext> context(std::string_view family);

 private:
  /// Visits the messages of an answer up to its end.
  [[nodiscard]] Result<void> converse(std::span<const std::byte> request, const Visit& visit);

  int sibling_;
  int socket_ = -1;
};

}  // namespace lb::shim
