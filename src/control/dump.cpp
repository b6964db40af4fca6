// SPDX-License-Identifier: Apache-2.0
#include "control/dump.hpp"

#include <linux/netlink.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <initializer_list>
#include <optional>
#include <utility>

#include "control/proc_files.hpp"
#include "control/setting_names.hpp"
#include "control/status_source.hpp"
#include "engine/destination_listing.hpp"
#include "engine/removal.hpp"
#include "engine/snat.hpp"
#include "wire/family.hpp"
#include "wire/ipvs_server.hpp"
#include "wire/mark_messages.hpp"
#include "wire/removal_messages.hpp"
#include "wire/sluice_messages.hpp"
#include "wire/snat_messages.hpp"

namespace lb::control {
namespace {

using Datagram = std::vector<std::byte>;

/// A dump of `count` messages that `encode(index, datagram)` appends. `prepare` tells the count
/// when the dump is first read, so that a client which never reads costs nothing.
class IndexedDump : public Dump {
 public:
  using Prepare = std::function<std::size_t()>;
  using Encode = std::function<void(std::size_t index, Datagram&)>;

  IndexedDump(const DumpContext& context, Prepare prepare, Encode encode)
      : Dump(context), prepare_(std::move(prepare)), encode_(std::move(encode)) {}

  bool fill(Datagram& datagram) override {
    if (!count_) count_ = prepare_();
    if (next_ == *count_) return false;
    const auto end = std::min(*count_, next_ + kAtOnce);
    while (next_ < end) {
      const auto old = datagram.size();
      encode_(next_, datagram);
      if (old != 0 && datagram.size() > kMaxDatagram) {
        datagram.resize(old);  // opens the next datagram instead
        break;
      }
      ++next_;
    }
    return true;
  }

 private:
  /// Looked at for a datagram: some may bring nothing.
  static constexpr std::size_t kAtOnce = 256;

  Prepare prepare_;
  Encode encode_;
  std::optional<std::size_t> count_;
  std::size_t next_ = 0;
};

/// The destinations of a service, some at a time.
class DestinationDump : public Dump {
 public:
  DestinationDump(const DumpContext& context, const model::ServiceKey& key)
      : Dump(context), key_(key) {}

  bool fill(Datagram& datagram) override {
    const auto& [director, request, port_id] = context();
    const auto list = engine::list_destinations(director, key_, next_, kAtOnce);
    for (const auto& info : list) {
      const auto old = datagram.size();
      wire::encode_destination(datagram, request, port_id, NLM_F_MULTI, info);
      if (old != 0 && datagram.size() > kMaxDatagram) {
        datagram.resize(old);  // opens the next datagram instead
        break;
      }
      ++next_;
    }
    return !list.empty();
  }

 private:
  /// About as many as a datagram takes.
  static constexpr std::size_t kAtOnce = 64;

  model::ServiceKey key_;
  std::size_t next_ = 0;
};

class ConnectionDump : public Dump {
 public:
  using Dump::Dump;

  bool fill(Datagram& datagram) override {
    if (encoded_ == found_.size()) {
      if (!cursor_) return false;
      found_.clear();
      encoded_ = 0;
      cursor_ = context().director.list_connections(*cursor_, kSlots, found_);
    }
    for (; encoded_ < found_.size(); ++encoded_) {
      const auto old = datagram.size();
      wire::encode_connection(datagram, context().request, context().port_id, NLM_F_MULTI,
                              found_[encoded_]);
      if (datagram.size() > kMaxDatagram) {
        datagram.resize(old);
        break;
      }
    }
    return true;
  }

 private:
  /// Looked through at a time: some microseconds of work, and room for about as many
  /// connections as a datagram takes.
  static constexpr std::uint32_t kSlots = 256;

  std::optional<std::uint32_t> cursor_ = 0;
  std::vector<model::ConnectionInfo> found_;
  std::size_t encoded_ = 0;
};

class FileDump : public Dump {
 public:
  FileDump(const DumpContext& context, std::string_view path)
      : Dump(context), file_(open_proc_file(context.director, path)) {}

