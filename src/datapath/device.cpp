// SPDX-License-Identifier: Apache-2.0
#include "datapath/device.hpp"

#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "datapath/file_descriptor.hpp"

namespace lb::datapath {
namespace {

/// Runs an ethtool command on `device`; returns 0 or the errno. `data` begins with the command.
int ethtool(const std::string& device, void* data) noexcept {
  const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return errno;
  ifreq request{};
  if (device.size() >= sizeof(request.ifr_name)) return ENODEV;
  std::memcpy(request.ifr_name, device.data(), device.size());
  request.ifr_data = static_cast<char*>(data);
  return ::ioctl(socket.get(), SIOCETHTOOL, &request) == 0 ? 0 : errno;
}

std::optional<std::uint32_t> read_value(const std::string& device, std::uint32_t command) {
  ethtool_value value{.cmd = command, .data = 0};
  if (ethtool(device, &value) != 0) return std::nullopt;
  return value.data;
}

bool write_value(const std::string& device, std::uint32_t command, std::uint32_t data) {
  ethtool_value value{.cmd = command, .data = data};
  return ethtool(device, &value) == 0;
}

/// Kinds that carry no packets of their own from the outside, or whose packets are served at the
/// link that they lie on.
bool is_automatic(const LinkChange& link) {
  constexpr std::array<std::string_view, 5> kOthers = {"dummy", "ifb", "tun", "vlan", "macvtap"};
  return link.is_ethernet && link.is_up && !link.is_loopback && link.master == 0 &&
         std::find(kOthers.begin(), kOthers.end(), link.kind) == kOthers.end();
}

}  // namespace

QueueCounts queue_counts(const LinkChange& link) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (ethtool(link.interface.name, &channels) != 0) {
    // Generic devices use one queue, whatever number of them they may have.
    return {.receive = std::max(link.receive_queues, 1U), .transmit = 1};
  }
  return {.receive = std::max(channels.rx_count + channels.combined_count, 1U),
          .transmit = std::max(channels.tx_count + channels.combined_count, 1U)};
}

Outcome<std::vector<LinkChange>> choose_links(const std::vector<LinkChange>& links,
                                              const std::vector<std::string>& names) {
  std::vector<LinkChange> chosen;
  if (names.empty()) {
    std::copy_if(links.begin(), links.end(), std::back_inserter(chosen), is_automatic);
    if (chosen.empty()) {
      return tl::unexpected(std::string(
          "no interface to serve: no Ethernet-like interface is up; bring one up or name it"));
    }
    return chosen;
  }
  for (const auto& name : names) {
    const auto link = std::find_if(links.begin(), links.end(), [&](const LinkChange& candidate) {
      return candidate.interface.name == name;
    });
    if (link == links.end()) {
      return tl::unexpected(fmt::format(
          "interface {}: there is none of this name in this network namespace (see ip link)",
          name));
    }
    if (!link->is_ethernet) {
      return tl::unexpected(
          fmt::format("interface {}: not Ethernet-like; only such interfaces can be served", name));
    }
    const bool is_twice = std::any_of(chosen.begin(), chosen.end(), [&](const LinkChange& other) {
      return other.interface.id == link->interface.id;
    });
    if (!is_twice) chosen.push_back(*link);
  }
  return chosen;
}

MergingOff::MergingOff(std::string device, const Log& log) : device_(std::move(device)) {
  if (read_value(device_, ETHTOOL_GGRO).value_or(0) != 0) {
    gro_was_on_ = write_value(device_, ETHTOOL_SGRO, 0);
    if (!gro_was_on_) {
      log(LogLevel::kWarning,
          fmt::format("interface {}: cannot turn off generic receive offload; merged packets will "
                      "be lost (try ethtool -K {} gro off)",
                      device_, device_));
    }
  }
  const auto flags = read_value(device_, ETHTOOL_GFLAGS).value_or(0);
  if ((flags & ETH_FLAG_LRO) != 0) {
    lro_was_on_ = write_value(device_, ETHTOOL_SFLAGS, flags & ~std::uint32_t{ETH_FLAG_LRO});
    if (!lro_was_on_) {
      log(LogLevel::kWarning,
          fmt::format("interface {}: cannot turn off large receive offload; merged packets will be "
                      "lost (try ethtool -K {} lro off)",
                      device_, device_));
    }
  }
  if (gro_was_on_ || lro_was_on_) {
    log(LogLevel::kInfo,
        fmt::format("interface {}: receive offload ({}) is off while generic XDP is in use",
                    device_,
                    gro_was_on_ && lro_was_on_ ? "GRO, LRO"
                    : gro_was_on_              ? "GRO"
                                               : "LRO"));
  }
}

MergingOff::~MergingOff() {
  // The device may be gone; then there is nothing to restore.
  if (gro_was_on_) write_value(device_, ETHTOOL_SGRO, 1);
  if (!lro_was_on_) return;
  if (const auto flags = read_value(device_, ETHTOOL_GFLAGS)) {
    write_value(device_, ETHTOOL_SFLAGS, *flags | ETH_FLAG_LRO);
  }
}

std::optional<XdpSendCounts> xdp_send_counts(const std::string& device) {
  ethtool_drvinfo information{};
  information.cmd = ETHTOOL_GDRVINFO;
  if (ethtool(device, &information) != 0 || information.n_stats == 0) return std::nullopt;
  // The kernel writes as many as the driver has by now; leave room for queues that came meanwhile.
  const std::size_t room = information.n_stats + std::size_t{256};
  std::vector<std::byte> names(sizeof(ethtool_gstrings) + room * ETH_GSTRING_LEN);
  auto* strings = reinterpret_cast<ethtool_gstrings*>(names.data());
  strings->cmd = ETHTOOL_GSTRINGS;
  strings->string_set = ETH_SS_STATS;
  strings->len = information.n_stats;
  std::vector<std::uint64_t> values((sizeof(ethtool_stats) / sizeof(std::uint64_t)) + room);
  auto* statistics = reinterpret_cast<ethtool_stats*>(values.data());
  statistics->cmd = ETHTOOL_GSTATS;
  statistics->n_stats = information.n_stats;
  if (ethtool(device, strings) != 0 || ethtool(device, statistics) != 0) return std::nullopt;
  XdpSendCounts counts;
  bool counts_errors = false;
  const auto count = std::min({strings->len, statistics->n_stats, information.n_stats});
  for (std::uint32_t i = 0; i < count; ++i) {
    const char* begin = reinterpret_cast<const char*>(strings->data) + i * ETH_GSTRING_LEN;
    const std::string_view name(begin, ::strnlen(begin, ETH_GSTRING_LEN));
    const bool is_error =
        name.find("xdp_xmit_err") != name.npos || name.find("xdp_tx_err") != name.npos;
    const bool is_sent = name.ends_with("xdp_xmit") || name.ends_with("xdp_tx");
    counts_errors = counts_errors || is_error;
    if (is_error) counts.errors += statistics->data[i];
    if (is_sent) counts.sent += statistics->data[i];
  }
  if (!counts_errors) return std::nullopt;
  return counts;
}

bool strips_vlan_tags(const std::string& device) {
  return (read_value(device, ETHTOOL_GFLAGS).value_or(0) & ETH_FLAG_RXVLAN) != 0;
}

}  // namespace lb::datapath
