// SPDX-License-Identifier: Apache-2.0
// The short form of cases: flows, said by who sends and which server gets it, and replies.
#include <fmt/format.h>

#include "replay/frame_builder.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/frame_text.hpp"
#include "replay/ip_view.hpp"
#include "replay/player.hpp"

namespace lb::replay {

/// The server that a forwarded frame goes to: its tunnel's end; with direct routing the owner of
/// the MAC; else the packet's destination. The port is that of the (inner) packet.
std::optional<net::Endpoint> Player::server_of(const FlowStep& flow, const SentFrame& sent) const {
  const auto outer = view_frame(sent.bytes);
  if (!outer || sent.port != kServerPort || !wrong_checksums(sent.bytes).empty()) {
    return std::nullopt;
  }
  if (const auto inner = view_tunnelled(*outer)) {
    if (destination_end(*inner) != flow.virtual_end) return std::nullopt;
    return net::Endpoint{outer->destination, destination_end(*inner).port};
  }
  const auto end = destination_end(*outer);
  net::Mac mac;
  for (std::size_t i = 0; i < 6; ++i) mac.bytes[i] = read8(sent.bytes, i);
  if (end.address != flow.virtual_end.address) {
    return lab_.mac_of(end.address) == mac ? std::optional(end) : std::nullopt;
  }
  const auto owner = lab_.neighbour(mac, outer->source.family());
  if (!owner) return std::nullopt;
  return net::Endpoint{*owner, end.port};
}

void Player::operator()(const FlowStep& flow) {
  const auto* port = lab_.port(kClientPort);
  const auto frame =
      port == nullptr ? std::nullopt
                      : build_frame({.source_mac = lab_.gateway_mac(flow.client.address.family()),
                                     .destination_mac = port->mac,
                                     .protocol = flow.protocol,
                                     .source = flow.client,
                                     .destination = flow.virtual_end,
                                     .flags = flow.flags});
  if (!frame) {
    differ("flow", {"a packet", "this short form cannot be built"});
    return;
  }
  const auto outcome = lab_.receive(port->name, *frame);
  const auto what = "client " + describe_frame(*frame);
  if (!flow.server) {
    check_back(what, flow, outcome);
    return;
  }
  const auto server = outcome.sent.size() == 1 && outcome.unresolved.empty()
                          ? server_of(flow, outcome.sent.front())
                          : std::nullopt;
  const auto ip = server ? view_frame(outcome.sent.front().bytes) : std::nullopt;
  const auto inner = ip ? view_tunnelled(*ip) : std::nullopt;
  const bool client_kept = ip && source_end(inner ? *inner : *ip) == flow.client;
  if (server != flow.server || !client_kept) {
    differ(what, {"to server " + to_text(*flow.server),
                  server ? "server " + to_text(*server) : outcome_text(outcome)});
  }
}

void Player::check_back(const std::string& what, const FlowStep& flow, const Outcome& outcome) {
  const auto expected = flow.back.empty() ? std::string("nothing leaves") : flow.back;
  if (flow.by != Maker::kEngine) {
    if (!outcome.sent.empty() || outcome.to_host.size() != 1) {
      differ(what, {"handed to the host, which answers " + flow.back, outcome_text(outcome)});
    }
    return;
  }
  if (flow.back.empty()) {
    if (!outcome.sent.empty() || !outcome.unresolved.empty()) {
      differ(what, {expected, outcome_text(outcome)});
    } else if (!outcome.to_host.empty()) {
      remark("nothing left; the engine handed the packet to the host: " + what);
    }
    return;
  }
  // "icmp 3/3": an error of the engine's own, to the client.
  const auto ip = outcome.sent.size() == 1 ? view_frame(outcome.sent.front().bytes) : std::nullopt;
  const bool is_icmp = ip && (ip->protocol == 1 || ip->protocol == 58) && ip->payload().size() >= 8;
  const auto got = is_icmp
                       ? fmt::format("icmp {}/{}", read8(ip->payload(), 0), read8(ip->payload(), 1))
                       : outcome_text(outcome);
  if (got != flow.back || ip->destination != flow.client.address ||
      outcome.sent.front().port != kClientPort ||
      !wrong_checksums(outcome.sent.front().bytes).empty()) {
    differ(what, {expected + " to the client", outcome_text(outcome)});
  }
}

void Player::operator()(const ReplyStep& reply) {
  const auto* port = lab_.port(kServerPort);
  const auto frame = port == nullptr ? std::nullopt
                                     : build_frame({.source_mac = lab_.mac_of(reply.server.address),
                                                    .destination_mac = port->mac,
                                                    .protocol = reply.protocol,
                                                    .source = reply.server,
                                                    .destination = reply.client,
                                                    .flags = reply.flags,
                                                    .ttl = 64,
                                                    .from_server = true});
  if (!frame) {
    differ("reply", {"a packet", "this short form cannot be built"});
    return;
  }
  auto outcome = lab_.receive(port->name, *frame);
  const auto what = "server " + describe_frame(*frame);
  if (outcome.to_host.size() == 1 && outcome.sent.empty()) {
    if (auto forwarded = lab_.forward_plainly(outcome.to_host.front())) {
      outcome.sent.push_back(*std::move(forwarded));
    }
  }
  std::optional<net::Endpoint> source;
  for (const auto& sent : outcome.sent) {
    const auto ip = view_frame(sent.bytes);
    if (!ip || sent.port != kClientPort) continue;
    if (destination_end(*ip) != reply.client || !wrong_checksums(sent.bytes).empty()) {
      differ(what, {"a sound packet to " + to_text(reply.client), frames_text(outcome.sent)});
      return;
    }
    source = source_end(*ip);
  }
  if (source == reply.source && (source || outcome.unresolved.empty())) return;
  differ(what, {reply.source ? "leaves as from " + to_text(*reply.source) : "nothing leaves",
                outcome_text(outcome)});
}

}  // namespace lb::replay
