// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/director.hpp"

namespace lb::engine {

/// A director to try changes on: with the options, network, settings, timeouts, mark rules and
/// SNAT rules of `director`, but without its services and without room for connections.
/// `director`'s network must outlive it.
[[nodiscard]] std::unique_ptr<Director> make_rehearsal(const Director& director);

}  // namespace lb::engine
