// SPDX-License-Identifier: Apache-2.0
#include "control/transaction.hpp"

#include <linux/ip_vs.h>

#include <cerrno>
#include <map>
#include <span>
#include <utility>

#include "control/commands.hpp"
#include "engine/rehearsal.hpp"
#include "engine/removal.hpp"
#include "engine/snat.hpp"
#include "wire/family.hpp"
#include "wire/ipvs_server.hpp"
#include "wire/removal_messages.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::control {
namespace {

bool is_daemon_request(const wire::MessageView& request) noexcept {
  return request.header.type == wire::kIpvsFamily &&
         (request.header.command == IPVS_CMD_NEW_DAEMON ||
          request.header.command == IPVS_CMD_DEL_DAEMON);
}

bool is_flush(const wire::MessageView& request) noexcept {
  return request.header.type == wire::kIpvsFamily && request.header.command == IPVS_CMD_FLUSH;
}

bool is_snat_change(const wire::MessageView& request) noexcept {
  if (request.header.type != wire::kSluiceFamily) return false;
  using enum wire::SluiceCommand;
  const auto command = static_cast<wire::SluiceCommand>(request.header.command);
  return command == kAddSnatRule || command == kDeleteSnatRule || command == kFlushSnatRules;
}

/// The service that a request names, if it names one.
std::optional<model::ServiceKey> service_of(const wire::MessageView& request) {
  if (request.header.type == wire::kSluiceFamily) {
    using enum wire::SluiceCommand;
    if (static_cast<wire::SluiceCommand>(request.header.command) != kSetServiceOptions) return {};
    const auto options = wire::parse_service_options_request(request);
    if (!options) return std::nullopt;
    return options->key;
  }
  const auto asked = wire::IpvsRequest::parse(request.attributes);
  if (!asked || !asked->service) return std::nullopt;
  const auto service = wire::parse_service(asked->service, wire::Detail::kIdentity);
  if (!service) return std::nullopt;
  return service->key;
}

Result<void> carry_out(engine::Director& director, const wire::MessageView& request) {
  const auto response = dispatch({.director = director, .message = request});
  if (!response) return tl::unexpected(response.error());
  while (response->task != nullptr && response->task->go_on()) {
  }
  return {};
}

/// A service as it can be made again.
struct SavedService {
  model::ServiceSpec spec;
  model::ServiceOptions options;
  std::vector<model::DestinationSpec> destinations;  ///< oldest first
};

std::optional<SavedService> save(const engine::Director& director, const model::ServiceKey& key) {
  const auto service = director.service(key);
  if (!service) return std::nullopt;
  SavedService saved{
      .spec = service->spec,
      .options = engine::service_options(director, key).value_or(model::ServiceOptions()),
      .destinations = {}};
  saved.spec.flags_mask = ~0U;
  const auto destinations = director.destinations(key);
  saved.destinations.reserve(destinations.size());
  for (auto info = destinations.rbegin(); info != destinations.rend(); ++info) {
    saved.destinations.push_back(info->spec);
  }
  return saved;
}

Result<void> make_again(engine::Director& director, const SavedService& saved) {
  if (auto added = director.add_service(saved.spec); !added) return added;
  if (auto set = engine::set_service_options(director, saved.spec.key, saved.options); !set) {
    return set;
  }
  for (const auto& destination : saved.destinations) {
    if (auto added = director.add_destination(saved.spec.key, destination); !added) return added;
  }
  return {};
}

/// Tries requests on a director beside the real one, and knows what to put back in that.
class Rehearsal {
 public:
  explicit Rehearsal(engine::Director& real) : real_(real), stage_(engine::make_rehearsal(real)) {}

  /// What a request would bring.
  [[nodiscard]] Result<void> play(const wire::MessageView& request) {
    if (is_flush(request)) {
      for (const auto& key : real_.service_keys()) note(key);
    } else if (const auto key = service_of(request)) {
      bring(*key);
    }
    changes_snat_ = changes_snat_ || is_snat_change(request);
    return carry_out(*stage_, request);
  }

