// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tsl/robin_map.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/destination.hpp"
#include "engine/endpoint_table.hpp"
#include "engine/flow/stand_in_table.hpp"
#include "engine/ftp_session.hpp"
#include "engine/rate_estimator.hpp"
#include "engine/scheduler/scheduler.hpp"
#include "engine/service_key_hash.hpp"
#include "model/service.hpp"
#include "model/service_options.hpp"

namespace lb::engine {

/// A virtual service with its destinations.
struct Service {
  model::ServiceSpec spec;
  model::ServiceOptions options;
  std::vector<Destination*> destinations;  ///< newest first
  std::unique_ptr<Scheduler> scheduler;    ///< null: "none", nothing is scheduled
  RateEstimator statistics;
  std::uint64_t serial = 0;      ///< never used again
  std::uint32_t saved_slot = 0;  ///< where the next director finds it; 0: nowhere
  EndpointId virtual_end = 0;    ///< held while the service exists; 0 for mark services
  StandInTable stand_in;         ///< for the time without an engine

  [[nodiscard]] const model::ServiceKey& key() const noexcept { return spec.key; }
  [[nodiscard]] bool is_persistent() const noexcept {
    return (spec.flags & model::kServicePersistent) != 0;
  }
  [[nodiscard]] bool is_one_packet(net::Protocol protocol) const noexcept {
    return (spec.flags & model::kServiceOnePacket) != 0 && protocol == net::Protocol::kUdp;
  }
  [[nodiscard]] SchedulingContext context(const Settings& settings, Timestamp now) const noexcept {
    return {.destinations = destinations, .flags = spec.flags, .settings = &settings, .now = now};
  }
  [[nodiscard]] Destination* find(const net::Endpoint& end) const noexcept;
};

/// All virtual services, found exactly (control) or as a packet finds them.
class ServiceTable {
 public:
  /// The service with just this key; null if there is none.
  [[nodiscard]] Service* find(const model::ServiceKey& key) const noexcept;
  /// The service of a packet to (`address`, `port`) with firewall mark `mark`, in IPVS's order:
  /// by mark, exactly, the FTP service of the address for its data ports, the port-0 service.
  [[nodiscard]] Service* find_for_packet(std::uint32_t mark, net::Protocol protocol,
                                         const net::IpAddress& address,
                                         net::Port port) const noexcept;
  /// Adds a service whose key is not there yet and whose serial is the highest.
  Service& insert(std::unique_ptr<Service> service);
  /// To be called when a service in the table has got another persistence engine.
  void engine_changed(Service& service);
  /// The destination of a service with a persistence engine that may open connections from
  /// `real_end` (UDP, masquerading, both with a port); nulls if there is none.
  struct Origin {
    Service* service = nullptr;
    Destination* destination = nullptr;
  };
  [[nodiscard]] Origin find_origin(const net::Endpoint& real_end) const noexcept;
  /// Takes a service out.
  [[nodiscard]] std::unique_ptr<Service> extract(const model::ServiceKey& key);
  /// By address first, then by mark; newest first.
  [[nodiscard]] std::vector<Service*> in_order() const;
  /// Oldest first.
  [[nodiscard]] std::span<const std::unique_ptr<Service>> all() const noexcept { return services_; }
  [[nodiscard]] std::size_t size() const noexcept { return services_.size(); }
  /// True if any service is of `family`.
  [[nodiscard]] bool has(net::Family family) const noexcept {
    return (family == net::Family::kIpv4 ? ipv4_services_ : ipv6_services_) != 0;
  }
  [[nodiscard]] bool has_marks() const noexcept { return mark_services_ != 0; }

 private:
  void count(const model::ServiceKey& key, std::int32_t change) noexcept;

  tsl::robin_map<model::ServiceKey, Service*, ServiceKeyHash> by_key_;
  std::vector<std::unique_ptr<Service>> services_;  // oldest first: by serial
  std::vector<Service*> with_engine_;
  // How many there are of each family, and of the kinds that need an extra look-up; 0 saves it.
  std::int32_t ipv4_services_ = 0;
  std::int32_t ipv6_services_ = 0;
  std::int32_t mark_services_ = 0;
  std::int32_t ftp_services_ = 0;
  std::int32_t port_zero_services_ = 0;
};

}  // namespace lb::engine
