// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "net/result.hpp"
#include "wire/netlink.hpp"

/// The families that a director answers, and the controller's look-up of their ids.
namespace lb::wire {

/// GENL_ID_CTRL
inline constexpr std::uint16_t kControllerFamily = 0x10;
// Ours to choose, since we are the controller. They must not change while a client runs:
// ipvsadm keeps the id of its first look-up.
inline constexpr std::uint16_t kIpvsFamily = 0x20;
inline constexpr std::uint16_t kSluiceFamily = 0x21;

inline constexpr std::string_view kIpvsName = "IPVS";
inline constexpr std::string_view kSluiceName = "SLUICE";

/// What a client writes into the header of a request. The sequence number and port id come back
/// in every message of the answer.
struct RequestContext {
  std::uint16_t family = kIpvsFamily;  ///< as looked up
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;
};

/// CTRL_CMD_GETFAMILY for `name`.
[[nodiscard]] Message family_request(std::string_view name, std::uint32_t sequence = 0,
                                     std::uint32_t port_id = 0);
/// Reads the id out of the answer. ENOENT: no such family. EBADMSG: not an answer.
[[nodiscard]] Result<std::uint16_t> read_family_id(std::span<const Message> answer);

/// How a request went: nothing, the errno that the director answered, or EBADMSG if `answer`
/// ends without acknowledgement, error or end of dump.
[[nodiscard]] Result<void> outcome(std::span<const Message> answer) noexcept;

// Of the director.

/// One command of a family as the controller describes it (GENL_CMD_CAP_* flags).
struct FamilyCommand {
  std::uint32_t command;
  std::uint32_t flags;
};
struct FamilyDescription {
  std::string_view name;
  std::uint16_t id;
  std::uint32_t version;
  std::uint32_t highest_attribute;
  std::span<const FamilyCommand> commands;
};

/// The families of a director.
[[nodiscard]] std::span<const FamilyDescription> families() noexcept;
/// The family that a CTRL_CMD_GETFAMILY request names, by id or name. EINVAL: names none;
/// ENOENT: no such family.
[[nodiscard]] Result<const FamilyDescription*> parse_family_request(const MessageView& request);
/// Appends CTRL_CMD_NEWFAMILY. `flags`: NLM_F_MULTI in a dump.
void encode_family(Message& out, const MessageView& request, const FamilyDescription& family,
                   std::uint32_t port_id, std::uint16_t flags = 0);

/// Appends an acknowledgement (`error` 0: only the request's header is echoed) or an error
/// (a positive errno: the whole request is).
void encode_error(Message& out, const MessageView& request, int error, std::uint32_t port_id);
/// Appends the end of a dump.
void encode_done(Message& out, const MessageView& request, std::uint32_t port_id);

}  // namespace lb::wire
