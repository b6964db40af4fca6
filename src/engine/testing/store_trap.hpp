// SPDX-License-Identifier: Apache-2.0
// Watches every store into blocks of memory, so that a test can see what another process would find
// had this one ended after any of them.
#pragma once

#include <ucontext.h>
#include <csignal>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/testing/page_block.hpp"

namespace lb::engine::test {

/// From `arm` to `disarm`, stores of this thread into the blocks are seen one by one: their pages
/// are read-only, a fault opens the page for one instruction. One at a time in a process.
class StoreTrap {
 public:
#ifdef __x86_64__
  static constexpr bool kIsPossible = true;
#else
  static constexpr bool kIsPossible = false;  // no single step that a program can ask for
#endif

  /// A page as a store left it.
  struct Store {
    std::size_t block = 0;
    std::size_t offset = 0;
    std::array<std::byte, PageBlock::kPage> page;
  };

  /// More than `limit` stores end the process.
  StoreTrap(std::vector<PageBlock*> blocks, std::size_t limit) : blocks_(std::move(blocks)) {
    stores_.reserve(limit);
  }
  ~StoreTrap() { disarm(); }
  StoreTrap(const StoreTrap&) = delete;
  StoreTrap& operator=(const StoreTrap&) = delete;

  void arm() {
    current_ = this;
    stores_.clear();
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* info, void* context) {
      current_->on_fault(info->si_addr, context);
    };
    ::sigaction(SIGSEGV, &action, &old_fault_);
    action.sa_sigaction = [](int, siginfo_t*, void* context) { current_->on_step(context); };
    ::sigaction(SIGTRAP, &action, &old_step_);
    for (auto* block : blocks_) ::mprotect(block->begin(), block->size(), PROT_READ);
  }

  void disarm() {
    if (current_ != this) return;
    for (auto* block : blocks_) {
      ::mprotect(block->begin(), block->size(), PROT_READ | PROT_WRITE);
    }
    ::sigaction(SIGSEGV, &old_fault_, nullptr);
    ::sigaction(SIGTRAP, &old_step_, nullptr);
    current_ = nullptr;
  }

  /// What was seen, in order.
  [[nodiscard]] const std::vector<Store>& stores() const noexcept { return stores_; }

 private:
  struct Place {
    std::size_t block;
    std::size_t offset;
  };

  // These run in signal handlers, between two instructions of the code that is watched.
  void on_fault(void* address, void* context) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      if (!blocks_[i]->contains(address) || open_count_ == open_.size()) continue;
      const auto at =
          static_cast<std::size_t>(static_cast<std::byte*>(address) - blocks_[i]->begin());
      const auto offset = at / PageBlock::kPage * PageBlock::kPage;
      open_[open_count_++] = {i, offset};
      ::mprotect(blocks_[i]->begin() + offset, PageBlock::kPage, PROT_READ | PROT_WRITE);
      return step(context, true);
    }
    ::signal(SIGSEGV, SIG_DFL);  // somebody else's fault: it happens again, and ends the process
  }

  void on_step(void* context) {
    for (std::size_t i = 0; i < open_count_; ++i) {
      auto* page = blocks_[open_[i].block]->begin() + open_[i].offset;
      ::mprotect(page, PageBlock::kPage, PROT_READ);
      if (stores_.size() == stores_.capacity()) std::abort();
      auto& store = stores_.emplace_back();
      store.block = open_[i].block;
      store.offset = open_[i].offset;
      std::memcpy(store.page.data(), page, PageBlock::kPage);
    }
    open_count_ = 0;
    step(context, false);
  }

  static void step(void* context, bool is_on) {
#ifdef __x86_64__
    constexpr greg_t kTrapFlag = 1 << 8;
    auto& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
    flags = is_on ? flags | kTrapFlag : flags & ~kTrapFlag;
#else
    (void)context;
    (void)is_on;
#endif
  }

  inline static StoreTrap* current_ = nullptr;
  std::vector<PageBlock*> blocks_;
  std::vector<Store> stores_;  // has room for all from the start: a handler must not allocate
  std::array<Place, 4> open_{};
  std::size_t open_count_ = 0;
  struct sigaction old_fault_ {};
  struct sigaction old_step_ {};
};

}  // namespace lb::engine::test
