// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "replay/case_file.hpp"
#include "replay/compare.hpp"
#include "replay/compare_netlink.hpp"
#include "replay/lab.hpp"
#include "replay/runner.hpp"
#include "replay/sync_link.hpp"

namespace lb::replay {

/// The ports of a case that clients and servers are behind.
inline constexpr std::string_view kClientPort = "ext";
inline constexpr std::string_view kServerPort = "int";

/// What became of a packet, in words.
[[nodiscard]] std::string outcome_text(const Outcome& outcome);

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
  void remark(const std::string& text);
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

}  // namespace lb::replay
