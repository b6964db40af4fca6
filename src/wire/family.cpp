// SPDX-License-Identifier: Apache-2.0
#include "wire/family.hpp"

#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/bytes.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::wire {
namespace {

using Kind = AttributeRule::Kind;

constexpr std::array<AttributeRule, CTRL_ATTR_FAMILY_NAME + 1> kControllerRules{{
    {},
    {Kind::kAtLeast, 2},             // CTRL_ATTR_FAMILY_ID
    {Kind::kText, GENL_NAMSIZ - 1},  // CTRL_ATTR_FAMILY_NAME
}};

constexpr std::uint32_t kSet = GENL_ADMIN_PERM | GENL_CMD_CAP_DO | GENL_CMD_CAP_HASPOL;
constexpr std::uint32_t kDump = GENL_ADMIN_PERM | GENL_CMD_CAP_DUMP | GENL_CMD_CAP_HASPOL;

constexpr auto kIpvsCommands = std::to_array<FamilyCommand>({
    {IPVS_CMD_NEW_SERVICE, kSet},
    {IPVS_CMD_SET_SERVICE, kSet},
    {IPVS_CMD_DEL_SERVICE, kSet},
    {IPVS_CMD_GET_SERVICE, kSet | kDump},
    {IPVS_CMD_NEW_DEST, kSet},
    {IPVS_CMD_SET_DEST, kSet},
    {IPVS_CMD_DEL_DEST, kSet},
    {IPVS_CMD_GET_DEST, kDump},
    {IPVS_CMD_NEW_DAEMON, kSet},
    {IPVS_CMD_DEL_DAEMON, kSet},
    {IPVS_CMD_GET_DAEMON, kDump},
    {IPVS_CMD_SET_CONFIG, kSet},
    {IPVS_CMD_GET_CONFIG, kSet},
    {IPVS_CMD_GET_INFO, kSet},
    {IPVS_CMD_ZERO, kSet},
    {IPVS_CMD_FLUSH, kSet},
});

constexpr std::uint32_t number(SluiceCommand command) {
  return static_cast<std::uint32_t>(command);
}

constexpr auto kSluiceCommands = std::to_array<FamilyCommand>({
    {number(SluiceCommand::kGetConnections), kDump},
    {number(SluiceCommand::kGetStatus), kDump},
    {number(SluiceCommand::kGetSetting), kSet | kDump},
    {number(SluiceCommand::kSetSetting), kSet},
    {number(SluiceCommand::kGetMarkRules), kDump},
    {number(SluiceCommand::kAddMarkRule), kSet},
    {number(SluiceCommand::kDeleteMarkRule), kSet},
    {number(SluiceCommand::kFlushMarkRules), kSet},
    {number(SluiceCommand::kZeroMarkRules), kSet},
    {number(SluiceCommand::kGetFile), kSet | kDump},
    {number(SluiceCommand::kBeginTransaction), kSet},
    {number(SluiceCommand::kCommitTransaction), kSet},
    {number(SluiceCommand::kAbortTransaction), kSet},
    {number(SluiceCommand::kSetServiceOptions), kSet},
    {number(SluiceCommand::kGetServiceOptions), kDump},
    {number(SluiceCommand::kEndConnections), kSet},
    {number(SluiceCommand::kStop), kSet},
    {number(SluiceCommand::kGetSnatRules), kDump},
    {number(SluiceCommand::kAddSnatRule), kSet},
    {number(SluiceCommand::kDeleteSnatRule), kSet},
    {number(SluiceCommand::kFlushSnatRules), kSet},
    {number(SluiceCommand::kZeroSnatRules), kSet},
    {number(SluiceCommand::kCheckSnatRule), kSet},
});

constexpr auto kFamilies = std::to_array<FamilyDescription>({
    {kIpvsName, kIpvsFamily, IPVS_GENL_VERSION, IPVS_CMD_ATTR_MAX, kIpvsCommands},
    {kSluiceName, kSluiceFamily, 1, kSluiceHighestAttribute, kSluiceCommands},
});

/// The version that the kernel's controller gives itself.
constexpr std::uint8_t kControllerVersion = 2;

}  // namespace

Message family_request(std::string_view name, std::uint32_t sequence, std::uint32_t port_id) {
  Message message;
  MessageWriter writer(message);
  writer.begin({.type = kControllerFamily,
                .flags = NLM_F_REQUEST | NLM_F_ACK,
                .sequence = sequence,
                .port_id = port_id,
                .command = CTRL_CMD_GETFAMILY});
  writer.put_string(CTRL_ATTR_FAMILY_NAME, name);
  writer.end();
  return message;
}

