// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/destination.hpp"
#include "model/service.hpp"
#include "model/sync_daemon.hpp"
#include "net/result.hpp"
#include "wire/family.hpp"

/// The client's half of the IPVS family (linux/ip_vs.h): requests as ipvsadm 1.31 builds them,
/// byte for byte, and the reading of answers.
///
/// Example, listing all services:
///   auto answer = transport.exchange(wire::family_request(wire::kIpvsName));
///   auto family = wire::read_family_id(*answer);
///   answer = transport.exchange(wire::list_services_request({.family = *family}));
///   auto services = wire::read_services(*answer);
namespace lb::wire {

// Requests. Commands that change something carry the whole service, also where only its
// identity counts, as ipvsadm sends it; `identity` makes such a service of a key.

/// `key` as ipvsadm writes it where only the identity of a service counts: no scheduler, no
/// flags, all bits of the client address.
[[nodiscard]] model::ServiceSpec identity(const model::ServiceKey& key);

[[nodiscard]] Message info_request(const RequestContext& context);

[[nodiscard]] Message add_service_request(const RequestContext& context,
                                          const model::ServiceSpec& service);
[[nodiscard]] Message edit_service_request(const RequestContext& context,
                                           const model::ServiceSpec& service);
[[nodiscard]] Message delete_service_request(const RequestContext& context,
                                             const model::ServiceSpec& service);
/// One service; ESRCH if there is none.
[[nodiscard]] Message get_service_request(const RequestContext& context,
                                          const model::ServiceKey& key);
[[nodiscard]] Message list_services_request(const RequestContext& context);

[[nodiscard]] Message add_destination_request(const RequestContext& context,
                                              const model::ServiceSpec& service,
                                              const model::DestinationSpec& destination);
[[nodiscard]] Message edit_destination_request(const RequestContext& context,
                                               const model::ServiceSpec& service,
                                               const model::DestinationSpec& destination);
[[nodiscard]] Message delete_destination_request(const RequestContext& context,
                                                 const model::ServiceSpec& service,
                                                 const model::DestinationSpec& destination);
/// All destinations of a service; none if there is no such service.
[[nodiscard]] Message list_destinations_request(const RequestContext& context,
                                                const model::ServiceKey& key);

[[nodiscard]] Message timeouts_request(const RequestContext& context);
[[nodiscard]] Message set_timeouts_request(const RequestContext& context,
                                           const model::Timeouts& timeouts);
[[nodiscard]] Message zero_request(const RequestContext& context,
                                   const model::ServiceSpec& service);
[[nodiscard]] Message zero_all_request(const RequestContext& context);
[[nodiscard]] Message flush_request(const RequestContext& context);

[[nodiscard]] Message start_daemon_request(const RequestContext& context,
                                           const model::SyncDaemonSpec& daemon);
/// Role, interface and id of `daemon` are sent; only the role counts.
[[nodiscard]] Message stop_daemon_request(const RequestContext& context,
                                          const model::SyncDaemonSpec& daemon);
[[nodiscard]] Message list_daemons_request(const RequestContext& context);

// Answers. Each fails with the errno that the director answered, or with EBADMSG if the bytes
// are not an answer to the request.

struct DirectorInfo {
  std::uint32_t version = 0;  ///< three bytes: 0x010201 is 1.2.1
  std::uint32_t table_size = 0;
};
[[nodiscard]] Result<DirectorInfo> read_info(std::span<const Message> answer);
[[nodiscard]] Result<model::ServiceInfo> read_service(std::span<const Message> answer);
/// In the order of the answer, which is the director's.
[[nodiscard]] Result<std::vector<model::ServiceInfo>> read_services(
    std::span<const Message> answer);
/// As the director lists them: newest first.
[[nodiscard]] Result<std::vector<model::DestinationInfo>> read_destinations(
    std::span<const Message> answer);
[[nodiscard]] Result<model::Timeouts> read_timeouts(std::span<const Message> answer);
[[nodiscard]] Result<std::vector<model::SyncDaemonSpec>> read_daemons(
    std::span<const Message> answer);

}  // namespace lb::wire
