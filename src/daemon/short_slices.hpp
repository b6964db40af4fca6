// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace lb::daemon {

/// Asks the scheduler to let this thread run soon when it wakes, and for a short time then, rather
/// than late and long (Linux 6.12 on: a slice of 0.1 ms, where others have some ms). It gets no
/// more of a processor than before. Without such a scheduler nothing changes.
void ask_for_short_slices() noexcept;

}  // namespace lb::daemon
