// SPDX-License-Identifier: Apache-2.0
#include "engine/ftp.hpp"

#include <string_view>

#include "engine/forward/masquerade.hpp"
#include "engine/forward/payload.hpp"
#include "net/bytes.hpp"

namespace lb::engine {
namespace {

bool is_established(const ConnectionRecord& record) {
  return static_cast<TcpState>(record.state) == TcpState::kEstablished;
}

std::uint32_t sequence_of(const PacketContext& context) {
  constexpr std::size_t kSequence = 4;
  return net::load<net::Be32>(context.transport(), kSequence).to_host();
}

// Finishes what the control connection's client and server have agreed upon: `id` waits for the
// first packet of a data connection.
std::optional<Verdict> await_data(DirectorState& state, ConnectionId control, ConnectionId id,
                                  bool is_new) {
  if (id == 0) return Verdict::drop(DropReason::kTableFull);
  if (is_new) {
    state.connections.set_control(id, control);
    ++state.counters.connections_created;
  }
  state.connections.listen(id, state.now);
  return std::nullopt;
}

// The server waits at `server`; the client will come from a port that nobody knows.
ConnectionId find_passive(DirectorState& state, const ConnectionRecord& control,
                          const net::Endpoint& server) {
  const auto client = state.connections.client_end(control).address;
  return state.connections.find_reply(net::Protocol::kTcp, server, {client, net::Port{}});
}

ConnectionId open_passive(DirectorState& state, const ConnectionRecord& control,
                          const net::Endpoint& server) {
  auto& connections = state.connections;
  return connections.open({.protocol = net::Protocol::kTcp,
                           .client = {connections.client_end(control).address, net::Port{}},
                           .virtual_end = {connections.virtual_end(control).address, server.port},
                           .real_end = server,
                           .destination = connections.destination(control),
                           .flags = kConnectionNoClientPort,
                           .unbound_method = model::ForwardingMethod::kMasquerade},
                          state.now);
}

std::optional<Verdict> await_passive(DirectorState& state, ConnectionId control,
                                     const net::Endpoint& server, ConnectionId& data) {
  const auto& record = state.connections.at(control);
  data = find_passive(state, record, server);
  const bool is_new = data == 0;
  if (is_new) data = open_passive(state, record, server);
  return await_data(state, control, data, is_new);
}

// The client waits at `client`; the server will come from the port below that of the control
// connection (RFC 959, 3.2), which the client sees as that of the service.
std::optional<Verdict> await_active(DirectorState& state, ConnectionId control,
                                    const net::Endpoint& client) {
  const auto below = [](const net::Endpoint& end) -> net::Endpoint {
    return {end.address, net::Port::from_host(static_cast<std::uint16_t>(end.port.to_host() - 1U))};
  };
  auto& connections = state.connections;
  const auto& record = connections.at(control);
  const auto virtual_end = below(connections.virtual_end(record));
  auto id = connections.find(net::Protocol::kTcp, client, virtual_end);
  const bool is_new = id == 0;
  if (is_new) {
    id = connections.open({.protocol = net::Protocol::kTcp,
                           .client = client,
                           .virtual_end = virtual_end,
                           .real_end = below(connections.real_end(record)),
                           .destination = connections.destination(record),
                           .unbound_method = model::ForwardingMethod::kMasquerade},
                          state.now);
  }
  return await_data(state, control, id, is_new);
}

// Servers behind a translator may be told to name the address that the world sees.
bool names_server(const DirectorState& state, const ConnectionRecord& record,
                  const net::IpAddress& address) {
  return address == state.connections.real_end(record).address ||
         address == state.connections.virtual_end(record).address;
}

// "227": the client is told where it may come to. An address that is neither the server's nor
// ours is left alone: data connections to a third host are not balanced.
std::optional<Verdict> rewrite_passive_answer(DirectorState& state, PacketContext& context,
                                              ConnectionId id) {
  auto& connections = state.connections;
  auto& session = connections.ftp_session(id);
  const auto& record = connections.at(id);
  const auto found = parse_passive_answer(tcp_payload(context));
  if (!found || !names_server(state, record, found->end.address)) return std::nullopt;
  // Whoever wrote a new checksum over broken bytes would hide that they are broken.
  if (!has_right_checksum(context)) return std::nullopt;

  ConnectionId data = 0;
  const net::Endpoint server{connections.real_end(record).address, found->end.port};
  if (auto verdict = await_passive(state, id, server, data)) return verdict;
  const auto text = write_ftp_numbers(connections.virtual_end(connections.at(data)));
  const auto sequence = sequence_of(context);
  if (!replace_payload(context, found->offset, found->size, text.view())) {
    return Verdict::drop(DropReason::kNoHeadroom);
  }
  const auto growth = static_cast<std::int32_t>(text.size) - static_cast<std::int32_t>(found->size);
  if (growth != 0) session.shift.move(sequence, growth);
  session.rewritten_at = sequence;
  session.has_rewritten = true;
  session.awaited = FtpPassive::kNone;
  return std::nullopt;
}

// "229" names no address, so nothing need be rewritten.
std::optional<Verdict> read_extended_answer(DirectorState& state, const PacketContext& context,
                                            ConnectionId id) {
  auto& connections = state.connections;
  const auto& record = connections.at(id);
  const auto server = connections.real_end(record).address;
  const auto found = parse_extended_passive_answer(tcp_payload(context), server);
  if (!found || !names_server(state, record, found->end.address)) return std::nullopt;
  connections.ftp_session(id).awaited = FtpPassive::kNone;
  ConnectionId data = 0;
  return await_passive(state, id, {server, found->end.port}, data);
}

std::optional<Verdict> read_answer(DirectorState& state, PacketContext& context, ConnectionId id) {
  const auto& session = state.connections.ftp_session(id);
  // An answer that was lost behind us comes again, and must be rewritten again.
  const bool is_again = session.has_rewritten && sequence_of(context) == session.rewritten_at;
  if (session.awaited == FtpPassive::kPassive || is_again) {
    return rewrite_passive_answer(state, context, id);
  }
  if (session.awaited == FtpPassive::kExtended) return read_extended_answer(state, context, id);
  return std::nullopt;
}

std::optional<Verdict> read_request(DirectorState& state, const PacketContext& context,
                                    ConnectionId id) {
  const auto text = tcp_payload(context);
  if (text.empty()) return std::nullopt;
  auto& session = state.connections.ftp_session(id);
  const auto family = context.headers.family();
  if (const auto request = find_passive_request(text, family); request != FtpPassive::kNone) {
    session.awaited = request;
    return std::nullopt;
  }
  auto client = family == net::Family::kIpv4 ? parse_port_command(text) : std::nullopt;
  if (!client) client = parse_extended_port_command(text, family);
  if (!client) return std::nullopt;
  session.awaited = FtpPassive::kNone;
  return await_active(state, id, client->end);
}

}  // namespace

std::optional<Verdict> ftp_request(DirectorState& state, PacketContext& context,
                                   ConnectionId id) noexcept {
  const auto& headers = context.headers;
  if (!headers.has_transport_header) return std::nullopt;
  complete_checksum(context.packet.bytes(), headers);
  const auto& session = state.connections.ftp_session(id);
  adjust_acknowledgement(context.packet.bytes(), headers, session.shift);
  if (!is_established(state.connections.at(id))) return std::nullopt;
  return read_request(state, context, id);
}

std::optional<Verdict> ftp_answer(DirectorState& state, PacketContext& context,
                                  ConnectionId id) noexcept {
  if (!context.headers.has_transport_header) return std::nullopt;
  complete_checksum(context.packet.bytes(), context.headers);
  if (is_established(state.connections.at(id))) {
    if (auto verdict = read_answer(state, context, id)) return verdict;
  }
  const auto& session = state.connections.ftp_session(id);
  adjust_sequence(context.packet.bytes(), context.headers, session.shift);
  return std::nullopt;
}

}  // namespace lb::engine
