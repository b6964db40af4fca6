// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/mark_index.hpp"
#include "model/mark_rule.hpp"
#include "net/parse.hpp"
#include "net/result.hpp"

namespace lb::engine {

/// The rules that give packets their firewall marks, in order.
///
/// They work like the chain PREROUTING of iptables' table mangle: a packet starts with mark 0 and
/// goes through all the rules; each that matches changes the mark under its mask, so a later rule
/// overwrites an earlier one. How long that takes depends on the rules that match and on the
/// shapes of rules there are (see MarkIndex), not on their number.
///
/// Positions count from 1, as in iptables.
class MarkRules {
 public:
  static constexpr std::size_t kMaxRules = 1U << 16;

  /// Puts a rule at `position`; 0: behind the last. EINVAL: the rule makes no sense; E2BIG: there
  /// is no such position; ENOSPC: too many rules.
  [[nodiscard]] Result<void> insert(const model::MarkRule& rule, std::uint32_t position = 0);
  /// E2BIG: there is no such position.
  [[nodiscard]] Result<void> erase(std::uint32_t position);
  /// The position of the first rule that says the same.
  [[nodiscard]] std::optional<std::uint32_t> find(const model::MarkRule& rule) const noexcept;
  void clear() noexcept;
  /// Zeroes the counters of all rules.
  void zero() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }
  /// The rule at `position`, which must exist.
  [[nodiscard]] const model::MarkRuleInfo& at(std::uint32_t position) const noexcept {
    return rules_[order_[position - 1]].info;
  }

  /// The mark of a packet that arrives by the interface named `ingress`. Counts the packet in each
  /// rule that it matches.
  [[nodiscard]] std::uint32_t apply(const net::Headers& headers, std::string_view ingress) noexcept;
  /// As `apply`, without counting.
  [[nodiscard]] std::uint32_t evaluate(const net::Headers& headers,
                                       std::string_view ingress) const noexcept;

 private:
  struct Rule {
    model::MarkRuleInfo info;
    std::uint32_t index = 0;  ///< in order_
  };
  void renumber(std::size_t from) noexcept;
  void match(const net::Headers& headers, std::string_view ingress) const noexcept;

  std::vector<Rule> rules_;           // by number; numbers stay, positions move
  std::vector<std::uint32_t> free_;   // numbers that are in no use
  std::vector<std::uint32_t> order_;  // numbers by position - 1
  MarkIndex index_;
  // Indices in order_ of the rules that the packet in work matches, in order. Never grows on the
  // packet path: it has room for all rules.
  mutable std::vector<std::uint32_t> matched_;
};

/// True if the rule matches a packet that arrives by `ingress`.
[[nodiscard]] bool matches(const model::MarkRule& rule, const net::Headers& headers,
                           std::string_view ingress) noexcept;

}  // namespace lb::engine
