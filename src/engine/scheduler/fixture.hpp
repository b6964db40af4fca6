// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/scheduler/scheduler.hpp"

namespace lb::engine::testing {

[[nodiscard]] inline net::IpAddress address(std::string_view text) {
  return net::IpAddress::from_text(text).value();
}

/// A service for tests of schedulers: its destinations, newest first, and the scheduler, told of
/// every change as the director does it. A removed destination is kept, and comes back as the
/// same object when it is added again.
class TestService {
 public:
  explicit TestService(std::string_view scheduler, std::uint32_t flags = 0)
      : scheduler_(make_scheduler(scheduler, 42)) {
    context.flags = flags;
    context.settings = &settings;
    refresh();
    is_bound = scheduler_->bind(context).has_value();
  }

  /// Changes the scheduler, as editing the service does.
  void use(std::string_view scheduler, std::uint32_t flags = 0) {
    scheduler_ = make_scheduler(scheduler, 42);
    context.flags = flags;
    is_bound = scheduler_->bind(context).has_value();
  }

  Destination& add(const net::Endpoint& server, std::int32_t weight) {
    auto& slot = servers_[server];
    if (slot == nullptr) {
      slot = std::make_unique<Destination>();
      slot->service_key.family = server.address.family();
      slot->spec.address = server.address;
      slot->spec.port = server.port;
    }
    set_weight(*slot, weight);
    list_.insert(list_.begin(), slot.get());
    refresh();
    scheduler_->destination_added(context, *slot);
    return *slot;
  }

  /// Adds the server 10.0.x.y:80 of that number.
  Destination& add(std::uint32_t number, std::int32_t weight) {
    return add(
        {net::IpAddress::v4(net::Be32::from_host(0x0a000000 + number)), net::Port::from_host(80)},
        weight);
  }

  void remove(Destination& destination) {
    list_.erase(std::find(list_.begin(), list_.end(), &destination));
    refresh();
    scheduler_->destination_removed(context, destination);
  }

  /// Removes it and frees its memory, as the director does once no connection refers to it.
  void destroy(Destination& destination) {
    remove(destination);
    servers_.erase({destination.spec.address, destination.spec.port});
  }

  void edit(Destination& destination, std::int32_t weight) {
    set_weight(destination, weight);
    scheduler_->destination_updated(context, destination);
  }

  Destination* find(const net::Endpoint& server) {
    const auto found = servers_.find(server);
    return found == servers_.end() ? nullptr : found->second.get();
  }

  Destination* pick() { return scheduler_->schedule(context, input); }
  Destination* pick_for_client(std::uint32_t client) {
    input.client = net::IpAddress::v4(net::Be32::from_host(client));
    return pick();
  }
  Destination* pick_for_virtual(std::uint32_t virtual_address) {
    input.virtual_address = net::IpAddress::v4(net::Be32::from_host(virtual_address));
    return pick();
  }
  void sweep() { scheduler_->sweep(context); }

  [[nodiscard]] const std::vector<Destination*>& list() const { return list_; }

  Settings settings;
  SchedulingContext context;
  SchedulingInput input;
  bool is_bound = false;

 private:
  void refresh() { context.destinations = list_; }
  static void set_weight(Destination& destination, std::int32_t weight) {
    destination.spec.weight = weight;
    if (weight != 0) destination.last_weight = weight;
  }

  std::unique_ptr<Scheduler> scheduler_;
  std::map<net::Endpoint, std::unique_ptr<Destination>> servers_;
  std::vector<Destination*> list_;
};

}  // namespace lb::engine::testing
