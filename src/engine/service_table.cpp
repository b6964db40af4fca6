// SPDX-License-Identifier: Apache-2.0
#include "engine/service_table.hpp"

#include <algorithm>
#include <utility>

namespace lb::engine {
namespace {

constexpr std::uint16_t kFirstUnprivilegedPort = 1024;

}  // namespace

Destination* Service::find(const net::Endpoint& end) const noexcept {
  const auto found = std::find_if(destinations.begin(), destinations.end(), [&](const auto* d) {
    return d->spec.port == end.port && d->spec.address == end.address;
  });
  return found == destinations.end() ? nullptr : *found;
}

Service* ServiceTable::find(const model::ServiceKey& key) const noexcept {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

Service* ServiceTable::find_for_packet(std::uint32_t mark, net::Protocol protocol,
                                       const net::IpAddress& address,
                                       net::Port port) const noexcept {
  const auto family = address.family();
  if (mark != 0 && mark_services_ != 0) {
    const auto any = net::IpAddress::any(family);
    if (auto* service = find({.family = family, .fwmark = mark, .address = any, .port = {}})) {
      return service;
    }
  }
  model::ServiceKey key{.family = family, .protocol = protocol, .address = address, .port = port};
  if (auto* service = find(key)) return service;

  // FTP's data connections go to whatever port the server or the client names.
  const auto number = port.to_host();
  if (protocol == net::Protocol::kTcp && ftp_services_ != 0 &&
      (number == kFtpDataPort || number >= kFirstUnprivilegedPort)) {
    key.port = net::Port::from_host(kFtpPort);
    if (auto* service = find(key)) return service;
  }
  if (port_zero_services_ == 0) return nullptr;
  key.port = net::Port{};
  return find(key);
}

void ServiceTable::count(const model::ServiceKey& key, std::int32_t change) noexcept {
  (key.family == net::Family::kIpv4 ? ipv4_services_ : ipv6_services_) += change;
  if (key.fwmark != 0) {
    mark_services_ += change;
  } else if (key.port == net::Port{}) {
    port_zero_services_ += change;
  } else if (key.port.to_host() == kFtpPort) {
    ftp_services_ += change;
  }
}

Service& ServiceTable::insert(std::unique_ptr<Service> service) {
  auto& result = *service;
  by_key_.emplace(result.key(), &result);
  count(result.key(), 1);
  services_.push_back(std::move(service));
  engine_changed(result);
  return result;
}

std::unique_ptr<Service> ServiceTable::extract(const model::ServiceKey& key) {
  const auto* known = find(key);
  if (known == nullptr) return nullptr;
  const auto found = std::lower_bound(
      services_.begin(), services_.end(), known->serial,
      [](const auto& service, std::uint64_t serial) { return service->serial < serial; });
  auto service = std::move(*found);
  services_.erase(found);
  by_key_.erase(key);
  count(key, -1);
  std::erase(with_engine_, service.get());
  return service;
}

void ServiceTable::engine_changed(Service& service) {
  std::erase(with_engine_, &service);
  if (!service.spec.persistence_engine.empty()) with_engine_.push_back(&service);
}

ServiceTable::Origin ServiceTable::find_origin(const net::Endpoint& real_end) const noexcept {
  if (real_end.port == net::Port{}) return {};
  for (auto* service : with_engine_) {
    const auto& key = service->key();
    if (key.fwmark != 0 || key.protocol != net::Protocol::kUdp || key.port == net::Port{}) continue;
    auto* destination = service->find(real_end);
    if (destination != nullptr &&
        destination->spec.method == model::ForwardingMethod::kMasquerade) {
      return {service, destination};
    }
  }
  return {};
}

std::vector<Service*> ServiceTable::in_order() const {
  std::vector<Service*> result;
  result.reserve(services_.size());
  for (const bool by_mark : {false, true}) {
    for (auto it = services_.rbegin(); it != services_.rend(); ++it) {
      if (((*it)->key().fwmark != 0) == by_mark) result.push_back(it->get());
    }
  }
  return result;
}

}  // namespace lb::engine
