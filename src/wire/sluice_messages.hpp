// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/connection.hpp"
#include "model/statistics.hpp"
#include "net/result.hpp"
#include "wire/family.hpp"

/// The SLUICE family: what IPVS has no command for, in messages of the same form. Requests take
/// a `RequestContext` with the id of family "SLUICE" (`family_request(kSluiceName)`).
namespace lb::wire {

/// Numbers are part of the protocol: never reuse one.
enum class SluiceCommand : std::uint8_t {
  kNewConnection = 1,   ///< answer to kGetConnections
  kGetConnections = 2,  ///< dump
  kNewStatus = 3,       ///< answer to kGetStatus: first the director, then ...
  kNewInterface = 4,    ///< ... one for each interface
  kGetStatus = 5,       ///< dump
  kNewSetting = 6,      ///< answer to kGetSetting
  kGetSetting = 7,      ///< do: by name; dump: all
  kSetSetting = 8,
  kNewMarkRule = 9,      ///< answer to kGetMarkRules
  kGetMarkRules = 10,    ///< dump; see mark_messages.hpp for this and the following
  kAddMarkRule = 11,     ///< by rule, at a position if one is given
  kDeleteMarkRule = 12,  ///< by position or by rule
  kFlushMarkRules = 13,
  kZeroMarkRules = 14,
  kNewFile = 15,  ///< answer to kGetFile: a piece of the text
  kGetFile = 16,  ///< by path (/proc/net/ip_vs...). do: ENOENT if there is none; dump: its text
  // See transaction_messages.hpp.
  kBeginTransaction = 17,
  kCommitTransaction = 18,  ///< answered by kNewTransactionResult
  kNewTransactionResult = 19,
  kAbortTransaction = 20,
  // See removal_messages.hpp.
  kSetServiceOptions = 21,
  kNewServiceOptions = 22,  ///< answer to kGetServiceOptions
  kGetServiceOptions = 23,  ///< dump
  kEndConnections = 24,
  kStop = 25,  ///< acknowledged, then the daemon ends
  // See snat_messages.hpp.
  kNewSnatRule = 26,   ///< answer to kGetSnatRules
  kGetSnatRules = 27,  ///< dump
  kAddSnatRule = 28,
  kDeleteSnatRule = 29,  ///< by name
  kFlushSnatRules = 30,
  kZeroSnatRules = 31,  ///< by name, or all
  kCheckSnatRule = 32,  ///< answered by kNewSnatConflict
  kNewSnatConflict = 33,
};

inline constexpr std::uint32_t kSluiceHighestAttribute = 33;

/// What becomes of established connections when the daemon ends.
enum class StopMode : std::uint8_t {
  kAsConfigured,    ///< as on SIGTERM
  kKeepForwarding,  ///< XDP forwards them until the next daemon takes over
  kRemove,          ///< everything is taken down
};

/// A counter with the label that metrics and listings show.
struct NamedCounter {
  std::string name;
  std::uint64_t value = 0;
  friend bool operator==(const NamedCounter&, const NamedCounter&) = default;
};

/// What the director has done and has.
struct DirectorStatus {
  std::string version;
  std::uint64_t uptime_seconds = 0;
  std::uint64_t services = 0;
  std::uint64_t connections = 0;
  std::uint64_t connection_capacity = 0;
  model::Statistics totals;
  std::vector<NamedCounter> counters;  ///< sent, to_host, connections_created, ...
  std::vector<NamedCounter> drops;     ///< by the labels of drop_reason.def, zeros included
  std::string health = {};             ///< "ok", or "degraded: " and why; empty: not told
  friend bool operator==(const DirectorStatus&, const DirectorStatus&) = default;
};

/// One interface that the director serves.
struct InterfaceStatus {
  std::string name;
  std::string xdp_mode;  ///< "native", "generic", "off"
  std::string note;      ///< what an operator should know of it; may be empty
  std::vector<NamedCounter> counters;
  friend bool operator==(const InterfaceStatus&, const InterfaceStatus&) = default;
};

struct Status {
  DirectorStatus director;
  std::vector<InterfaceStatus> interfaces;
};

/// A setting by its sysctl name ("net.ipv4.vs.drop_entry") and its value as text.
struct Setting {
  std::string name;
  std::string value;
  friend bool operator==(const Setting&, const Setting&) = default;
};

// Client.

[[nodiscard]] Message list_connections_request(const RequestContext& context);
[[nodiscard]] Message status_request(const RequestContext& context);
[[nodiscard]] Message list_settings_request(const RequestContext& context);
[[nodiscard]] Message get_setting_request(const RequestContext& context, std::string_view name);
[[nodiscard]] Message set_setting_request(const RequestContext& context, const Setting& setting);
/// Whether the director has the file.
[[nodiscard]] Message find_file_request(const RequestContext& context, std::string_view path);
[[nodiscard]] Message read_file_request(const RequestContext& context, std::string_view path);
/// Asks the daemon to end. ENOTSUP: it can't keep forwarding; EOPNOTSUPP: it is no daemon.
[[nodiscard]] Message stop_request(const RequestContext& context, StopMode mode);

[[nodiscard]] Result<std::vector<model::ConnectionInfo>> read_connections(
    std::span<const Message> answer);
[[nodiscard]] Result<Status> read_status(std::span<const Message> answer);
/// Also of `get_setting_request`: one.
[[nodiscard]] Result<std::vector<Setting>> read_settings(std::span<const Message> answer);
/// The text in one message of an answer to `read_file_request`; empty if it is another message.
[[nodiscard]] std::string_view file_piece(const MessageView& message) noexcept;

// Director.

/// Name and value of a kSetSetting or kGetSetting request; what is absent is empty.
[[nodiscard]] Result<Setting> parse_setting_request(const MessageView& request);
/// The path of a kGetFile request; EINVAL: none, or longer than a path.
[[nodiscard]] Result<std::string> parse_file_request(const MessageView& request);
/// EINVAL: no such mode.
[[nodiscard]] Result<StopMode> parse_stop_request(const MessageView& request);
/// Each appends one answer message. `flags`: NLM_F_MULTI in a dump.
void encode_connection(Message& out, const MessageView& request, std::uint32_t port_id,
                       std::uint16_t flags, const model::ConnectionInfo& connection);
void encode_status(Message& out, const MessageView& request, std::uint32_t port_id,
                   std::uint16_t flags, const DirectorStatus& status);
void encode_interface(Message& out, const MessageView& request, std::uint32_t port_id,
                      std::uint16_t flags, const InterfaceStatus& interface);
void encode_setting(Message& out, const MessageView& request, std::uint32_t port_id,
                    std::uint16_t flags, const Setting& setting);
/// A piece of at most kMaxFilePiece bytes.
inline constexpr std::size_t kMaxFilePiece = 12 * 1024;
void encode_file_piece(Message& out, const MessageView& request, std::uint32_t port_id,
                       std::uint16_t flags, std::string_view piece);

}  // namespace lb::wire
