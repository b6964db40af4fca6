// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>

#include "datapath/datapath.hpp"
#include "engine/director.hpp"
#include "net/address.hpp"

namespace lb::datapath {

/// Keeps the XDP program's maps of endpoints like the director's.
///
/// An endpoint that finds its map full is not lost: its address is marked, and everything that
/// the address gets (or, on the real side, sends) goes to the engine. So is the address of an
/// endpoint that stands for every packet (firewall marks).
class SteeringMaps final : public engine::SteeringListener {
 public:
  /// Descriptors of the maps; they belong to the caller.
  struct Maps {
    int virtual_ends = -1;
    int real_ends = -1;
    int addresses = -1;
    int snat_prefixes = -1;
    int snat_in_use = -1;
  };
  SteeringMaps(const Maps& maps, Log log) : maps_(maps), log_(std::move(log)) {}

  void endpoint_added(const engine::SteeredEndpoint& endpoint) noexcept override;
  void endpoint_removed(const engine::SteeredEndpoint& endpoint) noexcept override;
  void snat_changed(std::span<const engine::SnatPrefix> prefixes) noexcept override;
  /// Lets go of addresses that only an earlier director steered by.
  void drop_unused() noexcept;

 private:
  using Side = engine::SteeredEndpoint::Side;
  struct Use {
    std::uint32_t endpoints = 0;
    std::uint32_t not_in_map = 0;  ///< of these; while there are any, the address is marked
  };
  void change_use(const engine::SteeredEndpoint& endpoint, int endpoints, int not_in_map) noexcept;
  [[nodiscard]] std::uint32_t flags_of(const net::IpAddress& address) const;
  [[nodiscard]] int map_of(Side side) const noexcept {
    return side == Side::kVirtual ? maps_.virtual_ends : maps_.real_ends;
  }

  Maps maps_;
  Log log_;
  std::map<std::pair<net::IpAddress, Side>, Use> uses_;
  bool has_warned_ = false;
};

}  // namespace lb::datapath
