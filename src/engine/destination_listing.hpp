// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "engine/director.hpp"
#include "model/destination.hpp"
#include "model/service.hpp"

namespace lb::engine {

/// As Director::destinations, but of a service with many only `most` from number `first` on; empty:
/// there are no more. One that is added or removed between two calls shifts those behind it, as in
/// the kernel's own listing.
[[nodiscard]] std::vector<model::DestinationInfo> list_destinations(Director& director,
                                                                    const model::ServiceKey& key,
                                                                    std::size_t first,
                                                                    std::size_t most);

}  // namespace lb::engine
