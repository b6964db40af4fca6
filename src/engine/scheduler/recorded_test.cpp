// SPDX-License-Identifier: Apache-2.0
// Plays those recorded cases of kernel IPVS that need no more than new connections and the
// counts of old ones, without the rest of the engine.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "engine/scheduler/fixture.hpp"
#include "model/service.hpp"

namespace lb::engine {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

const std::filesystem::path kCases = "tests/ipvs-oracle/sched";

net::Endpoint endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || text.back() == ']') return {testing::address(text), {}};
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const int port = std::stoi(std::string(text.substr(colon + 1)));
  return {testing::address(host), net::Port::from_host(static_cast<std::uint16_t>(port))};
}

/// Enough of the director to count connections: none expires.
class Player {
 public:
  void play(const json& step) {
    if (step["op"] == "cmd") command(step["argv"].get<Words>());
    if (step["op"] == "flow") flow(step);
  }
  int scheduled() const { return scheduled_; }

 private:
  static std::string option(const Words& words, std::string_view name) {
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
      if (words[i] == name) return words[i + 1];
    }
    return {};
  }

  void command(const Words& words) {
    const std::string& verb = words[1];
    if (verb == "-A" || verb == "-E") {
      const std::string flag_names = option(words, "-b");
      std::uint32_t flags = 0;
      if (flag_names.find("fallback") != std::string::npos) flags |= model::kServiceSched1;
      if (flag_names.find("port") != std::string::npos) flags |= model::kServiceSched2;
      const std::string scheduler = option(words, "-s");
      if (service_ == nullptr) {
        service_ = std::make_unique<testing::TestService>(scheduler, flags);
      } else {
        service_->use(scheduler, flags);
      }
      return;
    }
    const std::string server = option(words, "-r");
    if (server.empty()) return;
    const std::string weight_text = option(words, "-w");
    const int weight = weight_text.empty() ? 1 : std::stoi(weight_text);
    const net::Endpoint end = endpoint(server);
    Destination* destination = service_->find(end);
    if (verb == "-d") return service_->remove(*destination);
    if (verb == "-a") destination = &service_->add(end, weight);
    const std::string upper = option(words, "-x");
    const std::uint32_t threshold = upper.empty() ? 0 : static_cast<std::uint32_t>(stoi(upper));
    if (threshold == 0 || threshold > destination->spec.upper_threshold) {
      destination->is_overloaded = false;
    }
    destination->spec.upper_threshold = threshold;
    if (verb == "-e") service_->edit(*destination, weight);
  }

  void flow(const json& step) {
    const std::string key = step["c"].get<std::string>() + ' ' + step["v"].get<std::string>();
    const std::string flags = step["flags"];
    if (const auto known = connections_.find(key); known != connections_.end()) {
      // TCP connections count as active until the first FIN or RST.
      Destination& destination = *known->second;
      if (flags.find_first_of("FR") != std::string::npos && active_.erase(key) > 0) {
        --destination.active_connections;
        ++destination.inactive_connections;
      }
      return;
    }
    const net::Endpoint client = endpoint(step["c"].get<std::string>());
    const net::Endpoint virtual_end = endpoint(step["v"].get<std::string>());
    const std::string protocol = step["proto"];
    service_->input = {.protocol = protocol == "tcp"   ? net::Protocol::kTcp
                                   : protocol == "udp" ? net::Protocol::kUdp
                                                       : net::Protocol::kSctp,
                       .client = client.address,
                       .client_port = client.port,
                       .virtual_address = virtual_end.address,
                       .virtual_port = virtual_end.port};
    Destination* chosen = service_->pick();
    ++scheduled_;
    const std::string server = step["rs"].is_null() ? "none" : step["rs"].get<std::string>();
    if (chosen == nullptr) {
      ASSERT_EQ(server, "none") << step;
      return;
    }
    const std::string shown = chosen->spec.address.is_v4()
                                  ? chosen->spec.address.to_text()
                                  : '[' + chosen->spec.address.to_text() + ']';
    ASSERT_EQ(server.substr(0, server.rfind(':')), shown) << step;
    connections_[key] = chosen;
    if (protocol == "tcp") {
      active_.insert(key);
      ++chosen->active_connections;
    } else {
      ++chosen->inactive_connections;
    }
    const std::uint32_t limit = chosen->spec.upper_threshold;
    if (limit != 0 && chosen->active_connections + chosen->inactive_connections >= limit) {
      chosen->is_overloaded = true;
    }
  }

  std::unique_ptr<testing::TestService> service_;
  std::map<std::string, Destination*> connections_;
  std::set<std::string> active_;
  int scheduled_ = 0;
};

/// False for cases about more than schedulers: persistence, one-packet scheduling, two services,
/// sysctls.
bool is_about_scheduler(const std::string& name) {
  for (const std::string_view other : {"persist", "ops-", "two-services", "drop_packet"}) {
    if (name.find(other) != std::string::npos) return false;
  }
  return true;
}

TEST(RecordedScheduling, EveryChoiceIsTheKernels) {
  ASSERT_TRUE(std::filesystem::is_directory(kCases)) << "run from the project's directory";
  int cases = 0;
  int scheduled = 0;
  for (const auto& file : std::filesystem::directory_iterator(kCases)) {
    const std::string name = file.path().stem().string();
    if (!is_about_scheduler(name)) continue;
    SCOPED_TRACE(name);
    std::ifstream lines(file.path());
    Player player;
    for (std::string line; std::getline(lines, line);) {
      player.play(json::parse(line));
      if (HasFatalFailure()) break;
    }
    EXPECT_GT(player.scheduled(), 0);
    scheduled += player.scheduled();
    ++cases;
  }
  EXPECT_GT(cases, 240);
  EXPECT_GT(scheduled, 10000);
}

}  // namespace
}  // namespace lb::engine
