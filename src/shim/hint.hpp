// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/result.hpp"

namespace lb::shim {

/// Tells on standard error, once in a process, why the director could not be asked.
void hint(Error error) noexcept;

}  // namespace lb::shim
