// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/service_options.hpp"
#include "net/result.hpp"
#include "wire/family.hpp"

/// What a service has beyond IPVS, and the end of connections, in the SLUICE family.
namespace lb::wire {

/// The attribute that holds all of these messages.
inline constexpr unsigned kRemovalAttribute = 30;

/// A service and what it has beyond IPVS.
struct NamedServiceOptions {
  model::ServiceKey key;
  model::ServiceOptions options;
  friend bool operator==(const NamedServiceOptions&, const NamedServiceOptions&) = default;
};

// Client.

/// Replaces all options of the service. ESRCH: there is none; EINVAL: out of range.
[[nodiscard]] Message set_service_options_request(const RequestContext& context,
                                                  const NamedServiceOptions& service);
/// Of all services that have any.
[[nodiscard]] Message list_service_options_request(const RequestContext& context);
/// The order of the answer says nothing.
[[nodiscard]] Result<std::vector<NamedServiceOptions>> read_service_options(
    std::span<const Message> answer);
/// Ends the connections that match; acknowledged before all have ended. EBUSY: too many such
/// requests at work.
[[nodiscard]] Message end_connections_request(const RequestContext& context,
                                              const model::ConnectionSelection& selection);

// Director.

/// EINVAL: no service, or nonsense.
[[nodiscard]] Result<NamedServiceOptions> parse_service_options_request(const MessageView& request);
/// EINVAL: nonsense, or nothing is asked for (which would mean all connections).
[[nodiscard]] Result<model::ConnectionSelection> parse_end_connections_request(
    const MessageView& request);
/// Appends one answer message. `flags`: NLM_F_MULTI in a dump.
void encode_service_options(Message& out, const MessageView& request, std::uint32_t port_id,
                            std::uint16_t flags, const NamedServiceOptions& service);

}  // namespace lb::wire
