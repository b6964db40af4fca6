// SPDX-License-Identifier: Apache-2.0
// A text case in the form of recorded ones: to_recorded_form of case_text.hpp.
#include <nlohmann/json.hpp>

#include "replay/case_text.hpp"
#include "replay/frame_text.hpp"

namespace lb::replay {
namespace {

using nlohmann::json;

json meta_of(const CaseMeta& meta) {
  json result = {{"op", "meta"},
                 {"id", meta.id},
                 {"about", meta.about},
                 {"ports", json::object()},
                 {"neigh", json::array()},
                 {"routes", json::array()},
                 {"sysctl", json::object()},
                 {"marks", meta.marks}};
  for (const auto& port : meta.ports) {
    auto addresses = json::array();
    for (const auto& own : port.addresses) {
      addresses.push_back(own.address.to_text() + "/" + std::to_string(own.prefix_length));
    }
    result["ports"][port.name] = {
        {"mac", port.mac.to_text()}, {"mtu", port.mtu}, {"addrs", addresses}};
  }
  for (const auto& neighbour : meta.neighbours) {
    result["neigh"].push_back({{"ip", neighbour.address.to_text()},
                               {"mac", neighbour.mac.to_text()},
                               {"dev", neighbour.port}});
  }
  for (const auto& route : meta.routes) {  // default routes only
    result["routes"].push_back(
        {{"dst", "default"}, {"via", route.via->to_text()}, {"dev", route.port}});
  }
  return result;
}

/// The fields of each kind of step.
struct ToJson {
  json operator()(const NoteStep& step) const { return {{"op", "note"}, {"text", step.text}}; }
  json operator()(const CommandStep& step) const {
    return {{"op", "cmd"},
            {"argv", step.arguments},
            {"rc", step.exit_status},
            {"out", step.out},
            {"err", step.err}};
  }
  json operator()(const ReceiveStep& step) const {
    auto sent = json::array();
    for (const auto& frame : step.sent) {
      auto any = json::array();
      for (const auto& stretch : frame.any) any.push_back({stretch.offset, stretch.length});
      sent.push_back({{"port", frame.port}, {"frame", hex_text(frame.bytes)}, {"any", any}});
    }
    return {{"op", "rx"},
            {"port", step.port},
            {"frame", hex_text(step.frame)},
            {"tx", sent},
            {"to_host", step.to_host}};
  }
  json operator()(const ConnectionsStep& step) const {
    auto list = json::array();
    for (const auto& line : step.connections) {
      list.push_back({{"pro", line.protocol},
                      {"expire", line.expires_in},
                      {"state", line.state},
                      {"c", line.client},
                      {"v", line.virtual_end},
                      {"d", line.destination}});
    }
    return {{"op", "conns"}, {"conns", list}, {"expire_loose", step.ignore_expiry}};
  }
  json operator()(const SysctlStep& step) const {
    return {{"op", "sysctl"}, {"name", step.name}, {"value", step.value}};
  }
  /// The kernel has no such reasons: a player of Sluice's own directors replaces them.
  json operator()(const DroppedStep& step) const {
    auto reasons = json::object();
    for (const auto& [reason, count] : step.reasons) reasons[reason] = count;
    return {{"op", "note"}, {"text", "dropped so far"}, {"dropped", reasons}};
  }
  template <class Other>
  json operator()(const Other&) const {  // text cases have no others
    return {{"op", "note"}, {"text", "not in text cases"}};
  }
};

}  // namespace

std::string to_recorded_form(const Case& text_case) {
  auto text = meta_of(text_case.meta).dump() + "\n";
  for (const auto& step : text_case.steps) {
    auto line = std::visit(ToJson(), step.action);
    line["t"] = step.time;
    line["line"] = step.line;
    text += line.dump() + "\n";
  }
  return text;
}

}  // namespace lb::replay
