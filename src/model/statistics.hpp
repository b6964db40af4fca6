// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace lb::model {

/// What passed: "in" from clients to servers, "out" the answers (NAT only). Bytes are of IP
/// packets.
struct Counters {
  std::uint64_t connections = 0;
  std::uint64_t packets_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  friend bool operator==(const Counters&, const Counters&) = default;
};

/// Averages per second, as the estimator of IPVS shows them.
struct Rates {
  std::uint64_t connections = 0;
  std::uint64_t packets_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  friend bool operator==(const Rates&, const Rates&) = default;
};

struct Statistics {
  Counters counters;
  Rates rates;
  friend bool operator==(const Statistics&, const Statistics&) = default;
};

}  // namespace lb::model
