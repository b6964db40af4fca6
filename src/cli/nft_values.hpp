// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/mark_rule.hpp"

/// Values in the JSON of nft (libnftables-json(5)).
namespace lb::cli::nft {

using Json = nlohmann::json;

/// The member `key` of an object, or null.
[[nodiscard]] const Json* member(const Json& value, std::string_view key);
/// The text of a string member; empty if there is none.
[[nodiscard]] std::string text_of(const Json& value, std::string_view key);

/// The elements of an anonymous set, or the value itself. Nothing: a named set or a map.
[[nodiscard]] std::optional<std::vector<Json>> elements_of(const Json& value);
/// The prefixes that make up an address, a prefix or a range of addresses.
[[nodiscard]] std::optional<std::vector<model::PrefixMatch>> prefixes_of(const Json& element);
/// A port or a range of ports.
[[nodiscard]] std::optional<model::PortRange> ports_of(const Json& element);
[[nodiscard]] std::optional<std::uint8_t> protocol_of(const Json& element);

/// How a mark changes: to (mark & kept) ^ flipped.
struct MarkChange {
  std::uint32_t kept = 0;
  std::uint32_t flipped = 0;
};
/// What `meta mark set VALUE` does; nothing if it is more than bits of the mark and numbers.
[[nodiscard]] std::optional<MarkChange> mark_change(const Json& value);

}  // namespace lb::cli::nft