Result<std::uint16_t> read_family_id(std::span<const Message> answer) {
  if (const auto result = outcome(answer); !result) return tl::unexpected(result.error());
  for (const auto& message : answer) {
    const auto view = view_message(message);
    if (!view || view->header.type != kControllerFamily ||
        view->header.command != CTRL_CMD_NEWFAMILY) {
      continue;
    }
    const auto table = AttributeTable::parse(view->attributes, kControllerRules);
    if (table && table->has(CTRL_ATTR_FAMILY_ID)) return table->u16(CTRL_ATTR_FAMILY_ID);
  }
  return failure(EBADMSG);
}

Result<void> outcome(std::span<const Message> answer) noexcept {
  for (const auto& message : answer) {
    const auto view = view_message(message);
    if (!view) return failure(EBADMSG);
    if (view->header.type != NLMSG_ERROR && view->header.type != NLMSG_DONE) continue;
    if (!net::holds(view->payload, 0, sizeof(std::int32_t))) return failure(EBADMSG);
    // The number is a negative errno, or 0 (also what a dump ended with).
    const auto code = net::load<std::int32_t>(view->payload);
    if (code == 0) return {};
    return failure(code < 0 && code >= -4095 ? -code : EBADMSG);
  }
  return failure(EBADMSG);
}

std::span<const FamilyDescription> families() noexcept { return kFamilies; }

Result<const FamilyDescription*> parse_family_request(const MessageView& request) {
  const auto table = AttributeTable::parse(request.attributes, kControllerRules);
  if (!table) return tl::unexpected(table.error());
  const bool by_id = table->has(CTRL_ATTR_FAMILY_ID);
  const bool by_name = table->has(CTRL_ATTR_FAMILY_NAME);
  if (!by_id && !by_name) return failure(EINVAL);
  // If both are given, the kernel goes by the name.
  const auto found = std::find_if(kFamilies.begin(), kFamilies.end(), [&](const auto& family) {
    return by_name ? family.name == table->text(CTRL_ATTR_FAMILY_NAME)
                   : family.id == table->u16(CTRL_ATTR_FAMILY_ID);
  });
  if (found == kFamilies.end()) return failure(ENOENT);
  return &*found;
}

void encode_family(Message& out, const MessageView& request, const FamilyDescription& family,
                   std::uint32_t port_id, std::uint16_t flags) {
  MessageWriter writer(out);
  writer.begin({.type = kControllerFamily,
                .flags = flags,
                .sequence = request.header.sequence,
                .port_id = port_id,
                .command = CTRL_CMD_NEWFAMILY,
                .version = kControllerVersion});
  writer.put_string(CTRL_ATTR_FAMILY_NAME, family.name);
  writer.put_u16(CTRL_ATTR_FAMILY_ID, family.id);
  writer.put_u32(CTRL_ATTR_VERSION, family.version);
  writer.put_u32(CTRL_ATTR_HDRSIZE, 0);
  writer.put_u32(CTRL_ATTR_MAXATTR, family.highest_attribute);
  const auto commands = writer.begin_nest(CTRL_ATTR_OPS);
  for (unsigned i = 0; i < family.commands.size(); ++i) {
    const auto command = writer.begin_nest(i + 1);
    writer.put_u32(CTRL_ATTR_OP_ID, family.commands[i].command);
    writer.put_u32(CTRL_ATTR_OP_FLAGS, family.commands[i].flags);
    writer.end_nest(command);
  }
  writer.end_nest(commands);
  writer.end();
}

void encode_error(Message& out, const MessageView& request, int error, std::uint32_t port_id) {
  MessageWriter writer(out);
  writer.begin_plain({.type = NLMSG_ERROR,
                      .flags = static_cast<std::uint16_t>(error == 0 ? NLM_F_CAPPED : 0),
                      .sequence = request.header.sequence,
                      .port_id = port_id});
  const std::int32_t code = -error;
  writer.put_raw(std::as_bytes(std::span(&code, 1)));
  writer.put_raw(error == 0 ? request.bytes.first(sizeof(nlmsghdr)) : request.bytes);
  writer.end();
}

void encode_done(Message& out, const MessageView& request, std::uint32_t port_id) {
  MessageWriter writer(out);
  writer.begin_plain({.type = NLMSG_DONE,
                      .flags = NLM_F_MULTI,
                      .sequence = request.header.sequence,
                      .port_id = port_id});
  const std::int32_t code = 0;
  writer.put_raw(std::as_bytes(std::span(&code, 1)));
  writer.end();
}

}  // namespace lb::wire
