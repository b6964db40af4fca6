// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/settings.hpp"
#include "net/result.hpp"

namespace lb::control {

/// A setting by the name that sysctl(8) knows it by.
struct SettingName {
  std::string_view name;  ///< "net.ipv4.vs.drop_entry"
  std::int32_t engine::Settings::*member;
  // What the kernel accepts; anything else is EINVAL.
  std::int32_t lowest = INT32_MIN;
  std::int32_t highest = INT32_MAX;
  /// Of a setting that is two numbers, the second; else null.
  std::int32_t engine::Settings::*second = nullptr;
  /// Of a setting that is no number but a list of CPUs; else null, and `member` is not.
  engine::CpuList engine::Settings::*cpus = nullptr;
};

/// All settings, in the order in which the kernel registers them.
[[nodiscard]] std::span<const SettingName> setting_names() noexcept;

/// The setting of that name, or null. Slashes may stand for the dots, as in sysctl(8).
[[nodiscard]] const SettingName* find_setting(std::string_view name) noexcept;

/// Whether `a` and `b` have the same value of `setting`.
[[nodiscard]] bool is_same(const SettingName& setting, const engine::Settings& a,
                           const engine::Settings& b) noexcept;
/// Gives `to` the value that `from` has.
void copy_setting(const SettingName& setting, engine::Settings& to,
                  const engine::Settings& from) noexcept;

/// The value as sysctl(8) prints it: a number, two with a tab between, or a list.
[[nodiscard]] std::string setting_text(const engine::Settings& settings,
                                       const SettingName& setting);

/// Sets one by name. ENOENT: no such setting; EINVAL: not a number, or one out of range. A setting
/// of two numbers takes them parted by blanks, or only the first.
[[nodiscard]] Result<void> assign_setting(engine::Settings& settings, std::string_view name,
                                          std::string_view value) noexcept;

}  // namespace lb::control
