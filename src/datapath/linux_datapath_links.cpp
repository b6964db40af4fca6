// SPDX-License-Identifier: Apache-2.0
// What happens to served interfaces while the director runs: they change, go, and come back.
#include "datapath/linux_datapath.hpp"

namespace lb::datapath {

void LinuxDatapath::link_changed(const LinkChange& link) {
  for (auto& served : interfaces_) {
    if (served.opened == nullptr || served.opened->id() != link.interface.id) continue;
    if (!link.removed) {
      const bool is_new_mtu = served.plan.link.interface.mtu != link.interface.mtu;
      served.plan.link.interface.mtu = link.interface.mtu;
      if (is_new_mtu && link.interface.mtu > FrameMemory::kLargestFrame) {
        log_(LogLevel::kWarning,
             fmt::format("interface {}: the MTU is {} now; frames beyond {} bytes will be lost",
                         served.opened->name(), link.interface.mtu, FrameMemory::kLargestFrame));
      }
      continue;
    }
    log_(LogLevel::kError,
         fmt::format("interface {}: it is gone; one of the same name will be served",
                     served.opened->name()));
    served.opened.reset();
  }
  if (link.removed) {
    neighbours_->interface_gone(link.interface.id);
  } else {
    try_again();
  }
}

/// Opens interfaces that went and are there again, under the name they had.
void LinuxDatapath::try_again() {
  for (std::size_t number = 0; number < interfaces_.size(); ++number) {
    auto& served = interfaces_[number];
    if (served.opened != nullptr) continue;
    const LinkChange* link = network_->link(served.plan.link.interface.name);
    if (link == nullptr || !link->is_ethernet) continue;
    const auto reopened = reopen(number, *link);
    if (reopened) {
      served.trouble.clear();
      continue;
    }
    served.opened.reset();
    if (served.trouble == reopened.error()) continue;
    served.trouble = reopened.error();
    log_(LogLevel::kError, fmt::format("{}; trying again", served.trouble));
  }
}

Outcome<void> LinuxDatapath::reopen(std::size_t number, const LinkChange& link) {
  auto& served = interfaces_[number];
  served.plan.link = link;
  served.plan.queues = queue_counts(link);
  const auto queues = served.plan.queues.receive;
  if (queues > served.sockets) {
    if (sockets_ + queues > STEER_MAX_SOCKETS) {
      return tl::unexpected(
          fmt::format("interface {}: it has {} receive queues now, more than there is room for "
                      "(ethtool -L), or restart",
                      link.interface.name, queues));
    }
    served.plan.first_socket = sockets_;
    served.sockets = queues;
    sockets_ += queues;
  }
  if (auto opened = open_one(served); !opened) return opened;
  if (auto watched = watch_ports(*served.opened); !watched) return watched;
  return host_->replace(
      *program_, number,
      {.interface = served.opened->id(), .is_native = served.opened->is_native()});
}

}  // namespace lb::datapath
