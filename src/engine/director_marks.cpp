// SPDX-License-Identifier: Apache-2.0
// The director's mark rules: configuration, and how packets get their marks.
#include "engine/director_marks.hpp"

#include <cerrno>
#include <string_view>

#include "engine/director.hpp"

namespace lb::engine {
namespace {

std::string_view name_of(const DirectorState& state, InterfaceId ingress) noexcept {
  if (ingress == InterfaceId::kHost) return "lo";
  const auto* interface = state.network.interface(ingress);
  return interface == nullptr ? std::string_view{} : std::string_view(interface->name);
}

}  // namespace

std::uint32_t mark(DirectorState& state, PacketContext& context) noexcept {
  auto& packet = context.packet;
  if (packet.mark == 0 && state.services.has_marks() && state.mark_rules.size() != 0) {
    packet.mark = state.mark_rules.apply(context.headers, name_of(state, context.ingress));
  }
  return packet.mark;
}

void update_mark_steering(DirectorState& state) {
  auto& ends = state.connections.virtual_ends();
  if (!state.services.has_marks()) {
    if (state.mark_steering.size() != 0) state.mark_steering.clear(ends);
    state.mark_steering_generation = 0;
    return;
  }
  const auto generation = state.network.generation();
  if (state.mark_steering_generation == generation) return;
  state.mark_steering.update(state.mark_rules, state.network, ends);
  state.mark_steering_generation = generation;
}

Result<void> Director::add_mark_rule(const model::MarkRule& rule, std::uint32_t position) {
  auto& state = *state_;
  if (auto added = state.mark_rules.insert(rule, position); !added) return added;
  state.saved.save(state.mark_rules, position == 0 ? state.mark_rules.size() : position);
  if (state.services.has_marks()) {
    state.mark_steering.cover(rule, state.network, state.connections.virtual_ends());
  } else {
    state.mark_steering_generation = 0;
  }
  return {};
}

Result<void> Director::delete_mark_rule(std::uint32_t position) {
  // Addresses that only this rule steered go with the next update.
  state_->mark_steering_generation = 0;
  auto erased = state_->mark_rules.erase(position);
  if (erased) state_->saved.save(state_->mark_rules, position);
  return erased;
}

Result<void> Director::delete_mark_rule(const model::MarkRule& rule) {
  const auto position = state_->mark_rules.find(rule);
  if (!position) return failure(ENOENT);
  return delete_mark_rule(*position);
}

void Director::flush_mark_rules() {
  state_->mark_rules.clear();
  state_->saved.save(state_->mark_rules, 1);
  state_->mark_steering.clear(state_->connections.virtual_ends());
}

void Director::zero_mark_rules() noexcept { state_->mark_rules.zero(); }

std::size_t Director::mark_rule_count() const noexcept { return state_->mark_rules.size(); }

std::optional<model::MarkRuleInfo> Director::mark_rule(std::uint32_t position) const {
  if (position == 0 || position > state_->mark_rules.size()) return std::nullopt;
  return state_->mark_rules.at(position);
}

std::uint32_t Director::mark_of(const net::Packet& packet, InterfaceId ingress) const noexcept {
  if (packet.mark != 0) return packet.mark;
  const auto headers = net::parse_frame(packet.bytes());
  return headers ? state_->mark_rules.evaluate(*headers, name_of(*state_, ingress)) : 0;
}

}  // namespace lb::engine
