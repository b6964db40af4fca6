// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "host/rtnetlink.hpp"

/// One rtnetlink message each; what is no such object adds nothing.
namespace lb::host {

void read_link(const nlmsghdr& message, std::vector<Link>& into);
void read_address(const nlmsghdr& message, std::vector<LinkAddress>& into);
void read_route(const nlmsghdr& message, std::vector<Route>& into);
void read_neighbour(const nlmsghdr& message, std::vector<Neighbour>& into);

}  // namespace lb::host
