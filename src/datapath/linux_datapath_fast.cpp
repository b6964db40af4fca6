// SPDX-License-Identifier: Apache-2.0
// Which interfaces XDP may send published flows out of. Where it may not, their packets go by the
// engine: slower, but they arrive.
#include <algorithm>
#include <utility>

#include "datapath/device.hpp"
#include "datapath/linux_datapath.hpp"
#include "datapath/xdp_features.hpp"

namespace lb::datapath {
namespace {

/// After errors sending is tried again: the peer may have been down.
constexpr int kPauseTicks = 60;

/// Why frames that XDP sends would not arrive; empty: they do.
std::string why_not(const ServedInterface& interface, std::string_view kind,
                    const std::optional<XdpFeatures>& features) {
  if (!interface.is_native()) return "its XDP is generic, and packets may be merged ones";
  if (features && features->can_send()) return {};
  if (kind == "veth") {
    return features
               ? "its peer takes no XDP frames; turn GRO on there (ethtool -K PEER gro on), or "
                 "attach an XDP program to it"
               : "Linux before 6.3 does not tell whether its peer takes XDP frames";
  }
  return features ? "its driver cannot send XDP frames" : std::string();
}

}  // namespace

LinuxDatapath::SendingFacts LinuxDatapath::SendingFacts::of(engine::InterfaceId id,
                                                            const std::string& name) {
  return {.id = id,
          .features = XdpFeatures::of(id),
          .counts = xdp_send_counts(name).value_or(XdpSendCounts{})};
}

/// Finds out whether XDP can send out of an interface, at once.
void LinuxDatapath::watch_sending(std::size_t number) {
  const auto& interface = *interfaces_[number].opened;
  judge_sending(number, SendingFacts::of(interface.id(), interface.name()));
}

/// The same of all interfaces, without waiting for the kernel.
void LinuxDatapath::ask_about_sending() {
  std::vector<std::pair<engine::InterfaceId, std::string>> devices;
  for (const auto& each : interfaces_) {
    if (each.opened != nullptr) devices.emplace_back(each.opened->id(), each.opened->name());
  }
  is_asking_ = errands_->post([this, devices = std::move(devices)]() -> Errands::Conclusion {
    std::vector<SendingFacts> all;
    for (const auto& [id, name] : devices) all.push_back(SendingFacts::of(id, name));
    return [this, all = std::move(all)] {
      is_asking_ = false;
      for (std::size_t number = 0; number < interfaces_.size(); ++number) {
        if (interfaces_[number].opened == nullptr) continue;
        const auto id = interfaces_[number].opened->id();
        const auto facts = std::find_if(all.begin(), all.end(),
                                        [id](const auto& candidate) { return candidate.id == id; });
        if (facts != all.end()) judge_sending(number, *facts);
      }
    };
  });
}

/// Tells the director when it changes whether XDP can send out of an interface.
void LinuxDatapath::judge_sending(std::size_t number, const SendingFacts& facts) {
  auto& served = interfaces_[number];
  auto& sending = served.sending;
  const auto& interface = *served.opened;
  if (sending.pause > 0 && --sending.pause > 0) return;
  // Not at each loss: whoever can send more than an interface takes must not be able to turn the
  // fast path of established connections off.
  const auto& counts = facts.counts;
  if (sending.is_possible && counts.delivers_none(sending.counts)) {
    sending.pause = kPauseTicks;
    stop_sending(number, fmt::format("{} frames were lost on their way out by XDP",
                                     counts.errors - sending.counts.errors));
  }
  sending.counts = counts;
  if (sending.pause > 0) return;
  const auto trouble = why_not(interface, served.plan.link.kind, facts.features);
  if (!trouble.empty()) return stop_sending(number, trouble);
  if (sending.is_possible) return;
  const auto slot = static_cast<std::uint32_t>(number);
  if (const auto told = program_->set_flow_device(slot, interface.id()); !told) {
    return stop_sending(number, told.error());
  }
  sending.is_possible = true;
  sending.has_told = false;
  // A veth whose peer has no XDP program leaves what is sent by XDP_TX lying there: it wakes the
  // peer only when frames are redirected to it.
  const bool turns =
      xdp_tx_ == XdpTx::kOn || (xdp_tx_ == XdpTx::kAuto && served.plan.link.kind != "veth");
  director_.add_fast_device(interface.id(), static_cast<std::uint16_t>(slot), turns);
}

void LinuxDatapath::stop_sending(std::size_t number, std::string_view why) {
  auto& sending = interfaces_[number].sending;
  const auto& interface = *interfaces_[number].opened;
  if (sending.is_possible) director_.remove_fast_device(interface.id());
  sending.is_possible = false;
  if (sending.has_told) return;
  sending.has_told = true;
  log_(LogLevel::kWarning,
       fmt::format("interface {}: no fast path out of it: {}", interface.name(), why));
}

}  // namespace lb::datapath
