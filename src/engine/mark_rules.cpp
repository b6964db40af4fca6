// SPDX-License-Identifier: Apache-2.0
#include "engine/mark_rules.hpp"

#include <algorithm>
#include <cerrno>

namespace lb::engine {
namespace {

bool is_in(const model::PrefixMatch& match, const net::IpAddress& address) noexcept {
  if (match.length == 0) return !match.is_negated;
  const bool is_inside = match.length == address.size() * 8
                             ? address == match.address
                             : address.prefix(match.length) == match.address;
  return is_inside != match.is_negated;
}

bool is_named(const model::MarkRule& rule, std::string_view ingress) noexcept {
  auto name = rule.interface.view();
  if (name.empty()) return true;
  const bool is_pattern = name.back() == '+';
  if (is_pattern) name.remove_suffix(1);
  const bool is_same = is_pattern ? ingress.starts_with(name) : ingress == name;
  return is_same != rule.is_interface_negated;
}

bool ports_match(const model::MarkRule& rule, const net::Headers& headers) noexcept {
  if (!headers.has_ports) return false;
  const auto source = headers.source_port.to_host();
  const auto destination = headers.destination_port.to_host();
  const auto fits = [](const model::PortMatch& match, bool holds) {
    return !match.is_asked() || holds != match.is_negated;
  };
  return fits(rule.source_ports, rule.source_ports.holds(source)) &&
         fits(rule.destination_ports, rule.destination_ports.holds(destination)) &&
         fits(rule.either_port,
              rule.either_port.holds(source) || rule.either_port.holds(destination));
}

}  // namespace

bool matches(const model::MarkRule& rule, const net::Headers& headers,
             std::string_view ingress) noexcept {
  if (rule.family != headers.family()) return false;
  const bool is_protocol = rule.protocol == static_cast<std::uint8_t>(headers.protocol);
  if (rule.protocol != 0 && is_protocol == rule.is_protocol_negated) return false;
  return is_in(rule.destination, headers.destination) && is_in(rule.source, headers.source) &&
         is_named(rule, ingress) && (!rule.needs_ports() || ports_match(rule, headers));
}

Result<void> MarkRules::insert(const model::MarkRule& rule, std::uint32_t position) {
  if (!model::is_valid(rule)) return failure(EINVAL);
  if (position > order_.size() + 1) return failure(E2BIG);
  if (order_.size() == kMaxRules) return failure(ENOSPC);
  const std::size_t index = position == 0 ? order_.size() : position - 1;
  auto number = static_cast<std::uint32_t>(rules_.size());
  if (free_.empty()) {
    rules_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
  }
  rules_[number] = {.info = {.rule = rule}};
  order_.insert(order_.begin() + static_cast<std::ptrdiff_t>(index), number);
  renumber(index);
  index_.add(number, rule);
  matched_.reserve(order_.capacity());
  return {};
}

Result<void> MarkRules::erase(std::uint32_t position) {
  if (position == 0 || position > order_.size()) return failure(E2BIG);
  const auto number = order_[position - 1];
  index_.remove(number, rules_[number].info.rule);
  free_.push_back(number);
  order_.erase(order_.begin() + static_cast<std::ptrdiff_t>(position - 1));
  renumber(position - 1);
  return {};
}

std::optional<std::uint32_t> MarkRules::find(const model::MarkRule& rule) const noexcept {
  for (std::uint32_t position = 1; position <= order_.size(); ++position) {
    if (at(position).rule == rule) return position;
  }
  return std::nullopt;
}

void MarkRules::clear() noexcept {
  rules_.clear();
  free_.clear();
  order_.clear();
  index_.clear();
}

void MarkRules::zero() noexcept {
  for (auto& rule : rules_) rule.info.packets = rule.info.bytes = 0;
}

void MarkRules::renumber(std::size_t from) noexcept {
  for (std::size_t i = from; i < order_.size(); ++i) {
    rules_[order_[i]].index = static_cast<std::uint32_t>(i);
  }
}

// Fills matched_.
void MarkRules::match(const net::Headers& headers, std::string_view ingress) const noexcept {
  matched_.clear();
  index_.visit_candidates(headers, [&](std::uint32_t number) {
    const auto& rule = rules_[number];
    if (matches(rule.info.rule, headers, ingress)) matched_.push_back(rule.index);
  });
  std::sort(matched_.begin(), matched_.end());
}

std::uint32_t MarkRules::evaluate(const net::Headers& headers,
                                  std::string_view ingress) const noexcept {
  match(headers, ingress);
  std::uint32_t mark = 0;
  for (const auto index : matched_) {
    const auto& rule = rules_[order_[index]].info.rule;
    if (rule.action == model::MarkAction::kReturn) break;
    mark = rule.marked(mark);
  }
  return mark;
}

std::uint32_t MarkRules::apply(const net::Headers& headers, std::string_view ingress) noexcept {
  match(headers, ingress);
  std::uint32_t mark = 0;
  for (const auto index : matched_) {
    auto& info = rules_[order_[index]].info;
    ++info.packets;
    info.bytes += headers.ip_size();
    if (info.rule.action == model::MarkAction::kReturn) break;
    mark = info.rule.marked(mark);
  }
  return mark;
}

}  // namespace lb::engine
