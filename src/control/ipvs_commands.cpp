// SPDX-License-Identifier: Apache-2.0
#include <linux/ip_vs.h>
#include <sys/socket.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "control/commands.hpp"
#include "engine/zeroing.hpp"
#include "wire/ipvs_attributes.hpp"
#include "wire/ipvs_server.hpp"

/// The IPVS family. The order of the checks is that of the kernel (ip_vs_genl_set_cmd), since
/// where two things are wrong it decides which error a client sees. What needs the state of the
/// director (names of schedulers and what comes after them, whether a destination exists, whether
/// an address is local or unicast) the director checks itself, after these.
namespace lb::control {
namespace {

using wire::Detail;

Result<Response> done(const Result<void>& result) {
  if (!result) return tl::unexpected(result.error());
  return Response{};
}

bool is_destination_command(unsigned command) {
  return command == IPVS_CMD_NEW_DEST || command == IPVS_CMD_SET_DEST ||
         command == IPVS_CMD_DEL_DEST;
}

/// The range checks of ip_vs_add_dest and ip_vs_edit_dest.
Result<void> check_ranges(const model::DestinationSpec& spec) {
  if (spec.weight < 0) return failure(ERANGE);
  if (spec.lower_threshold > spec.upper_threshold) return failure(ERANGE);
  if (spec.upper_threshold > INT_MAX) return failure(EINVAL);
  const auto& tunnel = spec.tunnel;
  if (tunnel.type == model::TunnelType::kGue && tunnel.port == net::Port{}) return failure(EINVAL);
  // The kernel stores any number for these two and then can't forward; the engine has no such
  // destinations.
  if (tunnel.type > model::TunnelType::kGre) return failure(EINVAL);
  if (spec.method > model::ForwardingMethod::kDirectRoute) return failure(EINVAL);
  return {};
}

/// The family rules, then the address in its family.
Result<model::DestinationSpec> complete(wire::DestinationRequest request,
                                        net::Family service_family, unsigned command) {
  auto family = request.family;
  // Clients of old name no family.
  if (family == AF_UNSPEC) family = static_cast<std::uint16_t>(service_family);
  if (family != AF_INET && family != AF_INET6) return failure(EAFNOSUPPORT);
  const auto own = static_cast<net::Family>(family);
  if (own != service_family && command != IPVS_CMD_DEL_DEST &&
      request.spec.method != model::ForwardingMethod::kTunnel) {
    return failure(EINVAL);
  }
  request.spec.address = wire::make_address(own, request.address);
  return request.spec;
}

Result<void> change_destination(engine::Director& director, const model::ServiceKey& key,
                                const wire::IpvsRequest& asked, unsigned command) {
  const auto detail = command == IPVS_CMD_DEL_DEST ? Detail::kIdentity : Detail::kFull;
  auto parsed = wire::parse_destination(asked.destination, detail);
  if (!parsed) return tl::unexpected(parsed.error());
  const auto spec = complete(std::move(*parsed), key.family, command);
  if (!spec) return tl::unexpected(spec.error());
  if (command == IPVS_CMD_DEL_DEST) {
    return director.delete_destination(key, {.address = spec->address, .port = spec->port});
  }
  if (const auto result = check_ranges(*spec); !result) return result;
  return command == IPVS_CMD_NEW_DEST ? director.add_destination(key, *spec)
                                      : director.edit_destination(key, *spec);
}

/// Changes each service that was there in the beginning, a few at a time. One that another client
/// deletes meanwhile, and perhaps makes again, came before or after.
class EachService : public Task {
 public:
  using Change = Result<void> (engine::Director::*)(const model::ServiceKey&);
  using Rest = void (*)(engine::Director&);
  /// `rest` may be null.
  EachService(engine::Director& director, Change change, Rest rest)
      : director_(director), keys_(director.service_keys()), change_(change), rest_(rest) {}

  bool go_on() override {
    for (std::size_t i = 0; i < kAtOnce && next_ < keys_.size(); ++i) {
      static_cast<void>((director_.*change_)(keys_[next_++]));  // fails if it was deleted since
    }
    if (next_ < keys_.size()) return true;
    if (rest_ != nullptr) rest_(director_);
    return false;
  }

 private:
  static constexpr std::size_t kAtOnce = 8;

