// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "datapath/file_descriptor.hpp"
#include "datapath/outcome.hpp"

namespace lb::datapath {

/// A thread for system calls that may wait: the kernel's lock of network configuration is held for
/// as long as somebody makes or removes devices, and some NICs take milliseconds to tell their
/// statistics. Packets must not wait for that.
class Errands {
 public:
  /// What remains to be done on the owner's thread; may be empty.
  using Conclusion = std::function<void()>;
  using Errand = std::function<Conclusion()>;
  static constexpr std::size_t kMost = 1024;

  [[nodiscard]] static Outcome<std::unique_ptr<Errands>> start();
  /// Waits for the errand that is under way; those behind it, and conclusions, are given up.
  ~Errands();
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  /// Has `errand` run after those before it. False: `kMost` are waiting, it is not taken.
  [[nodiscard]] bool post(Errand errand);
  /// Readable when there are conclusions.
  [[nodiscard]] int fd() const noexcept { return finished_.get(); }
  /// Runs the conclusions of the errands that are done. Called by the owner's thread.
  void conclude();

 private:
  Errands() = default;
  void run();
  void finish(Conclusion conclusion);

  std::mutex mutex_;
  std::condition_variable is_wanted_;
  bool is_ending_ = false;
  std::deque<Errand> waiting_;
  std::vector<Conclusion> conclusions_;
  FileDescriptor finished_;
  std::thread thread_;
};

}  // namespace lb::datapath
