// SPDX-License-Identifier: Apache-2.0
#include "cli/nft_values.hpp"

#include <array>

#include "cli/mark_text.hpp"

namespace lb::cli::nft {
namespace {

std::optional<std::uint32_t> number_of(const Json& value, std::uint32_t highest) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > highest) return std::nullopt;
    return static_cast<std::uint32_t>(number);
  }
  if (value.is_string()) return parse_unsigned(value.get_ref<const std::string&>(), highest);
  return std::nullopt;
}

/// The pair of {"range": [a, b]}; null: it is none.
const Json* range_of(const Json& element) {
  const auto* range = member(element, "range");
  return range != nullptr && range->is_array() && range->size() == 2 ? range : nullptr;
}

std::optional<net::IpAddress> address_of(const Json& value) {
  if (!value.is_string()) return std::nullopt;
  return net::IpAddress::from_text(value.get_ref<const std::string&>());
}

net::IpAddress make(net::Family family, const std::array<std::uint8_t, 16>& bytes) {
  if (family == net::Family::kIpv6) return net::IpAddress::v6(bytes);
  return net::IpAddress::v4(net::Be32::from_host(std::uint32_t{bytes[0]} << 24U |
                                                 std::uint32_t{bytes[1]} << 16U |
                                                 std::uint32_t{bytes[2]} << 8U | bytes[3]));
}

/// The last address that shares `length` bits with `address`.
net::IpAddress last_of(const net::IpAddress& address, unsigned length) {
  auto bytes = address.bytes();
  for (unsigned bit = length; bit < address.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] | (0x80U >> (bit % 8)));
  }
  return make(address.family(), bytes);
}

/// The next address; of the last one, the first.
net::IpAddress next_of(const net::IpAddress& address) {
  auto bytes = address.bytes();
  for (std::size_t i = address.size(); i-- > 0;) {
    if (++bytes[i] != 0) break;
  }
  return make(address.family(), bytes);
}

std::vector<model::PrefixMatch> prefixes_between(net::IpAddress first, const net::IpAddress& last) {
  std::vector<model::PrefixMatch> prefixes;
  while (true) {
    unsigned length = 0;  // the shortest prefix that starts here and does not end too late
    while (first.prefix(length) != first || last_of(first, length) > last) ++length;
    prefixes.push_back({.address = first, .length = static_cast<std::uint8_t>(length)});
    const auto end = last_of(first, length);
    if (end == last) return prefixes;
    first = next_of(end);
  }
}

constexpr int kMaxDepth = 16;

std::optional<MarkChange> change_at(const Json& value, int depth) {
  if (const auto number = number_of(value, UINT32_MAX)) return MarkChange{0, *number};
  if (const auto* meta = member(value, "meta")) {
    if (text_of(*meta, "key") != "mark") return std::nullopt;
    return MarkChange{UINT32_MAX, 0};
  }
  for (const char operation : {'|', '&', '^'}) {
    const auto* operands = member(value, std::string_view(&operation, 1));
    if (operands == nullptr) continue;
    if (!operands->is_array() || operands->size() < 2 || depth == kMaxDepth) return std::nullopt;
    auto change = change_at((*operands)[0], depth + 1);
    for (std::size_t i = 1; change && i < operands->size(); ++i) {
      const auto number = number_of((*operands)[i], UINT32_MAX);
      if (!number) return std::nullopt;
      if (operation == '|') change = MarkChange{change->kept & ~*number, change->flipped | *number};
      if (operation == '&') change = MarkChange{change->kept & *number, change->flipped & *number};
      if (operation == '^') change = MarkChange{change->kept, change->flipped ^ *number};
    }
    return change;
  }
  return std::nullopt;
}

}  // namespace

const Json* member(const Json& value, std::string_view key) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(std::string(key));
  return found == value.end() ? nullptr : &*found;
}

std::string text_of(const Json& value, std::string_view key) {
  const auto* found = member(value, key);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<std::vector<Json>> elements_of(const Json& value) {
  if (value.is_string() && value.get_ref<const std::string&>().starts_with('@')) {
    return std::nullopt;
  }
  const auto* set = member(value, "set");
  if (set == nullptr) return std::vector<Json>{value};
  if (!set->is_array()) return std::nullopt;
  std::vector<Json> elements;
  for (const auto& element : *set) {
    // With a comment or a counter of its own an element is wrapped.
    const auto* wrapped = member(element, "elem");
    const auto* inner = wrapped != nullptr ? member(*wrapped, "val") : &element;
    if (inner == nullptr) return std::nullopt;
    elements.push_back(*inner);
  }
  return elements;
}

std::optional<std::vector<model::PrefixMatch>> prefixes_of(const Json& element) {
  if (const auto* range = range_of(element)) {
    const auto first = address_of((*range)[0]);
    const auto last = address_of((*range)[1]);
    if (!first || !last || first->family() != last->family() || *first > *last) return std::nullopt;
    return prefixes_between(*first, *last);
  }
  const auto* prefix = member(element, "prefix");
  const auto* length = prefix != nullptr ? member(*prefix, "len") : nullptr;
  const auto address =
      prefix != nullptr ? net::IpAddress::from_text(text_of(*prefix, "addr")) : address_of(element);
  if (!address || (prefix != nullptr && length == nullptr)) return std::nullopt;
  const auto width = static_cast<std::uint32_t>(address->size() * 8);
  const auto bits = length != nullptr ? number_of(*length, width) : width;
  if (!bits) return std::nullopt;
  return std::vector<model::PrefixMatch>{
      {.address = address->prefix(*bits), .length = static_cast<std::uint8_t>(*bits)}};
}

std::optional<model::PortRange> ports_of(const Json& element) {
  const auto* range = range_of(element);
  const auto first = number_of(range != nullptr ? (*range)[0] : element, UINT16_MAX);
  const auto last = range != nullptr ? number_of((*range)[1], UINT16_MAX) : first;
  if (!first || !last || *first > *last) return std::nullopt;
  return model::PortRange{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
}

std::optional<std::uint8_t> protocol_of(const Json& element) {
  std::optional<std::uint32_t> protocol;
  if (element.is_string()) {
    protocol = parse_protocol(element.get_ref<const std::string&>());
  } else {
    protocol = number_of(element, UINT8_MAX);
  }
  if (!protocol || *protocol == 0) return std::nullopt;
  return static_cast<std::uint8_t>(*protocol);
}

std::optional<MarkChange> mark_change(const Json& value) { return change_at(value, 0); }

}  // namespace lb::cli::nft
