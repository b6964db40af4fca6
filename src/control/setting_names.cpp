// SPDX-License-Identifier: Apache-2.0
#include "control/setting_names.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <optional>

#include "model/service_options.hpp"

namespace lb::control {
namespace {

using engine::Settings;

// drop_entry, drop_packet and secure_tcp have four modes; the expiration times of the two
// locality schedulers are kept in ticks, so that seconds beyond INT_MAX / HZ do not fit.
constexpr std::int32_t kHighestMode = 3;
constexpr std::int32_t kNicest = 19;
constexpr std::int32_t kHighestLoadFactor = 8;

constexpr auto kNames = std::to_array<SettingName>({
    {"net.ipv4.vs.amemthresh", &Settings::amemthresh},
    {"net.ipv4.vs.am_droprate", &Settings::am_droprate},
    {"net.ipv4.vs.drop_entry", &Settings::drop_entry, 0, kHighestMode},
    {"net.ipv4.vs.drop_packet", &Settings::drop_packet, 0, kHighestMode},
    {"net.ipv4.vs.conntrack", &Settings::conntrack},
    {"net.ipv4.vs.secure_tcp", &Settings::secure_tcp, 0, kHighestMode},
    {"net.ipv4.vs.snat_reroute", &Settings::snat_reroute},
    {"net.ipv4.vs.sync_version", &Settings::sync_version, 0, 1},
    {"net.ipv4.vs.sync_ports", &Settings::sync_ports, 1},
    {"net.ipv4.vs.sync_persist_mode", &Settings::sync_persist_mode},
    {"net.ipv4.vs.sync_qlen_max", &Settings::sync_qlen_max},
    {"net.ipv4.vs.sync_sock_size", &Settings::sync_sock_size},
    {"net.ipv4.vs.cache_bypass", &Settings::cache_bypass},
    {"net.ipv4.vs.expire_nodest_conn", &Settings::expire_nodest_conn},
    {"net.ipv4.vs.sloppy_tcp", &Settings::sloppy_tcp},
    {"net.ipv4.vs.sloppy_sctp", &Settings::sloppy_sctp},
    {"net.ipv4.vs.expire_quiescent_template", &Settings::expire_quiescent_template},
    {"net.ipv4.vs.sync_threshold", &Settings::sync_threshold, 0, INT32_MAX, &Settings::sync_period},
    {"net.ipv4.vs.sync_refresh_period", &Settings::sync_refresh_period, 0},
    {"net.ipv4.vs.sync_retries", &Settings::sync_retries, 0, 3},
    {"net.ipv4.vs.nat_icmp_send", &Settings::nat_icmp_send},
    {"net.ipv4.vs.pmtu_disc", &Settings::pmtu_disc},
    {"net.ipv4.vs.backup_only", &Settings::backup_only},
    {"net.ipv4.vs.conn_reuse_mode", &Settings::conn_reuse_mode},
    {"net.ipv4.vs.schedule_icmp", &Settings::schedule_icmp},
    {"net.ipv4.vs.ignore_tunneled", &Settings::ignore_tunneled},
    {"net.ipv4.vs.run_estimation", &Settings::run_estimation},
    {.name = "net.ipv4.vs.est_cpulist", .member = nullptr, .cpus = &Settings::est_cpulist},
    {"net.ipv4.vs.est_nice", &Settings::est_nice, -kNicest - 1, kNicest},
    {"net.ipv4.vs.conn_lfactor", &Settings::conn_lfactor, -kHighestLoadFactor, kHighestLoadFactor},
    {"net.ipv4.vs.svc_lfactor", &Settings::svc_lfactor, -kHighestLoadFactor, kHighestLoadFactor},
    {"net.ipv4.vs.conn_max", &Settings::conn_max, 0},
    {"net.ipv4.vs.debug_level", &Settings::debug_level},
    {"net.ipv4.vs.lblc_expiration", &Settings::lblc_expiration, 0},
    {"net.ipv4.vs.lblcr_expiration", &Settings::lblcr_expiration, 0},
    {"sluice.fast_path", &Settings::fast_path, 0, 1},
    {"sluice.punt_limit", &Settings::punt_limit, 0},
    {"sluice.drain", &Settings::drain, -1, model::ServiceOptions::kMaxDrain},
    {"sluice.drain_end", &Settings::drain_end, 0, 2},
    {"sluice.reuse_ports", &Settings::reuse_ports, 0, 1},
    {"sluice.quirk_icmpv6_checksum", &Settings::quirk_icmpv6_checksum, 0, 1},
    {"sluice.quirk_ipv6_extension_state", &Settings::quirk_ipv6_extension_state, 0, 1},
});
// A setting that is added to the engine needs a name here.
constexpr std::size_t kNumbers = [] {
  std::size_t numbers = 0;
  for (const auto& setting : kNames) {
    numbers += (setting.member != nullptr ? 1 : 0) + (setting.second != nullptr ? 1 : 0);
  }
  return numbers;
}();
static_assert(sizeof(Settings) == kNumbers * sizeof(std::int32_t) + sizeof(engine::CpuList));

// The number that `text` begins with, which is taken off it together with the blanks around it.
std::optional<std::int32_t> take_number(std::string_view& text) noexcept {
  const auto skip_blanks = [&] {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  };
  skip_blanks();
  std::int32_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  skip_blanks();
  return number;
}

// What is more than the kernel's range checks of single numbers.
bool is_possible(const Settings& settings) noexcept {
  const auto ports = static_cast<std::uint32_t>(settings.sync_ports);
  const bool is_reached =
      settings.sync_period == 0 || settings.sync_threshold < settings.sync_period;
  return std::has_single_bit(ports) && is_reached;
}

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

bool is_same(const SettingName& setting, const Settings& a, const Settings& b) noexcept {
  if (setting.cpus != nullptr) return a.*(setting.cpus) == b.*(setting.cpus);
  return a.*(setting.member) == b.*(setting.member) &&
         (setting.second == nullptr || a.*(setting.second) == b.*(setting.second));
}

void copy_setting(const SettingName& setting, Settings& to, const Settings& from) noexcept {
  if (setting.cpus != nullptr) to.*(setting.cpus) = from.*(setting.cpus);
  if (setting.member != nullptr) to.*(setting.member) = from.*(setting.member);
  if (setting.second != nullptr) to.*(setting.second) = from.*(setting.second);
}

std::string setting_text(const Settings& settings, const SettingName& setting) {
  if (setting.cpus != nullptr) return std::string((settings.*(setting.cpus)).view());
  auto text = std::to_string(settings.*(setting.member));
  if (setting.second != nullptr) text += '\t' + std::to_string(settings.*(setting.second));
  return text;
}

Result<void> assign_setting(Settings& settings, std::string_view name,
                            std::string_view value) noexcept {
  const auto* setting = find_setting(name);
  if (setting == nullptr) return failure(ENOENT);
  if (setting->cpus != nullptr) {
    if (!(settings.*(setting->cpus)).assign(value)) return failure(EINVAL);
    return {};
  }
  auto changed = settings;
  const auto assign = [&](std::int32_t Settings::*member) {
    const auto number = take_number(value);
    if (!number || *number < setting->lowest || *number > setting->highest) return false;
    changed.*member = *number;
    return true;
  };
  if (!assign(setting->member)) return failure(EINVAL);
  if (setting->second != nullptr && !value.empty() && !assign(setting->second)) {
    return failure(EINVAL);
  }
  if (!value.empty() || !is_possible(changed)) return failure(EINVAL);
  settings = changed;
  return {};
}

}  // namespace lb::control
