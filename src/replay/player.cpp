// SPDX-License-Identifier: Apache-2.0
#include "replay/player.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "cli/ipvsadm.hpp"
#include "cli/snat.hpp"
#include "control/proc_files.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/frame_text.hpp"
#include "replay/ip_view.hpp"

namespace lb::replay {
namespace {

// Slots of the connection table that one call may walk; a replay lists the whole.
constexpr std::uint32_t kListSlots = 1U << 16;

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

}  // namespace

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

void Player::differ(std::string what, Mismatch mismatch) {
  if (step_->loose) {
    remark("loose: " + what + ": expected " + mismatch.expected + ", got " + mismatch.got);
    return;
  }
  if (!step_->note.empty()) what += " (" + step_->note + ")";
  result_.differences.push_back({step_->line, fmt::format("at {:.3f} {}", step_->time, what),
                                 std::move(mismatch.expected), std::move(mismatch.got)});
}

void Player::remark(const std::string& text) {
  result_.remarks.push_back(fmt::format("line {}: {}", step_->line, text));
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

}  // namespace lb::replay
