// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <event2/event.h>

#include <memory>

namespace lb::daemon {

struct EventFree {
  void operator()(event* e) const { event_free(e); }
};
struct EventBaseFree {
  void operator()(event_base* base) const { event_base_free(base); }
};

using EventPtr = std::unique_ptr<event, EventFree>;
using EventBasePtr = std::unique_ptr<event_base, EventBaseFree>;

}  // namespace lb::daemon
