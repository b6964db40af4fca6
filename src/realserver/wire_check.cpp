// SPDX-License-Identifier: Apache-2.0
#include "realserver/wire_check.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lb::realserver {
namespace {

constexpr std::chrono::milliseconds kWait(450);

std::string text_of(const std::vector<net::Mac>& macs) {
  std::string text;
  for (const auto& mac : macs) text += (text.empty() ? "" : ", ") + mac.to_text();
  return text;
}

host::Asked question(const HostState& state, const host::Link& link,
                     const net::IpAddress& address) {
  return {
      .link = link,
      .question = {.address = address, .own = host::own_address(state.addresses, link, address)}};
}

}  // namespace

host::Outcome<std::vector<VipOwner>> ask_for_vips(const Setup& setup, const HostState& state) {
  std::vector<host::Asked> asked;
  for (const auto& name : setup.interfaces) {
    const auto* link = host::find_link(state.links, name);
    if (link == nullptr || !link->is_up) continue;
    if (setup.director) asked.push_back(question(state, *link, *setup.director));
    for (const auto& vip : setup.vips) asked.push_back(question(state, *link, vip));
  }
  host::ask_all(asked, kWait);
  std::vector<VipOwner> owners;
  for (const auto& one : asked) {
    if (!one.answers) return host::trouble(one.answers.error());
    if (setup.director && one.question.address == *setup.director) continue;
    VipOwner owner{.vip = one.question.address,
                   .interface = one.link.name,
                   .answers = *one.answers,
                   .director = {}};
    const auto director = std::find_if(asked.begin(), asked.end(), [&](const host::Asked& other) {
      return setup.director && other.question.address == *setup.director &&
             other.link.index == one.link.index;
    });
    if (director != asked.end() && director->answers && !director->answers->empty()) {
      owner.director = director->answers->front();
    }
    owners.push_back(std::move(owner));
  }
  return owners;
}

void judge_owners(Plan& plan, Mode mode, const std::vector<VipOwner>& owners) {
  for (const auto& owner : owners) {
    const auto vip = owner.vip.to_text();
    if (owner.answers.size() > 1) {
      plan.refusals.push_back(fmt::format(
          "{} hosts answer for {} on {} ({}): clients reach one of them by chance. Only the "
          "director may; on the others arp_ignore is missing or the address is not on lo",
          owner.answers.size(), vip, owner.interface, text_of(owner.answers)));
    } else if (owner.answers.size() == 1 && owner.director &&
               owner.answers.front() != *owner.director) {
      plan.refusals.push_back(
          fmt::format("{} is taken on {}: {} answers for it, the director is {}", vip,
                      owner.interface, text_of(owner.answers), owner.director->to_text()));
    }
  }
  if (mode != Mode::kDirect) return;  // the director may be on another network
  for (const auto& owner : owners) {
    const bool is_answered = std::any_of(owners.begin(), owners.end(), [&](const VipOwner& other) {
      return other.vip == owner.vip && !other.answers.empty();
    });
    if (is_answered) continue;
    plan.advice.push_back(
        fmt::format("nobody answers for {} on {}: is the director up, and on this network?",
                    owner.vip.to_text(), owner.interface));
  }
}

}  // namespace lb::realserver