  /// Gives the real director back what it had.
  void undo() {
    // All go before any comes back: then what was there fits again.
    for (const auto& entry : before_) {
      if (real_.has_service(entry.first)) static_cast<void>(real_.delete_service(entry.first));
    }
    for (const auto& [key, saved] : before_) {
      if (saved) static_cast<void>(make_again(real_, *saved));
    }
    real_.set_settings(settings_);
    static_cast<void>(real_.set_timeouts(timeouts_));
    real_.flush_mark_rules();
    for (const auto& rule : mark_rules_) static_cast<void>(real_.add_mark_rule(rule));
    if (!changes_snat_) return;
    engine::flush_snat_rules(real_);
    for (const auto& info : snat_rules_) static_cast<void>(engine::add_snat_rule(real_, info.rule));
  }

  /// Notes what `undo` needs besides services.
  void note_the_rest() {
    settings_ = real_.settings();
    timeouts_ = real_.timeouts();
    for (std::uint32_t position = 1; const auto rule = real_.mark_rule(position); ++position) {
      mark_rules_.push_back(rule->rule);
    }
    if (changes_snat_) snat_rules_ = engine::snat_rules(real_);
  }

 private:
  /// How a service was, if it is met for the first time; else null.
  const SavedService* note(const model::ServiceKey& key) {
    const auto [entry, is_new] = before_.try_emplace(key);
    if (!is_new) return nullptr;
    entry->second = save(real_, key);
    return entry->second ? &*entry->second : nullptr;
  }

  void bring(const model::ServiceKey& key) {
    const auto* saved = note(key);
    // Fails if such a destination could not be added today; then what concerns it fails, too.
    if (saved != nullptr) static_cast<void>(make_again(*stage_, *saved));
  }

  engine::Director& real_;
  std::unique_ptr<engine::Director> stage_;
  std::map<model::ServiceKey, std::optional<SavedService>> before_;
  engine::Settings settings_;
  model::Timeouts timeouts_;
  std::vector<model::MarkRule> mark_rules_;
  bool changes_snat_ = false;  ///< rules that nobody touches keep their connections
  std::vector<model::SnatRuleInfo> snat_rules_;
};

/// Hands each request to `carry(request)`; returns the first that fails.
template <class Carry>
std::optional<wire::TransactionFailure> all(std::span<const std::byte> requests, Carry carry) {
  std::uint32_t number = 0;
  while (const auto request = wire::take_message(requests)) {
    if (const auto done = carry(*request); !done) {
      return wire::TransactionFailure{.request = number, .error = done.error().code};
    }
    ++number;
  }
  return std::nullopt;
}

}  // namespace

bool Transaction::takes(const wire::MessageView& request) noexcept {
  if (!request.has_command) return false;
  if (request.header.type == wire::kIpvsFamily) {
    return is_change(request.header.command) || is_daemon_request(request);
  }
  if (request.header.type != wire::kSluiceFamily) return false;
  using enum wire::SluiceCommand;
  switch (static_cast<wire::SluiceCommand>(request.header.command)) {
    case kSetSetting:
    case kAddMarkRule:
    case kDeleteMarkRule:
    case kFlushMarkRules:
    case kZeroMarkRules:
    case kSetServiceOptions:
    case kAddSnatRule:
    case kDeleteSnatRule:
    case kFlushSnatRules:
    case kZeroSnatRules:
      return true;
    default:
      return false;
  }
}

Result<void> Transaction::keep(const wire::MessageView& request) {
  if (is_daemon_request(request)) return failure(EOPNOTSUPP);
  const auto aligned = (request.bytes.size() + 3) / 4 * 4;
  if (requests_.size() + aligned > kMaxBytes) return failure(ENOBUFS);
  requests_.insert(requests_.end(), request.bytes.begin(), request.bytes.end());
  requests_.resize(requests_.size() + aligned - request.bytes.size());
  return {};
}

std::optional<wire::TransactionFailure> Transaction::apply(engine::Director& director) const {
  Rehearsal rehearsal(director);
  if (auto failed = all(requests_, [&](const auto& request) { return rehearsal.play(request); })) {
    return failed;
  }
  rehearsal.note_the_rest();
  auto failed = all(requests_, [&](const auto& request) { return carry_out(director, request); });
  if (failed) rehearsal.undo();
  return failed;
}

}  // namespace lb::control
