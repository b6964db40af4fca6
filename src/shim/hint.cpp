// SPDX-License-Identifier: Apache-2.0
#include "shim/hint.hpp"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "shim/next.hpp"

namespace lb::shim {
namespace {

std::string_view sentence(int code) noexcept {
  switch (code) {
    case ECONNREFUSED:
      return "sluice: no sluiced runs in this network namespace; start it with "
             "`systemctl start sluiced'\n";
    case EACCES:
      return "sluice: what listens in place of sluiced is not root's, and is not asked\n";
    default:
      return "sluice: sluiced could not be asked; see its log\n";
  }
}

}  // namespace

void hint(Error error) noexcept {
  static constinit std::atomic<bool> is_told{false};
  if (is_told.exchange(true, std::memory_order_relaxed)) return;
  const int kept = errno;
  const auto text = sentence(error.code);
  // Whoever has no standard error gets no hint.
  [[maybe_unused]] const auto written = LB_NEXT(write)(STDERR_FILENO, text.data(), text.size());
  errno = kept;
}

}  // namespace lb::shim
