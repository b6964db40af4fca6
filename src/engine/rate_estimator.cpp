// SPDX-License-Identifier: Apache-2.0
#include "engine/rate_estimator.hpp"

namespace lb::engine {

namespace {

// Fixed point: an average has `kRateBits` (connections, packets) or `kByteBits` more bits than the
// rate; a count in an interval of two seconds needs one bit less to become a rate per second.
constexpr unsigned kRateBits = 10;
constexpr unsigned kByteBits = 5;

}  // namespace

/// value += (rate - value) / 4, rounded towards minus infinity.
void RateEstimator::Average::add(std::uint64_t count, unsigned bits) noexcept {
  const std::uint64_t rate = (count - last) << (bits - 1);
  last = count;
  value += static_cast<std::uint64_t>(static_cast<std::int64_t>(rate - value) >> 2);
}

/// The kernel adds one less than half a unit before it cuts: x.5 is shown as x.
std::uint64_t RateEstimator::Average::shown(unsigned bits) const noexcept {
  return (value + (std::uint64_t{1} << (bits - 1)) - 1) >> bits;
}

void RateEstimator::tick() noexcept {
  connections_.add(counters.connections, kRateBits);
  packets_in_.add(counters.packets_in, kRateBits);
  packets_out_.add(counters.packets_out, kRateBits);
  bytes_in_.add(counters.bytes_in, kByteBits);
  bytes_out_.add(counters.bytes_out, kByteBits);
}

void RateEstimator::zero() noexcept {
  base_ = counters;
  connections_ = {.last = counters.connections};
  packets_in_ = {.last = counters.packets_in};
  packets_out_ = {.last = counters.packets_out};
  bytes_in_ = {.last = counters.bytes_in};
  bytes_out_ = {.last = counters.bytes_out};
}

model::Statistics RateEstimator::shown() const noexcept {
  return {.counters = {.connections = counters.connections - base_.connections,
                       .packets_in = counters.packets_in - base_.packets_in,
                       .packets_out = counters.packets_out - base_.packets_out,
                       .bytes_in = counters.bytes_in - base_.bytes_in,
                       .bytes_out = counters.bytes_out - base_.bytes_out},
          .rates = {.connections = connections_.shown(kRateBits),
                    .packets_in = packets_in_.shown(kRateBits),
                    .packets_out = packets_out_.shown(kRateBits),
                    .bytes_in = bytes_in_.shown(kByteBits),
                    .bytes_out = bytes_out_.shown(kByteBits)}};
}

}  // namespace lb::engine
