// SPDX-License-Identifier: Apache-2.0
// Clients that talk through a director with the XDP program before it, for tests that change what
// the director has published, store by store if they like.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "datapath/steer_program.hpp"
#include "datapath/steering_maps.hpp"
#include "engine/testing/lab.hpp"
#include "engine/testing/store_trap.hpp"
#include "fast_path_run.hpp"

namespace lb::tests {

using datapath::SteeringMaps;
using datapath::SteerProgram;
using engine::DirectorOptions;
using engine::FlowMemory;
using engine::test::kInside;
using engine::test::kOutside;
using engine::test::Lab;
using engine::test::PageBlock;
using engine::test::StoreTrap;
using model::ForwardingMethod;

constexpr std::uint16_t kInsideSlot = 3;
constexpr std::size_t kConnections = 64;

/// A client that talks to a service which has one server at a time.
struct Talk {
  net::Endpoint client;
  net::Endpoint virtual_end;
  ForwardingMethod method;
  unsigned server = 1;  // 1..16
  unsigned port = 8080;

  [[nodiscard]] bool is_v4() const { return virtual_end.address.is_v4(); }
  [[nodiscard]] net::Endpoint real_end() const {
    const auto at = method == ForwardingMethod::kMasquerade ? port : virtual_end.port.to_host();
    return is_v4() ? engine::test::server(server, at) : engine::test::server6(server, at);
  }
  [[nodiscard]] Frame request(std::uint8_t flags = net::kTcpAck, std::size_t size = 50) const {
    return engine::test::tcp(client, virtual_end, flags, size);
  }
  [[nodiscard]] Frame answer(std::uint8_t flags = net::kTcpAck, std::size_t size = 50) const {
    return engine::test::tcp(real_end(), client, flags, size);
  }
};

inline std::vector<Talk> all_talks() {
  using namespace engine::test;
  std::vector<Talk> talks;
  unsigned port = 100;
  for (const auto method :
       {ForwardingMethod::kMasquerade, ForwardingMethod::kDirectRoute, ForwardingMethod::kTunnel}) {
    for (unsigned i = 0; i < 2; ++i, ++port) {
      talks.push_back({client(40000 + i), vip(port), method, port % 16 + 1});
      talks.push_back({client6(40000 + i), vip6(port), method, port % 16 + 1});
    }
  }
  return talks;
}

class TalksTest : public ::testing::Test {
 protected:
  /// `memory`: where the engine publishes. `kept`: what outlives it, if anything does.
  void start(FlowMemory memory, const engine::DirectorMemory& kept = {}) {
    lab_ = std::make_unique<Lab>(options(kept));
    if (kept.globals != nullptr) lab_->director.begin_saving();
    attach(*lab_, memory);
    if (HasFatalFailure()) return;
    auto settings = lab_->director.settings();
    settings.expire_nodest_conn = 1;
    lab_->director.set_settings(settings);
    for (const auto& talk : talks_) {
      ASSERT_TRUE(lab_->director.add_service(engine::test::service_at(talk.virtual_end)));
      add_server(talk);
      open(talk);
    }
  }

  static DirectorOptions options(const engine::DirectorMemory& kept) {
    return {.connection_capacity = kConnections, .missing_schedulers = {}, .memory = kept};
  }

  /// The program serves a director.
  void attach(Lab& lab, FlowMemory memory) {
    steering_ = std::make_unique<SteeringMaps>(program_->endpoint_maps(),
                                               [](datapath::LogLevel, std::string_view) {});
    lab.director.set_steering_listener(steering_.get());
    // A test run comes in by the loopback device, which is number 1.
    ASSERT_TRUE(program_->set_flow_device(1, kOutside));
    ASSERT_TRUE(program_->set_flow_device(kInsideSlot, kOutside));
    start_fast_path(lab, memory);
  }

  void start_fast_path(Lab& lab, FlowMemory memory) const {
    memory.time_origin = started_.time_since_epoch() - kBegin.since_start;
    memory.control = nullptr;  // no socket listens: XDP would stand in for the engine at once
    lab.director.start_fast_path(memory);
    lab.director.add_fast_device(kOutside, 1, true);
    lab.director.add_fast_device(kInside, kInsideSlot, true);
  }

  void SetUp() override {
    // So few slots that each is soon used again, by another flow.
    auto loaded = SteerProgram::load(1024, 1);
    if (!loaded && ::geteuid() != 0) GTEST_SKIP() << loaded.error();
    ASSERT_TRUE(loaded) << loaded.error();
    program_ = std::move(*loaded);
  }

  void TearDown() override {
    if (steering_ == nullptr) return;
    lab_->director.set_steering_listener(nullptr);
    lab_->director.stop_fast_path();
  }

