// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cli/command.hpp"
#include "model/connection.hpp"
#include "model/mark_rule.hpp"
#include "model/snat.hpp"
#include "wire/family.hpp"
#include "wire/ipvs_client.hpp"
#include "wire/removal_messages.hpp"
#include "wire/sluice_messages.hpp"
#include "wire/transaction_messages.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// Typed requests to a director. Each fails with the errno that the director answered, or with
/// that of the transport.
class IpvsClient {
 public:
  /// `transport` must outlive the client.
  explicit IpvsClient(wire::Transport& transport) : transport_(transport) {}

  /// Looks up the family and asks for version and table size: how ipvsadm starts. Comes before
  /// all other requests of the IPVS family.
  [[nodiscard]] Result<wire::DirectorInfo> open();

  /// Carries out a command that changes something.
  [[nodiscard]] Result<void> apply(const Command& command);
  /// Carries out several in order; those behind one that fails all the same.
  [[nodiscard]] std::vector<Result<void>> apply_all(std::span<const Command> commands);

  [[nodiscard]] Result<model::ServiceInfo> service(const model::ServiceKey& key);
  [[nodiscard]] Result<std::vector<model::ServiceInfo>> services();
  [[nodiscard]] Result<std::vector<model::DestinationInfo>> destinations(
      const model::ServiceKey& key);
  /// Those of several services, in their order.
  [[nodiscard]] std::vector<Result<std::vector<model::DestinationInfo>>> destinations_of(
      std::span<const model::ServiceInfo> services);
  [[nodiscard]] Result<model::Timeouts> timeouts();
  [[nodiscard]] Result<std::vector<model::SyncDaemonSpec>> daemons();

  // Of the SLUICE family.
  [[nodiscard]] Result<std::vector<model::ConnectionInfo>> connections();
  [[nodiscard]] Result<wire::Status> status();
  [[nodiscard]] Result<void> stop(wire::StopMode mode);
  [[nodiscard]] Result<std::vector<model::MarkRuleInfo>> mark_rules();
  /// `position` 0: behind the last.
  [[nodiscard]] Result<void> add_mark_rule(const model::MarkRule& rule, std::uint32_t position = 0);
  [[nodiscard]] Result<void> delete_mark_rule(std::uint32_t position);
  [[nodiscard]] Result<void> delete_mark_rule(const model::MarkRule& rule);
  [[nodiscard]] Result<void> flush_mark_rules();
  [[nodiscard]] Result<void> zero_mark_rules();
  [[nodiscard]] Result<std::vector<model::SnatRuleInfo>> snat_rules();
  [[nodiscard]] Result<void> add_snat_rule(const model::SnatRule& rule);
  /// What keeps `rule` from being added; null: nothing does.
  [[nodiscard]] Result<std::optional<model::SnatConflict>> snat_conflict(
      const model::SnatRule& rule);
  [[nodiscard]] Result<void> delete_snat_rule(const model::Name& name);
  [[nodiscard]] Result<void> flush_snat_rules();
  /// Those of all rules if `name` is empty.
  [[nodiscard]] Result<void> zero_snat_rules(const model::Name& name = {});
  [[nodiscard]] Result<std::vector<wire::Setting>> settings();
  [[nodiscard]] Result<wire::Setting> setting(std::string_view name);
  [[nodiscard]] Result<void> set_setting(const wire::Setting& setting);
  [[nodiscard]] Result<std::vector<wire::NamedServiceOptions>> service_options();
  [[nodiscard]] Result<void> set_service_options(const wire::NamedServiceOptions& service);
  [[nodiscard]] Result<void> end_connections(const model::ConnectionSelection& selection);
  /// Has `requests`, which change something, applied together or not at all.
  [[nodiscard]] Result<std::optional<wire::TransactionFailure>> apply_together(
      std::span<const wire::Message> requests);

 private:
  [[nodiscard]] wire::RequestContext context(std::uint16_t family) noexcept;
  [[nodiscard]] wire::RequestContext ipvs() noexcept { return context(ipvs_family_); }
  [[nodiscard]] Result<std::uint16_t> look_up(std::string_view name);
  [[nodiscard]] Result<void> open_sluice();
  /// Sends the request that `make(context)` returns.
  template <class Make, class Read>
  auto ask_sluice(Make make, Read read)
      -> decltype(read(std::declval<std::span<const wire::Message>>()));
  [[nodiscard]] wire::Message request_of(const Command& command);

  wire::Transport& transport_;
  std::uint16_t ipvs_family_ = wire::kIpvsFamily;
  std::optional<std::uint16_t> sluice_family_;
  std::uint32_t sequence_ = 0;
};

}  // namespace lb::cli
