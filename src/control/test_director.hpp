// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/director.hpp"
#include "engine/network_view.hpp"

namespace lb::control {

/// For tests: a director with a network of its own.
struct TestDirector {
  engine::NetworkView network;
  engine::Director director{options(), network};

  static engine::DirectorOptions options() {
    engine::DirectorOptions options;
    options.connection_capacity = 1024;
    return options;
  }

  /// Adds an interface with addresses as "192.0.2.1/24".
  void add_interface(unsigned number, const std::vector<std::string>& addresses) {
    const auto id = static_cast<engine::InterfaceId>(number);
    network.set_interface({.id = id, .name = "port" + std::to_string(number), .mac = {}});
    for (const auto& text : addresses) {
      const auto slash = text.find('/');
      const auto address = net::IpAddress::from_text(text.substr(0, slash));
      network.add_address(id, address.value(),
                          static_cast<std::uint8_t>(std::stoi(text.substr(slash + 1))));
    }
  }
};

}  // namespace lb::control
