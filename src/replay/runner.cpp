// SPDX-License-Identifier: Apache-2.0
#include "replay/runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/ipvsadm.hpp"
#include "cli/snat.hpp"
#include "control/proc_files.hpp"
#include "replay/compare.hpp"
#include "replay/compare_netlink.hpp"
#include "replay/frame_builder.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/frame_text.hpp"
#include "replay/ip_view.hpp"
#include "replay/lab.hpp"
#include "replay/sync_link.hpp"

namespace lb::replay {
namespace {

constexpr std::string_view kClientPort = "ext";
constexpr std::string_view kServerPort = "int";
// Slots of the connection table that one call may walk; a replay lists the whole.
constexpr std::uint32_t kListSlots = 1U << 16;

std::string outcome_text(const Outcome& outcome) {
  auto text = outcome.sent.empty() ? outcome.verdict : frames_text(outcome.sent);
  if (!outcome.unresolved.empty()) {
    text = outcome.verdict + " for " + frames_text(outcome.unresolved);
  }
  if (!outcome.to_host.empty()) {
    text += ", to the host: " + describe_frame(outcome.to_host.front());
  }
  return text;
}

std::string arguments_text(const std::vector<std::string>& arguments) {
  std::string text;
  for (const auto& argument : arguments) text += (text.empty() ? "" : " ") + argument;
  return text;
}

/// True if `whole` can be the packet that the fragment `last` completed: the host would have put it
/// together itself.
bool is_reassembled(const Bytes& last, const Bytes& whole) {
  const auto piece = view_frame(last);
  const auto packet = view_frame(whole);
  return piece && packet && piece->is_fragment() && !packet->is_fragment() &&
         piece->source == packet->source && piece->destination == packet->destination &&
         packet->payload().size() >= piece->fragment_offset + piece->payload().size() &&
         wrong_checksums(whole).empty();
}

/// Plays the steps of one case; `operator()` takes each kind of step.
class Player {
 public:
  Player(Lab& lab, CaseResult& result) : lab_(lab), result_(result) {}

  void play(const Step& step) {
    step_ = &step;
    if (step.time >= 0) lab_.advance_to(step.time);
    std::visit(*this, step.action);
    check_sync(false);
  }
  /// To be called after the last step.
  void finish() { check_sync(true); }

  void operator()(const NoteStep&) {}
  void operator()(const SysctlStep& sysctl) {
    if (!lab_.set_sysctl(sysctl.name, sysctl.value)) {
      differ("sysctl " + sysctl.name, {"set to " + sysctl.value, "no such setting"});
    }
  }
  void operator()(const SleepStep& sleep) {
    lab_.advance_to(step_->time + sleep.seconds);
    if (auto mismatch = compare_frames(without_sync(sleep.sent), {})) {
      differ("sleep", *std::move(mismatch));
    }
  }
  void operator()(const DroppedStep& step);
  void operator()(const ConnectionsStep& step);
  void operator()(const CommandStep& command);
  void operator()(const ReceiveStep& receive);
  void operator()(const FlowStep& flow);
  void operator()(const ReplyStep& reply);

 private:
  void differ(std::string what, Mismatch mismatch);
  void remark(const std::string& text) {
    result_.remarks.push_back(fmt::format("line {}: {}", step_->line, text));
  }
  void compare_sent(const std::string& what, std::span<const ExpectedFrame> expected,
                    const Bytes& frame, const Outcome& outcome);
  void play_host_answers(const std::string& what, const ReceiveStep& receive,
                         const Outcome& outcome);
  void check_back(const std::string& what, const FlowStep& flow, const Outcome& outcome);
  [[nodiscard]] std::vector<ExpectedFrame> without_sync(const std::vector<ExpectedFrame>& frames);
  void check_sync(bool is_end);
  [[nodiscard]] std::optional<net::Endpoint> server_of(const FlowStep& flow,
                                                       const SentFrame& sent) const;

