// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ctime>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace lb::daemon {

/// How long the loop does other things than packets: the processor time of its thread between two
/// looks at the packet sockets. Time in which others had the processor is not in it, and neither
/// is time in which there was nothing to do; packets themselves pay nothing for it.
///
/// What the kernel does in interrupts meanwhile (for a veth: all of its receiving) may count as
/// the thread's, depending on how the kernel was built.
class AwayTime {
 public:
  using Duration = std::chrono::nanoseconds;
  static constexpr Duration kLong = std::chrono::microseconds(250);
  static constexpr Duration kTooLong = std::chrono::milliseconds(1);

  /// A piece of other work, for as long as it lives. `away` may be null.
  class Span {
   public:
    explicit Span(AwayTime* away)
        : away_(away), begin_(away != nullptr ? processor_time() : Duration{}) {}
    ~Span() {
      if (away_ != nullptr) away_->add(processor_time() - begin_);
    }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    AwayTime* away_;
    Duration begin_;
  };

  void add(Duration time) noexcept { since_visit_ += time; }
  /// The packet sockets are looked at.
  void visit() noexcept {
    if (since_visit_ == Duration{}) return;
    if (since_visit_ > kLong) ++long_;
    if (since_visit_ > kTooLong) ++too_long_;
    longest_ = std::max(longest_, since_visit_);
    since_visit_ = {};
  }

  [[nodiscard]] Duration longest() const noexcept { return longest_; }
  /// How often it took longer than kLong, than kTooLong.
  [[nodiscard]] std::uint64_t count_long() const noexcept { return long_; }
  [[nodiscard]] std::uint64_t count_too_long() const noexcept { return too_long_; }

 private:
  static Duration processor_time() noexcept {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec);
  }

  Duration since_visit_{};
  Duration longest_{};
  std::uint64_t long_ = 0;
  std::uint64_t too_long_ = 0;
};

}  // namespace lb::daemon