  bool fill(Datagram& datagram) override {
    if (sent_ == text_.size()) {
      text_.clear();
      sent_ = 0;
      if (file_ == nullptr || !file_->next(text_)) return false;
    }
    const auto piece = std::string_view(text_).substr(sent_, wire::kMaxFilePiece);
    if (piece.empty()) return true;  // the search goes on
    wire::encode_file_piece(datagram, context().request, context().port_id, NLM_F_MULTI, piece);
    sent_ += piece.size();
    return true;
  }

 private:
  std::unique_ptr<ProcFile> file_;
  std::string text_;
  std::size_t sent_ = 0;
};

wire::DirectorStatus director_status(const engine::Director& director, const StatusSource* status) {
  const auto& counters = director.counters();
  wire::DirectorStatus result{.version = status != nullptr ? status->version() : std::string(),
                              .uptime_seconds = 0,
                              .services = director.service_count(),
                              .connections = director.connection_count(),
                              .connection_capacity = director.connection_capacity(),
                              .totals = director.totals(),
                              .counters = {{"sent", counters.sent},
                                           {"to_host", counters.to_host},
                                           {"icmp_errors_sent", counters.icmp_errors_sent},
                                           {"connections_created", counters.connections_created},
                                           {"connections_expired", counters.connections_expired}},
                              .drops = {},
                              .health = status != nullptr ? status->health() : std::string()};
  const auto& sync = director.sync_counters();
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, std::uint64_t>>{
           {"sync_messages_sent", sync.messages_sent},
           {"sync_messages_lost", sync.messages_lost},
           {"sync_messages_received", sync.messages_received},
           {"sync_messages_foreign", sync.messages_foreign},
           {"sync_messages_rejected", sync.messages_rejected},
           {"sync_entries_taken", sync.entries_taken},
           {"sync_entries_stale", sync.entries_stale},
           {"sync_entries_rejected", sync.entries_rejected},
           {"sync_entries_without_room", sync.entries_without_room}}) {
    result.counters.push_back({name, value});
  }
  const auto& removal = engine::removal_of(director);
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, std::uint64_t>>{
           {"connections_ended", removal.ended},
           {"client_probes_sent", removal.probes},
           {"client_resets_sent", removal.resets}}) {
    result.counters.push_back({name, value});
  }
  if (status != nullptr) {
    const auto uptime = std::chrono::duration_cast<std::chrono::seconds>(status->uptime());
    result.uptime_seconds = static_cast<std::uint64_t>(uptime.count());
    for (auto& counter : status->counters()) result.counters.push_back(std::move(counter));
  }
  for (std::size_t i = 0; i < engine::kDropReasonCount; ++i) {
    result.drops.push_back({std::string(engine::kDropReasonLabels[i]), counters.dropped[i]});
  }
  return result;
}

}  // namespace

void Dump::finish(Datagram& datagram) const {
  wire::encode_done(datagram, context_.request, context_.port_id);
}

std::unique_ptr<Dump> dump_families(const DumpContext& context) {
  return std::make_unique<IndexedDump>(
      context, [] { return wire::families().size(); },
      [context](std::size_t index, Datagram& datagram) {
        wire::encode_family(datagram, context.request, wire::families()[index], context.port_id,
                            NLM_F_MULTI);
      });
}

std::unique_ptr<Dump> dump_services(const DumpContext& context) {
  const auto keys = std::make_shared<std::vector<model::ServiceKey>>();
  return std::make_unique<IndexedDump>(
      context,
      [context, keys] {
        *keys = context.director.service_keys();
        return keys->size();
      },
      [context, keys](std::size_t index, Datagram& datagram) {
        const auto service = context.director.service((*keys)[index]);
        if (!service) return;  // deleted since
        wire::encode_service(datagram, context.request, context.port_id, NLM_F_MULTI, *service);
      });
}

std::unique_ptr<Dump> dump_destinations(const DumpContext& context, const model::ServiceKey& key) {
  return std::make_unique<DestinationDump>(context, key);
}