  engine::Director& director_;
  std::vector<model::ServiceKey> keys_;
  std::size_t next_ = 0;
  Change change_;
  Rest rest_;
};

Response flush(engine::Director& director) {
  return {.task =
              std::make_unique<EachService>(director, &engine::Director::delete_service, nullptr)};
}

Response zero_all(engine::Director& director) {
  return {.task = std::make_unique<EachService>(director, &engine::Director::zero,
                                                engine::zero_the_rest)};
}

Result<void> set(engine::Director& director, const wire::IpvsRequest& asked, unsigned command) {
  if (command == IPVS_CMD_SET_CONFIG) return director.set_timeouts(asked.timeouts);
  const bool is_new = command == IPVS_CMD_NEW_SERVICE;
  const auto detail = is_new || command == IPVS_CMD_SET_SERVICE ? Detail::kFull : Detail::kIdentity;
  const auto service = wire::parse_service(asked.service, detail);
  if (!service) return tl::unexpected(service.error());
  const bool exists = director.has_service(service->key);
  if (!is_new && !exists) return failure(ESRCH);
  if (is_destination_command(command)) {
    return change_destination(director, service->key, asked, command);
  }
  if (is_new && exists) return failure(EEXIST);
  if (command == IPVS_CMD_DEL_SERVICE) return director.delete_service(service->key);
  if (command == IPVS_CMD_ZERO) return director.zero(service->key);
  return is_new ? director.add_service(*service) : director.edit_service(*service);
}

Result<Response> get_service(const Request& request, const wire::IpvsRequest& asked) {
  const auto spec = wire::parse_service(asked.service, Detail::kIdentity);
  if (!spec) return tl::unexpected(spec.error());
  const auto service = request.director.service(spec->key);
  if (!service) return failure(ESRCH);
  Response response;
  wire::encode_service(response.message, request.message, request.port_id, 0, *service);
  return response;
}

Result<void> change_daemon(engine::Director& director, const wire::IpvsRequest& asked,
                           unsigned command) {
  const bool is_start = command == IPVS_CMD_NEW_DAEMON;
  const auto daemon =
      wire::parse_daemon(asked.daemon, is_start ? Detail::kFull : Detail::kIdentity);
  if (!daemon) return tl::unexpected(daemon.error());
  return is_start ? director.start_sync_daemon(*daemon) : director.stop_sync_daemon(daemon->role);
}

/// Requests for a dump. Attributes that make no sense are no error there: the dump is empty.
Result<Response> dump(const Request& request) {
  const auto context = request.dump_context();
  Response response;
  switch (request.message.header.command) {
    case IPVS_CMD_GET_SERVICE:
      response.dump = dump_services(context);
      return response;
    case IPVS_CMD_GET_DEST: {
      const auto asked = wire::IpvsRequest::parse(request.message.attributes);
      const auto service = asked ? wire::parse_service(asked->service, Detail::kIdentity)
                                 : tl::unexpected(asked.error());
      response.dump = service ? dump_destinations(context, service->key) : dump_nothing(context);
      return response;
    }
    case IPVS_CMD_GET_DAEMON:
      response.dump = dump_daemons(context);
      return response;
    default:
      return failure(EOPNOTSUPP);
  }
}

}  // namespace

bool is_change(unsigned command) noexcept {
  switch (command) {
    case IPVS_CMD_NEW_SERVICE:
    case IPVS_CMD_SET_SERVICE:
    case IPVS_CMD_DEL_SERVICE:
    case IPVS_CMD_NEW_DEST:
    case IPVS_CMD_SET_DEST:
    case IPVS_CMD_DEL_DEST:
    case IPVS_CMD_SET_CONFIG:
    case IPVS_CMD_ZERO:
    case IPVS_CMD_FLUSH:
      return true;
    default:
      return false;
  }
}

Result<Response> handle_ipvs(const Request& request) {
  if (request.is_dump()) return dump(request);
  const unsigned command = request.message.header.command;
  const bool is_get = command == IPVS_CMD_GET_SERVICE || command == IPVS_CMD_GET_CONFIG ||
                      command == IPVS_CMD_GET_INFO;
  const bool is_daemon = command == IPVS_CMD_NEW_DAEMON || command == IPVS_CMD_DEL_DAEMON;
  if (!is_get && !is_daemon && !is_change(command)) return failure(EOPNOTSUPP);

  const auto asked = wire::IpvsRequest::parse(request.message.attributes);
  if (!asked) return tl::unexpected(asked.error());
  if (is_daemon) return done(change_daemon(request.director, *asked, command));
  if (command == IPVS_CMD_FLUSH) return flush(request.director);
  if (command == IPVS_CMD_ZERO && !asked->service) return zero_all(request.director);
  if (!is_get) return done(set(request.director, *asked, command));
  if (command == IPVS_CMD_GET_SERVICE) return get_service(request, *asked);

  Response response;
  if (command == IPVS_CMD_GET_CONFIG) {
    wire::encode_timeouts(response.message, request.message, request.port_id,
                          request.director.timeouts());
  } else {
    wire::encode_info(response.message, request.message, request.port_id,
                      request.director.shown_table_size());
  }
  return response;
}

}  // namespace lb::control
