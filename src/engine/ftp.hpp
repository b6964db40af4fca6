// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

/// The FTP helper of masquerading services (RFC 959, RFC 2428), as the kernel's ip_vs_ftp.
///
/// Control connections name the endpoints of data connections. The helper reads what is said on
/// a control connection (one with kConnectionFtp), opens the data connection before its first
/// packet comes, held by the control connection, and writes the virtual address where the server
/// named its own. When that changes the length, sequence numbers behind it are moved.
///
/// Example: the server 10.0.0.2 answers PASV with "227 ... (10,0,0,2,40,1)". The client is told
/// "(192,0,2,10,40,1)", and its connection to 192.0.2.10:10241 will go to 10.0.0.2:10241.
namespace lb::engine {

/// Handles a packet from the client; a verdict if it must not go on.
[[nodiscard]] std::optional<Verdict> ftp_request(DirectorState& state, PacketContext& context,
                                                 ConnectionId id) noexcept;

/// Handles a packet from the server; a verdict if it must not go on. To be called before the
/// packet moves the connection's state.
[[nodiscard]] std::optional<Verdict> ftp_answer(DirectorState& state, PacketContext& context,
                                                ConnectionId id) noexcept;

}  // namespace lb::engine
