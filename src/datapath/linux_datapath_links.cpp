// SPDX-License-Identifier: Apache-2.0
// What happens to served interfaces while the director runs: they change, go, and come back.
#include <algorithm>

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
    director_.remove_fast_device(link.interface.id);
    served.sending = {};
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
    if (served.opened != nullptr || !served.is_wanted) continue;
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

Outcome<void> LinuxDatapath::serve(const std::vector<std::string>& names) {
  const auto links = choose_links(network_->links(), names);
  if (!links && names.empty()) return {};  // none is up now: those that are gone come back
  if (!links) return tl::unexpected(links.error());
  const auto serves = [](const Served& served, const LinkChange& link) {
    return served.is_wanted && served.plan.link.interface.name == link.interface.name;
  };
  const auto goes = [&](const Served& served) {
    return served.is_wanted && !names.empty() &&
           std::none_of(links->begin(), links->end(),
                        [&](const LinkChange& link) { return serves(served, link); });
  };
  std::vector<LinkChange> fresh;
  for (const auto& link : *links) {
    const bool is_served = std::any_of(interfaces_.begin(), interfaces_.end(),
                                       [&](const Served& served) { return serves(served, link); });
    if (!is_served && link.interface.id != host_->device()) fresh.push_back(link);
  }
  std::uint32_t queues = 0;
  std::size_t staying = 0;
  for (const auto& link : fresh) queues += queue_counts(link).receive;
  for (const auto& served : interfaces_) {
    if (!served.is_wanted || goes(served)) continue;
    queues += served.sockets;
    ++staying;
  }
  if (auto room = check_room(staying + fresh.size(), queues); !room) return room;
  while (interfaces_.size() < staying + fresh.size()) {
    if (auto added = add_place(); !added) return added;
  }
  for (auto& served : interfaces_) {
    if (goes(served)) stop_serving(served);
  }
  for (const auto& link : fresh) {
    const auto place = std::find_if(interfaces_.begin(), interfaces_.end(),
                                    [](const Served& served) { return !served.is_wanted; });
    place->is_wanted = true;
    place->plan.link = link;
    place->trouble.clear();
  }
  try_again();
  return {};
}

Outcome<void> LinuxDatapath::check_room(std::size_t interfaces, std::uint32_t queues) const {
  if (interfaces > STEER_MAX_INTERFACES) {
    return tl::unexpected(fmt::format("{} interfaces to serve; name {} at most", interfaces,
                                      static_cast<int>(STEER_MAX_INTERFACES)));
  }
  if (queues > queues_with_frames_) {
    return tl::unexpected(
        fmt::format("the interfaces would have {} receive queues together, and there is memory for "
                    "{}; restart, or fewer queues (ethtool -L)",
                    queues, queues_with_frames_));
  }
  return {};
}

void LinuxDatapath::stop_serving(Served& served) {
  log_(LogLevel::kInfo,
       fmt::format("interface {}: no longer served", served.plan.link.interface.name));
  served.opened.reset();
  served.is_wanted = false;
}

/// A place for one more interface, which is not open yet.
Outcome<void> LinuxDatapath::add_place() {
  if (auto added = host_->add_queue(); !added) return added;
  const auto number = interfaces_.size();
  if (auto watched = watch(host_->fd(number)); !watched) return watched;
  Served served;
  served.plan.host_queue = static_cast<std::uint32_t>(number);
  served.plan.ring_size = ring_size_;
  served.plan.mode = mode_;
  served.is_wanted = false;
  interfaces_.push_back(std::move(served));
  return {};
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
  watch_sending(number);
  return host_->replace(
      *program_, number,
      {.interface = served.opened->id(), .is_native = served.opened->is_native()});
}

}  // namespace lb::datapath