  void add_server(const Talk& talk) {
    ASSERT_TRUE(lab_->director.add_destination(engine::test::key_of(talk.virtual_end),
                                               engine::test::to(talk.real_end(), talk.method)));
  }

  void remove_server(const Talk& talk) {
    ASSERT_TRUE(
        lab_->director.delete_destination(engine::test::key_of(talk.virtual_end), talk.real_end()));
  }

  // A connection, with packets both ways: XDP may forward it from then on.
  void open(const Talk& talk) {
    tick();
    const bool has_answers = talk.method == ForwardingMethod::kMasquerade;
    // The first ends a connection whose server is gone, the second opens another.
    for (int i = 0; i < 2; ++i) lab_->process(talk.request(net::kTcpSyn, 0));
    if (has_answers) lab_->process(talk.answer(net::kTcpSyn | net::kTcpAck, 0), kInside);
    for (int i = 0; i < 2; ++i) lab_->process(talk.request());
    if (has_answers) lab_->process(talk.answer(), kInside);
  }

  void close(const Talk& talk) {
    lab_->process(talk.request(net::kTcpFin | net::kTcpAck));
    if (talk.method == ForwardingMethod::kMasquerade) {
      lab_->process(talk.answer(net::kTcpFin | net::kTcpAck), kInside);
    }
    lab_->process(talk.request(net::kTcpRst));
  }

  // Numbers of what is gone rest for a while: so time must be real.
  void tick() {
    lab_->now = {kBegin.since_start + (std::chrono::steady_clock::now() - started_)};
    lab_->director.advance(lab_->now);
  }

  /// What leaves for a packet of an established connection, by the engine.
  Frame by_engine(const Frame& frame, engine::InterfaceId in) {
    lab_->process(frame, in);
    EXPECT_EQ(lab_->sent.size(), 1U);
    Frame sent = lab_->sent.empty() ? Frame{} : lab_->sent.front();
    forget_identification(sent);
    return sent;
  }

  static constexpr Timestamp kBegin{std::chrono::hours(1)};
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::vector<Talk> talks_ = all_talks();
  std::unique_ptr<SteerProgram> program_;
  std::unique_ptr<SteeringMaps> steering_;
  std::unique_ptr<Lab> lab_;
};

/// The published memory of an engine, of which XDP sees a copy that follows store by store.
class SteppedMemory {
 public:
  explicit SteppedMemory(const FlowMemory& seen) : block_(divide(nullptr, seen)) {
    divide(block_.begin(), seen);
  }

  [[nodiscard]] const FlowMemory& memory() const noexcept { return memory_; }
  [[nodiscard]] PageBlock& block() noexcept { return block_; }

  /// Does as another one's block did.
  void follow(const StoreTrap::Store& store) const {
    std::memcpy(block_.begin() + store.offset, store.page.data(), store.page.size());
  }
  void show(const StoreTrap::Store& store) const {
    for (const auto& part : parts_) {
      if (store.offset < part.offset || store.offset >= part.offset + part.size) continue;
      const auto at = store.offset - part.offset;
      std::memcpy(part.seen + at, store.page.data(),
                  std::min<std::size_t>(store.page.size(), part.size - at));
    }
  }
  void show_all() const {
    for (const auto& part : parts_) {
      std::memcpy(part.seen, block_.begin() + part.offset, part.size);
    }
  }

 private:
  struct Part {
    std::size_t offset;
    std::size_t size;
    std::byte* seen;
  };

  std::size_t divide(std::byte* begin, const FlowMemory& seen) {
    PageBlock::Parts parts(begin);
    memory_ = seen;
    parts_.clear();
    const auto take = [&](auto& place, std::size_t count, auto* of_kernel) {
      using Element = std::remove_reference_t<decltype(*of_kernel)>;
      const auto offset = parts.used();
      const auto span = parts.template take<Element>(count);
      place = span;
      auto* bytes = reinterpret_cast<std::byte*>(of_kernel);
      parts_.push_back({offset, count * sizeof(Element), bytes});
      if (begin != nullptr) std::memcpy(begin + offset, bytes, count * sizeof(Element));
    };
    std::span<flow_settings> settings;
    take(settings, 1, seen.settings);
    memory_.settings = settings.data();
    take(memory_.flows4, seen.flows4.size(), seen.flows4.data());
    take(memory_.flows6, seen.flows6.size(), seen.flows6.data());
    take(memory_.ends4, seen.ends4.size(), seen.ends4.data());
    take(memory_.ends6, seen.ends6.size(), seen.ends6.data());
    take(memory_.endpoints, seen.endpoints.size(), seen.endpoints.data());
    take(memory_.targets, seen.targets.size(), seen.targets.data());
    take(memory_.hops, seen.hops.size(), seen.hops.data());
    return parts.used();
  }

  FlowMemory memory_;
  std::vector<Part> parts_;
  PageBlock block_;
};

}  // namespace lb::tests
