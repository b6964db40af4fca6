// SPDX-License-Identifier: Apache-2.0
#include "control/setting_names.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

namespace lb::control {
namespace {

using engine::Settings;

// drop_entry, drop_packet and secure_tcp have four modes; the expiration times of the two
// locality schedulers are kept in ticks, so that seconds beyond INT_MAX / HZ do not fit.
constexpr std::int32_t kHighestMode = 3;

constexpr auto kNames = std::to_array<SettingName>({
    {"net.ipv4.vs.amemthresh", &Settings::amemthresh},
    {"net.ipv4.vs.am_droprate", &Settings::am_droprate},
    {"net.ipv4.vs.drop_entry", &Settings::drop_entry, 0, kHighestMode},
    {"net.ipv4.vs.drop_packet", &Settings::drop_packet, 0, kHighestMode},
    {"net.ipv4.vs.conntrack", &Settings::conntrack},
    {"net.ipv4.vs.secure_tcp", &Settings::secure_tcp, 0, kHighestMode},
    {"net.ipv4.vs.snat_reroute", &Settings::snat_reroute},
    {"net.ipv4.vs.cache_bypass", &Settings::cache_bypass},
    {"net.ipv4.vs.expire_nodest_conn", &Settings::expire_nodest_conn},
    {"net.ipv4.vs.sloppy_tcp", &Settings::sloppy_tcp},
    {"net.ipv4.vs.sloppy_sctp", &Settings::sloppy_sctp},
    {"net.ipv4.vs.expire_quiescent_template", &Settings::expire_quiescent_template},
    {"net.ipv4.vs.nat_icmp_send", &Settings::nat_icmp_send},
    {"net.ipv4.vs.pmtu_disc", &Settings::pmtu_disc},
    {"net.ipv4.vs.backup_only", &Settings::backup_only},
    {"net.ipv4.vs.conn_reuse_mode", &Settings::conn_reuse_mode},
    {"net.ipv4.vs.schedule_icmp", &Settings::schedule_icmp},
    {"net.ipv4.vs.ignore_tunneled", &Settings::ignore_tunneled},
    {"net.ipv4.vs.run_estimation", &Settings::run_estimation},
    {"net.ipv4.vs.lblc_expiration", &Settings::lblc_expiration, 0},
    {"net.ipv4.vs.lblcr_expiration", &Settings::lblcr_expiration, 0},
    {"sluice.quirk_icmpv6_checksum", &Settings::quirk_icmpv6_checksum, 0, 1},
    {"sluice.quirk_ipv6_extension_state", &Settings::quirk_ipv6_extension_state, 0, 1},
});
// A setting that is added to the engine needs a name here.
static_assert(sizeof(Settings) == kNames.size() * sizeof(std::int32_t));

bool is_name(std::string_view given, std::string_view name) noexcept {
  return std::equal(given.begin(), given.end(), name.begin(), name.end(),
                    [](char a, char b) { return a == b || (a == '/' && b == '.'); });
}

}  // namespace

std::span<const SettingName> setting_names() noexcept { return kNames; }

const SettingName* find_setting(std::string_view name) noexcept {
  const auto found = std::find_if(kNames.begin(), kNames.end(),
                                  [&](const auto& setting) { return is_name(name, setting.name); });
  return found == kNames.end() ? nullptr : &*found;
}

Result<void> assign_setting(Settings& settings, std::string_view name,
                            std::string_view value) noexcept {
  const auto* setting = find_setting(name);
  if (setting == nullptr) return failure(ENOENT);
  std::int32_t number = 0;
  const auto* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc{} || stop != end) return failure(EINVAL);
  if (number < setting->lowest || number > setting->highest) return failure(EINVAL);
  settings.*(setting->member) = number;
  return {};
}

}  // namespace lb::control
