// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace lb::shim {

/// What becomes of a program that is to be executed.
enum class Execution {
  kAsAsked,
  kAlreadyLoaded,  ///< loads the kernel's IPVS, which sluiced stands for: nothing is to be done
  kNoSuchModule,   ///< likewise, but no sluiced runs
};

/// modprobe(8) of ip_vs or one of its modules would bring the kernel's IPVS in beside sluiced, and
/// both would take the same packets. `path` and `arguments` (null at the end) may be null.
[[nodiscard]] Execution judge_execution(const char* path, char* const* arguments) noexcept;

}  // namespace lb::shim
