// SPDX-License-Identifier: Apache-2.0
// The engine changes what it has published while packets are forwarded by it. First step by step: a
// packet of every flow between any two stores. Then at full speed, on two CPUs.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "datapath/steer_program.hpp"
#include "datapath/steering_maps.hpp"
#include "engine/testing/lab.hpp"
#include "engine/testing/store_trap.hpp"
#include "fast_path_run.hpp"

namespace lb::tests {
namespace {

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
constexpr DirectorOptions kOptions{.connection_capacity = 1024, .missing_schedulers = {}};

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

std::vector<Talk> all_talks() {
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

class Race : public ::testing::Test {
 protected:
  /// `memory`: where the engine publishes; empty spans: in the program's own.
  void start(FlowMemory memory) {
    steering_ = std::make_unique<SteeringMaps>(program_->endpoint_maps(),
                                               [](datapath::LogLevel, std::string_view) {});
    memory.time_origin = started_.time_since_epoch() - lab_.now.since_start;
    lab_.director.start_fast_path(memory);
    lab_.director.set_steering_listener(steering_.get());
    // A test run comes in by the loopback device, which is number 1.
    ASSERT_TRUE(program_->set_flow_device(1, kOutside));
    ASSERT_TRUE(program_->set_flow_device(kInsideSlot, kOutside));
    lab_.director.add_fast_device(kOutside, 1, true);
    lab_.director.add_fast_device(kInside, kInsideSlot, true);
    auto settings = lab_.director.settings();
    settings.expire_nodest_conn = 1;
    lab_.director.set_settings(settings);
    for (const auto& talk : talks_) {
      ASSERT_TRUE(lab_.director.add_service(engine::test::service_at(talk.virtual_end)));
      add_server(talk);
      open(talk);
    }
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
    lab_.director.set_steering_listener(nullptr);
    lab_.director.stop_fast_path();
  }

  void add_server(const Talk& talk) {
    ASSERT_TRUE(lab_.director.add_destination(engine::test::key_of(talk.virtual_end),
                                              engine::test::to(talk.real_end(), talk.method)));
  }

  void remove_server(const Talk& talk) {
    ASSERT_TRUE(
        lab_.director.delete_destination(engine::test::key_of(talk.virtual_end), talk.real_end()));
  }

  // A connection, with packets both ways: XDP may forward it from then on.
  void open(const Talk& talk) {
    tick();
    const bool has_answers = talk.method == ForwardingMethod::kMasquerade;
    // The first ends a connection whose server is gone, the second opens another.
    for (int i = 0; i < 2; ++i) lab_.process(talk.request(net::kTcpSyn, 0));
    if (has_answers) lab_.process(talk.answer(net::kTcpSyn | net::kTcpAck, 0), kInside);
    for (int i = 0; i < 2; ++i) lab_.process(talk.request());
    if (has_answers) lab_.process(talk.answer(), kInside);
  }

  void close(const Talk& talk) {
    lab_.process(talk.request(net::kTcpFin | net::kTcpAck));
    if (talk.method == ForwardingMethod::kMasquerade) {
      lab_.process(talk.answer(net::kTcpFin | net::kTcpAck), kInside);
    }
    lab_.process(talk.request(net::kTcpRst));
  }

  // Numbers of what is gone rest for a while: so time must be real.
  void tick() {
    lab_.now = {std::chrono::hours(1) + (std::chrono::steady_clock::now() - started_)};
    lab_.director.advance(lab_.now);
  }

  /// What leaves for a packet of an established connection, by the engine.
  Frame by_engine(const Frame& frame, engine::InterfaceId in) {
    lab_.process(frame, in);
    EXPECT_EQ(lab_.sent.size(), 1U);
    Frame sent = lab_.sent.empty() ? Frame{} : lab_.sent.front();
    forget_identification(sent);
    return sent;
  }

  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::vector<Talk> talks_ = all_talks();
  std::unique_ptr<SteerProgram> program_;
  std::unique_ptr<SteeringMaps> steering_;
  Lab lab_{kOptions};
};

/// The published memory of an engine, of which XDP sees a copy that follows store by store.
class SteppedMemory {
 public:
  explicit SteppedMemory(const FlowMemory& seen) : block_(divide(nullptr, seen)) {
    divide(block_.begin(), seen);
  }

  [[nodiscard]] const FlowMemory& memory() const noexcept { return memory_; }
  [[nodiscard]] PageBlock& block() noexcept { return block_; }

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

TEST_F(Race, BetweenAnyTwoStores) {
  constexpr unsigned kOtherClients = 24;
  if (!StoreTrap::kIsPossible) GTEST_SKIP() << "single steps are for x86-64 only";
  SteppedMemory stepped(program_->flow_memory());
  start(stepped.memory());
  if (HasFatalFailure()) return;
  stepped.show_all();

  // A packet to every virtual end, and an answer of every server there is or will be.
  std::vector<Frame> probes;
  const auto choose_probes = [&] {
    probes.clear();
    for (auto talk : talks_) {
      probes.push_back(talk.request());
      for (const unsigned server : {talk.server, talk.server % 16 + 1}) {
        talk.server = server;
        probes.push_back(talk.answer());
      }
    }
  };
  const auto results = [&] {
    std::vector<RunResult> all;
    for (const auto& probe : probes) {
      auto result = run(*program_, probe);
      forget_identification(result.frame);
      all.push_back(std::move(result));
    }
    return all;
  };
  std::size_t stores = 0;
  std::size_t forwarded = 0;
  const auto change = [&](const std::string& what, auto&& action) {
    SCOPED_TRACE(what);
    const auto before = results();
    StoreTrap trap({&stepped.block()}, 4000);
    trap.arm();
    action();
    trap.disarm();
    std::vector<std::vector<RunResult>> seen;
    for (const auto& store : trap.stores()) {
      stepped.show(store);
      seen.push_back(results());
    }
    stepped.show_all();
    const auto after = results();
    for (std::size_t i = 0; i < seen.size(); ++i) {
      for (std::size_t probe = 0; probe < probes.size(); ++probe) {
        const auto& is = seen[i][probe];
        if (!is.is_forwarded) continue;
        ++forwarded;
        const bool is_old = before[probe].is_forwarded && is.frame == before[probe].frame;
        const bool is_new = after[probe].is_forwarded && is.frame == after[probe].frame;
        EXPECT_TRUE(is_old || is_new) << "probe " << probe << " after store " << i;
      }
    }
    stores += trap.stores().size();
  };

  choose_probes();
  unsigned round = 0;
  for (auto& talk : talks_) {
    const auto name = "talk " + std::to_string(round++) + ": ";
    change(name + "the server's neighbour moves", [&] {
      lab_.network.set_neighbour(kInside, talk.real_end().address,
                                 {{2, 0, 0, 0, 7, static_cast<std::uint8_t>(round)}});
      lab_.pass(std::chrono::milliseconds(10));
    });
    change(name + "its server goes", [&] { remove_server(talk); });
    talk.server = talk.server % 16 + 1;
    change(name + "another server comes", [&] { add_server(talk); });
    change(name + "a connection to it", [&] { open(talk); });
    change(name + "it ends", [&] { close(talk); });
    change(name + "a new one", [&] { open(talk); });
  }
  for (unsigned i = 0; i < kOtherClients; ++i) {
    auto& talk = talks_[i % talks_.size()];
    change("it ends, number " + std::to_string(i), [&] { close(talk); });
    talk.client.port = engine::test::port_of(41000 + i);
    choose_probes();
    change("of another client, number " + std::to_string(i), [&] { open(talk); });
  }
  EXPECT_GT(forwarded, stores);  // most flows are not concerned by a change
  RecordProperty("stores", static_cast<int>(stores));
  RecordProperty("forwarded", static_cast<int>(forwarded));
}

/// What leaves for a talk's packets, told by the thread that changes it to the one that sends.
class Published {
 public:
  struct Expected {
    Frame request;
    Frame answer;
  };

  /// From now on packets may go the old way or the new one.
  void begin() { version_.fetch_add(1); }
  void end(Expected expected) {
    const std::lock_guard lock(mutex_);
    old_ = std::move(now_);
    now_ = std::move(expected);
    version_.fetch_add(1);
  }
  [[nodiscard]] std::uint64_t version() const { return version_.load(); }
  /// What is right for a packet on its way from `version` till now; empty: can't be told.
  [[nodiscard]] std::vector<Expected> since(std::uint64_t version) {
    for (;;) {
      const auto is = version_.load();
      if (is - version > 2 + version % 2) return {};
      if (is % 2 == 1) {
        std::this_thread::yield();
        continue;
      }
      const std::lock_guard lock(mutex_);
      if (version_.load() != is) continue;
      if (is == version) return {now_};
      return {old_, now_};
    }
  }

 private:
  std::atomic<std::uint64_t> version_ = 0;
  std::mutex mutex_;
  Expected old_;
  Expected now_;
};

TEST_F(Race, OnTwoCpus) {
  constexpr int kChanges = 20000;
  constexpr int kMostChanges = 1000000;
  constexpr std::uint64_t kForwarded = 20000;
  start(program_->flow_memory());
  if (HasFatalFailure()) return;
  std::vector<Published> published(talks_.size());
  const auto tell = [&](std::size_t i) {
    Published::Expected expected{by_engine(talks_[i].request(), kOutside), {}};
    if (talks_[i].method == ForwardingMethod::kMasquerade) {
      expected.answer = by_engine(talks_[i].answer(), kInside);
    }
    published[i].end(std::move(expected));
  };
  for (std::size_t i = 0; i < talks_.size(); ++i) {
    published[i].begin();
    tell(i);
  }
  // Answers come from all servers that a talk ever has: here those of its first.
  std::vector<unsigned> firsts;
  std::vector<Frame> requests;
  std::vector<Frame> answers;
  for (const auto& talk : talks_) {
    firsts.push_back(talk.server);
    requests.push_back(talk.request());
    answers.push_back(talk.answer());
  }

  std::atomic<bool> is_over = false;
  std::uint64_t judged = 0;
  std::atomic<std::uint64_t> forwarded = 0;
  std::uint64_t wrong = 0;
  std::thread sender([&] {
    for (std::size_t i = 0; !is_over; i = (i + 1) % talks_.size()) {
      const bool is_answer = judged % 2 == 1 && talks_[i].method == ForwardingMethod::kMasquerade;
      ++judged;
      const auto version = published[i].version();
      auto result = run(*program_, is_answer ? answers[i] : requests[i]);
      if (!result.is_forwarded) continue;
      ++forwarded;
      forget_identification(result.frame);
      const auto right = published[i].since(version);
      bool is_right = right.empty();
      for (const auto& expected : right) {
        is_right |= result.frame == (is_answer ? expected.answer : expected.request);
      }
      wrong += is_right ? 0 : 1;
    }
  });

  const auto is_enough = [&](int changes) {
    return changes >= kMostChanges || (changes >= kChanges && forwarded >= kForwarded);
  };
  for (int i = 0; !is_enough(i) && !HasFatalFailure(); ++i) {
    const auto which = static_cast<std::size_t>(i) % talks_.size();
    auto& talk = talks_[which];
    published[which].begin();
    remove_server(talk);
    // Back and forth between a server and ports of another, mostly new ones.
    const bool is_at_first = talk.server == firsts[which];
    talk.server = is_at_first ? talk.server % 16 + 1 : firsts[which];
    talk.port = is_at_first ? 9000 + static_cast<unsigned>(i) / 4 % 50000 : 8080;
    add_server(talk);
    open(talk);
    tell(which);
  }
  is_over = true;
  sender.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_GE(forwarded, kForwarded);
  RecordProperty("packets", static_cast<int>(judged));
  RecordProperty("forwarded", static_cast<int>(forwarded));
}

}  // namespace
}  // namespace lb::tests
