// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/netlink.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "wire/family.hpp"
#include "wire/ipvs_attributes.hpp"
#include "wire/sluice_messages.hpp"

/// How requests and answers are put together and taken apart, for those who define what is in
/// them.
namespace lb::wire {

/// Flags of a request that is acknowledged, and of one that is answered by a dump.
inline constexpr std::uint16_t kDo = NLM_F_REQUEST | NLM_F_ACK;
inline constexpr std::uint16_t kDump = kDo | NLM_F_DUMP;

/// The family that answers a command. IPVS's commands are an enum without a name.
template <class Command>
inline constexpr std::uint16_t kFamilyOf = kIpvsFamily;
template <>
inline constexpr std::uint16_t kFamilyOf<SluiceCommand> = kSluiceFamily;

// Writing. `fill` is given a MessageWriter.

/// A request with the attributes that `fill` puts into it.
template <class Command, class Fill>
[[nodiscard]] Message make_request(const RequestContext& context, Command command,
                                   std::uint16_t flags, Fill fill) {
  Message message;
  MessageWriter writer(message);
  writer.begin({.type = context.family,
                .flags = flags,
                .sequence = context.sequence,
                .port_id = context.port_id,
                .command = static_cast<std::uint8_t>(command)});
  fill(writer);
  writer.end();
  return message;
}

/// A request with nothing in it.
template <class Command>
[[nodiscard]] Message make_request(const RequestContext& context, Command command,
                                   std::uint16_t flags = kDo) {
  return make_request(context, command, flags, [](MessageWriter&) {});
}

/// Appends an answer with the attributes that `fill` puts into it. `flags`: NLM_F_MULTI in a dump.
template <class Command, class Fill>
void put_answer(Message& out, const MessageView& request, std::uint32_t port_id,
                std::uint16_t flags, Command command, Fill fill) {
  MessageWriter writer(out);
  writer.begin({.type = kFamilyOf<Command>,
                .flags = flags,
                .sequence = request.header.sequence,
                .port_id = port_id,
                .command = static_cast<std::uint8_t>(command)});
  fill(writer);
  writer.end();
}

/// Fills a message with one attribute that holds those that `fill` puts into it.
template <class Fill>
[[nodiscard]] auto nested(unsigned attribute, Fill fill) {
  return [attribute, fill](MessageWriter& writer) {
    const auto nest = writer.begin_nest(attribute);
    fill(writer);
    writer.end_nest(nest);
  };
}

// Reading.

/// The attributes in the nest `attribute` of a message. EINVAL: there is none; else as
/// `AttributeTable::parse`.
template <unsigned kAttribute>
[[nodiscard]] Result<AttributeTable> open_nest(const MessageView& message, AttributeRules rules) {
  constexpr auto kTopRules = [] {
    std::array<AttributeRule, kAttribute + 1> top{};
    top[kAttribute] = kNested;
    return top;
  }();
  const auto top = AttributeTable::parse(message.attributes, kTopRules);
  if (!top) return tl::unexpected(top.error());
  if (!top->has(kAttribute)) return failure(EINVAL);
  return AttributeTable::parse(top->bytes(kAttribute), rules);
}

/// Hands each message of a family in `answer` to `visit`. EBADMSG if that returns false: it makes
/// no sense.
template <class Visit>
[[nodiscard]] Result<void> visit_answer(std::span<const Message> answer, Visit visit) {
  if (auto result = outcome(answer); !result) return result;
  for (const auto& message : answer) {
    const auto view = view_message(message);
    if (view && view->has_command && !visit(*view)) return failure(EBADMSG);
  }
  return {};
}

/// What `read` (null: makes no sense) makes of each message of the command in `answer`. Others are
/// passed over, for a newer director may tell more.
template <class T, class Command, class Read>
[[nodiscard]] Result<std::vector<T>> read_all(std::span<const Message> answer, Command command,
                                              Read read) {
  std::vector<T> values;
  const auto result = visit_answer(answer, [&](const MessageView& view) {
    if (view.header.command != static_cast<std::uint8_t>(command)) return true;
    auto value = read(view);
    if (value) values.push_back(std::move(*value));
    return value.has_value();
  });
  if (!result) return tl::unexpected(result.error());
  return values;
}

/// The only message of an answer. EBADMSG: there is none.
template <class T>
[[nodiscard]] Result<T> only(Result<std::vector<T>> values) {
  if (!values) return tl::unexpected(values.error());
  if (values->empty()) return failure(EBADMSG);
  return std::move(values->front());
}

}  // namespace lb::wire
