// SPDX-License-Identifier: Apache-2.0
#include "datapath/errands.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace lb::datapath {

Outcome<std::unique_ptr<Errands>> Errands::start() {
  std::unique_ptr<Errands> result(new Errands);
  result->finished_ = FileDescriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!result->finished_.valid()) return system_failure("cannot make an event descriptor", errno);
  // Signals are for the thread that waits for them: this one inherits that it takes none.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = 0;
  try {
    result->thread_ = std::thread([errands = result.get()] { errands->run(); });
  } catch (const std::system_error& failure) {
    error = failure.code().value();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return system_failure("cannot start a thread", error);
  return result;
}

Errands::~Errands() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  is_wanted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool Errands::post(Errand errand) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= kMost) return false;
    waiting_.push_back(std::move(errand));
  }
  is_wanted_.notify_one();
  return true;
}

void Errands::run() {
  for (;;) {
    Errand errand;
    {
      std::unique_lock lock(mutex_);
      is_wanted_.wait(lock, [this] { return is_ending_ || !waiting_.empty(); });
      if (is_ending_) return;
      errand = std::move(waiting_.front());
      waiting_.pop_front();
    }
    if (auto conclusion = errand()) finish(std::move(conclusion));
  }
}

void Errands::finish(Conclusion conclusion) {
  {
    const std::lock_guard lock(mutex_);
    conclusions_.push_back(std::move(conclusion));
  }
  (void)::eventfd_write(finished_.get(), 1);  // fails only where it is readable anyway
}

void Errands::conclude() {
  eventfd_t count = 0;
  (void)::eventfd_read(finished_.get(), &count);
  std::vector<Conclusion> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(conclusions_);
  }
  for (const auto& conclusion : done) conclusion();
}

}  // namespace lb::datapath
