// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "datapath/steer_program.hpp"
#include "engine/testing/lab.hpp"

struct lru_bpf;

namespace lb::bench {

inline constexpr std::uint32_t kFrame = 128;

/// Prints and exits.
[[noreturn]] void fail(std::string_view what);

/// The last 32 bits of the first client's address.
[[nodiscard]] std::uint32_t first_client(net::Family family);
/// The client of a flow, as vary.bpf.c makes it.
[[nodiscard]] net::Endpoint client_of(net::Family family, std::uint32_t flow);
/// The service that clients ask.
[[nodiscard]] net::Endpoint service_of(net::Family family);

/// A program that forwards.
class Forwarder {
 public:
  virtual ~Forwarder() = default;
  [[nodiscard]] virtual int program() const = 0;
  /// Packets that it forwarded so far.
  [[nodiscard]] virtual std::uint64_t forwarded() const = 0;
};

/// A director with so many established connections by `method`, all published.
class Subject : public Forwarder {
 public:
  Subject(model::ForwardingMethod method, net::Family family, std::uint32_t flows);
  ~Subject() override;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  [[nodiscard]] int program() const override;
  [[nodiscard]] std::uint64_t forwarded() const override;
  [[nodiscard]] const engine::FlowMemory& memory() const { return program_->flow_memory(); }

 private:
  engine::test::Lab lab_;
  std::unique_ptr<datapath::SteerProgram> program_;
};

/// The same flows in maps of the kernel (lru.bpf.c); what targets, hops and counters it has are
/// those of `subject`, which must outlive it.
class LruTwin : public Forwarder {
 public:
  explicit LruTwin(const Subject& subject);
  ~LruTwin() override;
  LruTwin(const LruTwin&) = delete;
  LruTwin& operator=(const LruTwin&) = delete;

  [[nodiscard]] int program() const override;
  [[nodiscard]] std::uint64_t forwarded() const override;

 private:
  void share_maps(const Subject& subject);
  void fill(const engine::FlowMemory& memory);

  lru_bpf* object_ = nullptr;
};

/// Nanoseconds of processor time that publishing a flow takes, of so many, and
/// `bpf_map_update_elem` into an LRU map.
struct InsertTimes {
  double table = 0;
  double map = 0;
};
[[nodiscard]] InsertTimes measure_inserting(std::uint32_t flows);

}  // namespace lb::bench
