// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tsl/robin_map.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/service_table.hpp"
#include "model/snat.hpp"
#include "net/address.hpp"

namespace lb::engine {

/// A rule at work. The director keeps its account as a destination of a service that nobody sees:
/// so connections are bound to it, counted, published and saved as those of services are.
struct SnatEntry {
  model::SnatRule rule;
  std::uint32_t slot = 0;  ///< 1 to kMaxSnatRules
  std::uint32_t pool_size = 0;
  std::unique_ptr<Service> service;
  Destination* destination = nullptr;
  // Of refused connections.
  std::array<std::uint64_t, 4> refused{};  ///< by model::SnatRefusal
  model::SnatRefusal last_refusal = model::SnatRefusal::kNone;
  net::IpAddress last_refused{};
  net::Endpoint last_refused_destination{};

  /// The address of the pool that stands for an inside address, given `choice` (of a pool: any
  /// number, always the same for a client).
  [[nodiscard]] net::IpAddress outside_of(const net::IpAddress& inside,
                                          std::uint64_t choice) const noexcept;
  /// The inside address that a static mapping has for `outside`, one of its pool.
  [[nodiscard]] net::IpAddress inside_of(const net::IpAddress& outside) const noexcept;
  /// Idle seconds of a connection in `state` (of TCP).
  [[nodiscard]] std::uint32_t timeout(net::Protocol protocol, std::uint8_t state) const noexcept;
};

/// All SNAT rules, found by name (control) or as a packet finds them.
///
/// A packet's rule is found by one look-up for each length that inside prefixes have, the longest
/// first; rules of the same inside prefix lie in order of what else makes them specific.
class SnatRules {
 public:
  /// What a packet is asked for.
  struct Wanted {
    net::IpAddress inside;
    net::IpAddress destination;
    net::Protocol protocol = net::Protocol::kTcp;  ///< of ICMP, the family's
    std::uint16_t inside_port = 0;                 ///< or the identifier of an echo
    std::string_view interface;                    ///< that it would leave by
    bool is_hairpin = false;  ///< to an address of a mapping: rules' interfaces don't count
  };

  [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }
  [[nodiscard]] bool has(net::Family family) const noexcept {
    return (family == net::Family::kIpv4 ? ipv4_ : ipv6_) != 0;
  }
  [[nodiscard]] SnatEntry* find(const model::Name& name) const noexcept;
  [[nodiscard]] std::optional<model::SnatConflict> conflict(
      const model::SnatRule& rule) const noexcept;
  /// Adds a rule that has no fault and no conflict; null: there are too many. With `slot` that one.
  SnatEntry* insert(const model::SnatRule& rule, std::uint32_t slot = 0);
  /// Takes a rule out.
  [[nodiscard]] std::unique_ptr<SnatEntry> extract(SnatEntry& entry);
  /// In the order in which they are tried.
  [[nodiscard]] std::span<SnatEntry* const> in_order() const noexcept { return order_; }
  [[nodiscard]] SnatEntry* at(std::uint32_t slot) const noexcept {
    return slot < slots_.size() ? slots_[slot].get() : nullptr;
  }

  /// The rule that a packet from inside is translated by; null: none.
  [[nodiscard]] SnatEntry* match(const Wanted& wanted) const noexcept;
  /// The static mapping of a packet from outside; null: none.
  [[nodiscard]] SnatEntry* match_static(net::Protocol protocol, const net::IpAddress& outside,
                                        std::uint16_t port) const noexcept;
  /// True if `address` is of a pool or a static mapping.
  [[nodiscard]] bool is_outside(const net::IpAddress& address) const noexcept;
  /// The addresses of all pools: in order, without overlaps.
  [[nodiscard]] std::span<const model::AddressRange> outside() const noexcept { return outside_; }
  /// Rises with every change.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

 private:
  /// Rules by prefix.
  class PrefixIndex {
   public:
    void clear() noexcept;
    void add(const net::IpAddress& prefix, std::uint8_t length, SnatEntry* entry);
    /// Visits the rules of every prefix that holds `address`, longest first, until `visit` is true.
    template <class Visit>
    SnatEntry* find(const net::IpAddress& address, Visit visit) const noexcept;

   private:
    using Key = std::pair<std::uint8_t, net::IpAddress>;
    struct KeyHash {
      std::size_t operator()(const Key& key) const noexcept;
    };
    std::array<std::vector<std::uint8_t>, 2> lengths_;  // by family, longest first
    tsl::robin_map<Key, std::vector<SnatEntry*>, KeyHash> rules_;
  };
  void rebuild();

  std::vector<std::unique_ptr<SnatEntry>> slots_{1};
  std::vector<SnatEntry*> order_;
  PrefixIndex by_inside_;
  PrefixIndex by_outside_;  // static mappings
  std::vector<model::AddressRange> outside_;
  std::uint32_t ipv4_ = 0;
  std::uint32_t ipv6_ = 0;
  std::uint64_t generation_ = 1;
};

}  // namespace lb::engine
