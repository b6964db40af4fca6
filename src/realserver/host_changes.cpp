// SPDX-License-Identifier: Apache-2.0
#include "realserver/host_changes.hpp"

#include <fmt/format.h>
#include <net/if.h>

#include <cerrno>

#include "host/sysctl.hpp"
#include "realserver/decap.hpp"

namespace lb::realserver {
namespace {

using host::Outcome;
using host::system_trouble;
using host::trouble;

constexpr const char* kLoopback = "lo";

Outcome<int> loopback() {
  const auto index = ::if_nametoindex(kLoopback);
  if (index == 0) return trouble("this network namespace has no interface lo");
  return static_cast<int>(index);
}

/// The address of "192.0.2.10/32".
Outcome<net::IpAddress> address_of(const Change& change) {
  const auto address = net::IpAddress::from_text(change.what.substr(0, change.what.find('/')));
  if (!address) return trouble(fmt::format("'{}' is not an address", change.what));
  return *address;
}

Outcome<void> add_address(host::Rtnetlink& kernel, const Change& change) {
  const auto address = address_of(change);
  if (!address) return trouble(address.error());
  const auto link = loopback();
  if (!link) return trouble(link.error());
  if (const int failed = kernel.add_host_address(*link, *address); failed != 0) {
    return system_trouble(fmt::format("cannot add {} to lo", change.what), failed);
  }
  return {};
}

Outcome<void> remove_address(host::Rtnetlink& kernel, const Change& change) {
  const auto address = address_of(change);
  if (!address) return trouble(address.error());
  const auto link = loopback();
  if (!link) return trouble(link.error());
  const int failed = kernel.remove_host_address(*link, *address);
  if (failed != 0 && failed != EADDRNOTAVAIL) {
    return system_trouble(fmt::format("cannot remove {} from lo", change.what), failed);
  }
  return {};
}

Outcome<std::optional<std::string>> restore_sysctl(const Change& change) {
  const auto present = host::read_sysctl(change.what);
  if (!present || *present == change.before) return std::nullopt;
  if (*present != change.after) {
    return fmt::format("{} is {} now, which is not what was set here ({}); left as it is",
                       change.what, *present, change.after);
  }
  if (auto written = host::write_sysctl(change.what, change.before); !written) {
    return trouble(written.error());
  }
  return std::nullopt;
}

Outcome<std::optional<std::string>> stop_stripping(const Change& change) {
  if (::if_nametoindex(change.what.c_str()) == 0) return std::nullopt;  // gone, and the program
  const auto is_there = has_decap(change.what);
  if (!is_there) return trouble(is_there.error());
  if (!*is_there) return std::nullopt;
  if (auto detached = detach_decap(change.what); !detached) return trouble(detached.error());
  return std::nullopt;
}

}  // namespace

Outcome<HostState> read_host(host::Rtnetlink& kernel, const Setup& setup) {
  HostState state;
  auto links = kernel.links();
  if (!links) return trouble(links.error());
  state.links = *std::move(links);
  auto addresses = kernel.addresses();
  if (!addresses) return trouble(addresses.error());
  state.addresses = *std::move(addresses);
  auto routes = kernel.routes();
  if (!routes) return trouble(routes.error());
  state.routes = *std::move(routes);
  state.sysctl = host::read_sysctl_number;
  if (setup.mode != Mode::kTunnel) return state;
  for (const auto& name : setup.interfaces) {
    const auto* link = host::find_link(state.links, name);
    if (link == nullptr || link->xdp == host::XdpKind::kNone) continue;
    const auto is_there = has_decap(name);
    if (!is_there) return trouble(is_there.error());
    if (*is_there) state.decapsulating.push_back(name);
  }
  return state;
}

Outcome<void> carry_out(host::Rtnetlink& kernel, const Setup& setup, const Change& change) {
  switch (change.kind) {
    case Change::Kind::kSysctl:
      return host::write_sysctl(change.what, change.after);
    case Change::Kind::kAddress:
      return add_address(kernel, change);
    case Change::Kind::kDecap:
      if (const auto mode = attach_decap(change.what, setup.xdp_mode, setup.gue_port); !mode) {
        return trouble(mode.error());
      }
      return {};
  }
  return {};
}

Outcome<std::optional<std::string>> take_back(host::Rtnetlink& kernel, const Change& change) {
  switch (change.kind) {
    case Change::Kind::kSysctl:
      return restore_sysctl(change);
    case Change::Kind::kAddress:
      if (auto removed = remove_address(kernel, change); !removed) return trouble(removed.error());
      return std::nullopt;
    case Change::Kind::kDecap:
      return stop_stripping(change);
  }
  return std::nullopt;
}

}  // namespace lb::realserver
