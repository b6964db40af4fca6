// SPDX-License-Identifier: Apache-2.0
#include "daemon/reload.hpp"

#include "control/setting_names.hpp"

namespace lb::daemon {
namespace {

/// As the file writes it: "drop_entry" of "net.ipv4.vs.drop_entry".
std::string_view short_name(std::string_view name) { return name.substr(name.rfind('.') + 1); }

}  // namespace

Reload compare(const Configuration& old, const Configuration& fresh) {
  Reload result;
  const auto note = [](bool is_new, std::vector<std::string>& list, std::string_view key) {
    if (is_new) list.emplace_back(key);
  };
  note(old.log_level != fresh.log_level, result.applied, "log_level");
  note(old.log_format != fresh.log_format, result.applied, "log_format");
  note(old.keep_forwarding != fresh.keep_forwarding, result.applied, "keep_forwarding");
  note(old.socket_group != fresh.socket_group, result.applied, "socket_group");
  for (const auto& setting : control::setting_names()) {
    note(!control::is_same(setting, old.settings, fresh.settings), result.applied,
         short_name(setting.name));
  }
  note(old.datapath.interfaces != fresh.datapath.interfaces, result.applied, "interfaces");
  note(old.datapath.xdp_mode != fresh.datapath.xdp_mode, result.need_restart, "xdp_mode");
  note(old.datapath.xdp_tx != fresh.datapath.xdp_tx, result.need_restart, "xdp_tx");
  note(old.table_size != fresh.table_size, result.need_restart, "table_size");
  const auto& sizes = old.datapath.stand_in;
  const auto& fresh_sizes = fresh.datapath.stand_in;
  note(sizes.slots != fresh_sizes.slots, result.need_restart, "stand_in_slots");
  note(sizes.notes != fresh_sizes.notes, result.need_restart, "journal_size");
  note(old.datapath.fast_ipv4 != fresh.datapath.fast_ipv4, result.need_restart, "fast_path_ipv4");
  note(old.datapath.fast_ipv6 != fresh.datapath.fast_ipv6, result.need_restart, "fast_path_ipv6");
  note(old.rules_file != fresh.rules_file, result.need_restart, "rules");
  note(old.sync != fresh.sync, result.need_restart, "sync");
  return result;
}

engine::Settings merge_settings(const engine::Settings& current, const engine::Settings& old,
                                const engine::Settings& fresh) {
  auto merged = current;
  for (const auto& setting : control::setting_names()) {
    if (!control::is_same(setting, old, fresh)) control::copy_setting(setting, merged, fresh);
  }
  return merged;
}

}  // namespace lb::daemon