std::unique_ptr<Dump> dump_daemons(const DumpContext& context) {
  const auto list = std::make_shared<std::vector<model::SyncDaemonSpec>>();
  return std::make_unique<IndexedDump>(
      context,
      [context, list] {
        *list = context.director.sync_daemons();
        return list->size();
      },
      [context, list](std::size_t index, Datagram& datagram) {
        wire::encode_daemon(datagram, context.request, context.port_id, NLM_F_MULTI,
                            (*list)[index]);
      });
}

std::unique_ptr<Dump> dump_connections(const DumpContext& context) {
  return std::make_unique<ConnectionDump>(context);
}

std::unique_ptr<Dump> dump_settings(const DumpContext& context) {
  return std::make_unique<IndexedDump>(
      context, [] { return setting_names().size(); },
      [context](std::size_t index, Datagram& datagram) {
        const auto& setting = setting_names()[index];
        wire::encode_setting(datagram, context.request, context.port_id, NLM_F_MULTI,
                             {.name = std::string(setting.name),
                              .value = setting_text(context.director.settings(), setting)});
      });
}

std::unique_ptr<Dump> dump_mark_rules(const DumpContext& context) {
  return std::make_unique<IndexedDump>(
      context, [context] { return context.director.mark_rule_count(); },
      [context](std::size_t index, Datagram& datagram) {
        const auto position = static_cast<std::uint32_t>(index + 1);
        const auto rule = context.director.mark_rule(position);
        if (!rule) return;  // deleted since
        wire::encode_mark_rule(datagram, context.request, context.port_id, NLM_F_MULTI, position,
                               *rule);
      });
}

std::unique_ptr<Dump> dump_snat_rules(const DumpContext& context, engine::Director& director) {
  const auto list = std::make_shared<std::vector<model::SnatRuleInfo>>();
  return std::make_unique<IndexedDump>(
      context,
      [&director, list] {
        *list = engine::snat_rules(director);
        return list->size();
      },
      [context, list](std::size_t index, Datagram& datagram) {
        wire::encode_snat_rule(datagram, context.request, context.port_id, NLM_F_MULTI,
                               (*list)[index]);
      });
}

std::unique_ptr<Dump> dump_service_options(const DumpContext& context) {
  const auto keys = std::make_shared<std::vector<model::ServiceKey>>();
  return std::make_unique<IndexedDump>(
      context,
      [context, keys] {
        *keys = context.director.service_keys();
        return keys->size();
      },
      [context, keys](std::size_t index, Datagram& datagram) {
        const auto& key = (*keys)[index];
        const auto options = engine::service_options(context.director, key);
        if (!options || options->is_default()) return;
        wire::encode_service_options(datagram, context.request, context.port_id, NLM_F_MULTI,
                                     {.key = key, .options = *options});
      });
}

std::unique_ptr<Dump> dump_status(const DumpContext& context, const StatusSource* status) {
  const auto interfaces = std::make_shared<std::vector<wire::InterfaceStatus>>();
  return std::make_unique<IndexedDump>(
      context,
      [status, interfaces] {
        if (status != nullptr) *interfaces = status->interfaces();
        return 1 + interfaces->size();
      },
      [context, status, interfaces](std::size_t index, Datagram& datagram) {
        if (index == 0) {
          wire::encode_status(datagram, context.request, context.port_id, NLM_F_MULTI,
                              director_status(context.director, status));
        } else {
          wire::encode_interface(datagram, context.request, context.port_id, NLM_F_MULTI,
                                 (*interfaces)[index - 1]);
        }
      });
}

std::unique_ptr<Dump> dump_file(const DumpContext& context, std::string_view path) {
  return std::make_unique<FileDump>(context, path);
}

std::unique_ptr<Dump> dump_nothing(const DumpContext& context) {
  return std::make_unique<IndexedDump>(
      context, [] { return std::size_t{0}; }, [](std::size_t, Datagram&) {});
}

}  // namespace lb::control
