// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tsl/robin_map.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/mark_rule.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// Finds the few mark rules that a packet may match among many (tuple space search: Srinivasan,
/// Suri, Varghese 1999).
///
/// Each rule has a shape: how many bits of the source and destination address and of the
/// destination port it asks for, and whether it asks for a protocol. Rules of one shape are found
/// by one look-up in a hash table. Rule sets have thousands of rules but a handful of shapes. A
/// range of ports becomes a few prefixes of port numbers. What a rule asks for beyond its shape
/// (source ports, the interface, anything negated) the caller has to check.
///
/// Example: `-d 192.0.2.10 -p tcp --dport 80` has the shape (0, 32, yes, 16), and a packet to
/// 192.0.2.10:80 finds it by the key (-, 192.0.2.10, tcp, 80).
class MarkIndex {
 public:
  /// Files `rule` under the caller's number for it.
  void add(std::uint32_t number, const model::MarkRule& rule);
  /// Takes it out again; `rule` as it was added.
  void remove(std::uint32_t number, const model::MarkRule& rule);
  void clear() noexcept;

  /// Calls `visit(number)` once for each rule that may match.
  template <class Visit>
  void visit_candidates(const net::Headers& headers, Visit visit) const noexcept {
    const auto packet = key_of(headers);
    for (const auto& shape : shapes_[index_of(headers.family())]) {
      if (shape.mask.port != 0 && !headers.has_ports) continue;
      const auto bucket = buckets_.find(masked(packet, shape));
      if (bucket == buckets_.end()) continue;
      for (const auto number : bucket->second) visit(number);
    }
  }

 private:
  struct Key {
    std::array<std::uint64_t, 2> source{};
    std::array<std::uint64_t, 2> destination{};
    std::uint32_t shape = 0;
    std::uint16_t port = 0;
    std::uint8_t protocol = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Shape {
    Key mask;  ///< `shape` is its number
    std::uint32_t rules = 0;
  };
  using Shapes = std::array<std::vector<Shape>, 2>;

  /// So many prefixes of ports at most; a rule that needs more is filed without its ports. Any
  /// fifteen ports fit, and any range.
  static constexpr std::size_t kMaxPortPrefixes = 30;

  [[nodiscard]] static std::size_t index_of(net::Family family) noexcept {
    return family == net::Family::kIpv4 ? 0 : 1;
  }
  [[nodiscard]] static Key key_of(const net::Headers& headers) noexcept;
  [[nodiscard]] static Key masked(const Key& key, const Shape& shape) noexcept;
  template <class Visit>
  static void visit_keys(const model::MarkRule& rule, Visit visit);

  Shapes shapes_;
  tsl::robin_map<Key, std::vector<std::uint32_t>, KeyHash> buckets_;
};

}  // namespace lb::engine
