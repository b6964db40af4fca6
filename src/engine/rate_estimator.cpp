// SPDX-License-Identifier: Apache-2.0
#include "engine/rate_estimator.hpp"

namespace lb::engine {

namespace {

// Fixed point: an average has `kRateBits` (connections, packets) or `kByteBits` more bits than the
// rate; a count in an interval of two seconds needs one bit less to become a rate per second.
constexpr unsigned kRateBits = 10;
constexpr unsigned kByteBits = 5;

}  // namespace

/// At the first of the ticks value += (rate - value) / 4, rounded towards minus infinity; at the
/// others the same with a rate of 0.
void RateEstimator::Average::update(std::uint64_t count, unsigned bits,
                                    std::uint64_t ticks) noexcept {
  const std::uint64_t rate = (count - last) << (bits - 1);
  last = count;
  value += static_cast<std::uint64_t>(static_cast<std::int64_t>(rate - value) >> 2);
  // Zero is reached after less than 200 ticks, whatever the value.
  while (--ticks != 0 && value != 0) value -= (value + 3) / 4;
}

/// The kernel adds one less than half a unit before it cuts: x.5 is shown as x.
std::uint64_t RateEstimator::Average::shown(unsigned bits) const noexcept {
  return (value + (std::uint64_t{1} << (bits - 1)) - 1) >> bits;
}

void RateEstimator::catch_up(std::uint64_t tick) noexcept {
  if (tick == tick_) return;
  const std::uint64_t ticks = tick - tick_;
  tick_ = tick;
  connections_.update(counters_.connections, kRateBits, ticks);
  packets_in_.update(counters_.packets_in, kRateBits, ticks);
  packets_out_.update(counters_.packets_out, kRateBits, ticks);
  bytes_in_.update(counters_.bytes_in, kByteBits, ticks);
  bytes_out_.update(counters_.bytes_out, kByteBits, ticks);
}

void RateEstimator::zero(std::uint64_t tick) noexcept {
  tick_ = tick;
  base_ = counters_;
  connections_ = {.last = counters_.connections};
  packets_in_ = {.last = counters_.packets_in};
  packets_out_ = {.last = counters_.packets_out};
  bytes_in_ = {.last = counters_.bytes_in};
  bytes_out_ = {.last = counters_.bytes_out};
}

model::Counters RateEstimator::since_zero() const noexcept {
  return {.connections = counters_.connections - base_.connections,
          .packets_in = counters_.packets_in - base_.packets_in,
          .packets_out = counters_.packets_out - base_.packets_out,
          .bytes_in = counters_.bytes_in - base_.bytes_in,
          .bytes_out = counters_.bytes_out - base_.bytes_out};
}

model::Statistics RateEstimator::shown(std::uint64_t tick) const noexcept {
  RateEstimator now = *this;
  now.catch_up(tick);
  return {.counters = since_zero(),
          .rates = {.connections = now.connections_.shown(kRateBits),
                    .packets_in = now.packets_in_.shown(kRateBits),
                    .packets_out = now.packets_out_.shown(kRateBits),
                    .bytes_in = now.bytes_in_.shown(kByteBits),
                    .bytes_out = now.bytes_out_.shown(kByteBits)}};
}

}  // namespace lb::engine
