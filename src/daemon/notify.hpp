// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace lb::daemon {

/// Tells the service manager `state` ("READY=1", "STOPPING=1"), by the datagram socket that
/// NOTIFY_SOCKET names (sd_notify(3)). Does nothing without one.
void notify_service_manager(std::string_view state);

}  // namespace lb::daemon
