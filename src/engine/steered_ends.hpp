// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "engine/address_filter.hpp"
#include "engine/director.hpp"
#include "engine/endpoint_table.hpp"
#include "engine/zeroed_array.hpp"

namespace lb::engine {

/// The endpoints of one side, with the knowledge which of them packets are steered by.
///
/// An endpoint is interned for every connection that names it. It is *steered* (told to the
/// listener, so that XDP sends its packets here) while somebody asks for that: a service, or a
/// connection whose packets must come by. Real servers reached by direct routing are interned only.
class SteeredEnds {
 public:
  SteeredEnds(SteeredEndpoint::Side side, std::uint32_t capacity,
              const std::array<std::uint64_t, 2>& hash_key,
              std::span<EndpointTable::Entry> entries = {}, EndpointRoom* room = nullptr)
      : side_(side),
        table_(capacity, hash_key, entries, room),
        steering_(std::size_t{capacity} + 1) {}

  // As those of EndpointTable; before there is a listener.
  void begin_adoption() noexcept { table_.begin_adoption(); }
  [[nodiscard]] bool can_adopt(EndpointId id) const noexcept { return table_.can_adopt(id); }
  void adopt(EndpointId id, bool steer) noexcept {
    table_.adopt(id);
    if (steer && steering_[id]++ == 0) addresses_.add(table_.at(id).address);
  }
  void end_adoption() noexcept { table_.end_adoption(); }

  /// See EndpointTable.
  bool make_room() noexcept { return table_.make_room(); }
  [[nodiscard]] EndpointId find(net::Protocol protocol, const net::IpAddress& address,
                                net::Port port) const noexcept {
    return table_.find(protocol, address, port);
  }
  /// As `find`, but only what is steered by is sure to be found. Takes next to nothing for most
  /// addresses that nothing is steered by.
  [[nodiscard]] EndpointId find_steered(net::Protocol protocol, const net::IpAddress& address,
                                        net::Port port) const noexcept {
    return addresses_.may_contain(address) ? table_.find(protocol, address, port) : 0;
  }
  /// Adds a reference, and with `steer` a request to steer; 0 if the table is full.
  [[nodiscard]] EndpointId acquire(net::Protocol protocol, const net::IpAddress& address,
                                   net::Port port, bool steer) noexcept {
    const auto id = table_.acquire(protocol, address, port);
    if (id != 0 && steer && steering_[id]++ == 0) {
      addresses_.add(address);
      if (listener_ != nullptr) listener_->endpoint_added(describe(id));
    }
    return id;
  }
  /// As `acquire` with `steer`, for a service or a destination: never for want of memory that
  /// could have been added.
  [[nodiscard]] EndpointId acquire_configured(net::Protocol protocol, const net::IpAddress& address,
                                              net::Port port) noexcept {
    (void)make_room();
    return acquire(protocol, address, port, true);
  }
  /// Takes back one reference, made with the same `steer`.
  void release(EndpointId id, bool steer) noexcept {
    if (id == 0) return;
    if (steer && --steering_[id] == 0) {
      addresses_.remove(table_.at(id).address);
      if (listener_ != nullptr) listener_->endpoint_removed(describe(id));
    }
    table_.release(id);
  }
  [[nodiscard]] const EndpointTable::Entry& at(EndpointId id) const noexcept {
    return table_.at(id);
  }
  [[nodiscard]] net::Endpoint end(EndpointId id) const noexcept {
    return {table_.at(id).address, table_.at(id).port};
  }
  /// Tells `listener` of what is steered now, and from now on of every change.
  void set_listener(SteeringListener* listener) {
    listener_ = listener;
    if (listener == nullptr) return;
    for (EndpointId id = 1; id < table_.end(); ++id) {
      if (steering_[id] != 0) listener->endpoint_added(describe(id));
    }
  }

 private:
  [[nodiscard]] SteeredEndpoint describe(EndpointId id) const noexcept {
    const auto& entry = table_.at(id);
    return {.side = side_, .protocol = entry.protocol, .end = {entry.address, entry.port}};
  }

  SteeredEndpoint::Side side_;
  EndpointTable table_;
  ZeroedArray<std::uint32_t> steering_;  // requests to steer, by endpoint
  AddressFilter addresses_;              // of those that are steered by
  SteeringListener* listener_ = nullptr;
};

}  // namespace lb::engine