  Lab& lab_;
  CaseResult& result_;
  const Step* step_ = nullptr;
  NetlinkComparison netlink_;
  SyncComparison sync_;
};

void Player::differ(std::string what, Mismatch mismatch) {
  if (step_->loose) {
    remark("loose: " + what + ": expected " + mismatch.expected + ", got " + mismatch.got);
    return;
  }
  if (!step_->note.empty()) what += " (" + step_->note + ")";
  result_.differences.push_back({step_->line, fmt::format("at {:.3f} {}", step_->time, what),
                                 std::move(mismatch.expected), std::move(mismatch.got)});
}

// The frames that the step's packet has to do with; sync messages are kept for a comparison of
// their own.
std::vector<ExpectedFrame> Player::without_sync(const std::vector<ExpectedFrame>& frames) {
  std::vector<ExpectedFrame> rest;
  for (const auto& frame : frames) {
    if (lab_.sync_link().is_sync_frame(frame.bytes)) {
      sync_.expect(step_->line, lab_.now(), frame);
    } else {
      rest.push_back(frame);
    }
  }
  return rest;
}

void Player::check_sync(bool is_end) {
  sync_.add(lab_.sync_link().take());
  while (auto finding = sync_.check(lab_.now(), is_end)) {
    result_.differences.push_back({finding->line, "sync message",
                                   std::move(finding->mismatch.expected),
                                   std::move(finding->mismatch.got)});
  }
}

void Player::operator()(const ConnectionsStep& step) {
  std::vector<model::ConnectionInfo> connections;
  std::optional<std::uint32_t> cursor = 0;
  while (cursor) cursor = lab_.director().list_connections(*cursor, kListSlots, connections);
  if (auto mismatch = compare_connections(step, connections)) {
    differ("connections", *std::move(mismatch));
  }
}

void Player::operator()(const DroppedStep& step) {
  const auto text = [](const std::string& reason, std::uint64_t count) {
    return " " + reason + (count == 1 ? "" : " " + std::to_string(count));
  };
  std::vector<std::string> expected;
  for (const auto& [reason, count] : step.reasons) expected.push_back(text(reason, count));
  std::vector<std::string> got;
  const auto& dropped = lab_.director().counters().dropped;
  for (std::size_t i = 0; i < dropped.size(); ++i) {
    if (dropped[i] != 0) got.push_back(text(std::string(engine::kDropReasonLabels[i]), dropped[i]));
  }
  std::sort(expected.begin(), expected.end());
  std::sort(got.begin(), got.end());
  if (expected == got) return;
  const auto joined = [](const std::vector<std::string>& parts) {
    std::string line;
    for (const auto& part : parts) line += part;
    return line.empty() ? std::string(" none") : line;
  };
  differ("dropped:", {joined(expected), joined(got)});
}

void Player::operator()(const CommandStep& command) {
  const auto what = arguments_text(command.arguments);
  const bool is_snat = command.arguments.front() == "snat";  // of `sluice`
  if (command.arguments.front() != "ipvsadm" && !is_snat) {
    const auto text = command.arguments.size() == 2
                          ? control::proc_file(lab_.director(), command.arguments.back())
                          : std::nullopt;
    if (!text) {
      differ(what, {"its output", "a program that a replay does not have"});
    } else if (auto mismatch = compare_output(command, *text)) {
      differ(what, *std::move(mismatch));
    }
    return;
  }
  (void)lab_.transport().take();
  const auto got = is_snat
                       ? cli::run_snat(std::span(command.arguments).subspan(1), lab_.transport())
                       : cli::run_ipvsadm(command.arguments, command.input, lab_.transport());
  if (got.exit_status != command.exit_status) {
    differ(what, {fmt::format("exit status {}", command.exit_status),
                  fmt::format("{}, \"{}\"", got.exit_status, got.err)});
  }
  if (got.err != command.err) differ(what, {"stderr \"" + command.err + "\"", got.err});
  if (auto mismatch = compare_output(command, got.out)) differ(what, *std::move(mismatch));
  if (!command.netlink || command.netlink_loose) return;
  if (auto mismatch = netlink_.compare(*command.netlink, lab_.transport().take())) {
    differ(what, *std::move(mismatch));
  }
}

void Player::operator()(const ReceiveStep& receive) {
  const auto what = receive.port + " < " + describe_frame(receive.frame);
  const auto outcome = lab_.receive(receive.port, receive.frame);
  if (receive.to_host) {
    if (outcome.to_host.size() != 1 || !outcome.sent.empty()) {
      differ(what, {"handed to the host", outcome_text(outcome)});
    }
  } else if (receive.host_answers.empty()) {
    compare_sent(what, without_sync(receive.sent), receive.frame, outcome);
  } else {
    play_host_answers(what, receive, outcome);
  }
}

void Player::compare_sent(const std::string& what, std::span<const ExpectedFrame> expected,
                          const Bytes& frame, const Outcome& outcome) {
  const bool by_host = std::any_of(expected.begin(), expected.end(), [](const ExpectedFrame& sent) {
    return sent.by != Maker::kEngine;
  });
  auto mismatch = compare_frames(expected, outcome.sent);
  if (!mismatch && outcome.unresolved.empty() && (!by_host || outcome.to_host.empty())) {
    if (outcome.to_host.empty()) return;
    if (!expected.empty()) {
      differ(what, {"not handed to the host as well", outcome_text(outcome)});
    } else if (const auto forwarded = outcome.routed_locally
                                          ? std::nullopt
                                          : lab_.forward_plainly(outcome.to_host.front())) {
      differ(what, {"nothing leaves", "left to the host, which would forward it: " +
                                          describe_frame(forwarded->bytes)});
    } else {
      remark("nothing left; the engine handed the packet to the host: " + what);
    }
    return;
  }
  if (!by_host || !outcome.sent.empty() || outcome.to_host.size() != 1) {
    auto text = mismatch ? mismatch->expected : std::string("resolved next hops");
    if (by_host) text = "handed to the host, answer " + text;
    const bool show_frame = mismatch && !outcome.sent.empty() && outcome.unresolved.empty();
    differ(what, {text, show_frame ? mismatch->got : outcome_text(outcome)});
    return;
  }
  if (is_reassembled(frame, outcome.to_host.front())) return;
  if (outcome.to_host.front() != frame) {
    differ(what, {"handed to the host as it came", outcome_text(outcome)});
    return;
  }
  // What plain forwarding makes of it can be told, and must then be what was recorded. Answers of
  // the host itself, and the router's ICMP errors, are not the engine's to give.
  const auto forwarded = lab_.forward_plainly(frame);
  if (!forwarded) return;
  if (auto difference = compare_frames(expected, std::span(&*forwarded, 1))) {
    differ(what, {difference->expected, "left to the host, which would send " + difference->got});
  }
}

void Player::play_host_answers(const std::string& what, const ReceiveStep& receive,
                               const Outcome& outcome) {
  if (outcome.to_host.size() != 1 || !outcome.sent.empty()) {
    differ(what, {"handed to the host", outcome_text(outcome)});
    return;
  }
  const auto handed = view_frame(outcome.to_host.front());
  const auto answer = view_ip(receive.host_answers.front());
  if (!handed || !answer || destination_end(*handed) != source_end(*answer) ||
      !wrong_checksums(outcome.to_host.front()).empty()) {
    differ(what,
           {"handed to the host, which answers " + describe_packet(receive.host_answers.front()),
            outcome_text(outcome)});
    return;
  }
  std::vector<SentFrame> sent;
  for (const auto& packet : receive.host_answers) {
    auto from_host = lab_.send_from_host(packet);
    if (!from_host.unresolved.empty()) {
      differ(what, {"resolved next hops", outcome_text(from_host)});
      return;
    }
    std::move(from_host.sent.begin(), from_host.sent.end(), std::back_inserter(sent));
  }
  if (auto mismatch = compare_frames(receive.sent, sent)) {
    differ(what + ", host answers", *std::move(mismatch));
  }
}

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

}  // namespace

CaseResult run_case(const Case& recorded) {
  CaseResult result{.id = recorded.meta.id, .differences = {}, .remarks = {}};
  auto lab = Lab::create(recorded.meta);
  if (!lab) {
    result.differences.push_back({1, "set-up", "can be built", lab.error()});
    return result;
  }
  Player player(**lab, result);
  for (const auto& step : recorded.steps) player.play(step);
  player.finish();
  return result;
}

}  // namespace lb::replay
