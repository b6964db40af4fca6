// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <numeric>
#include <string>
#include <vector>

#include "engine/flow/flow_table.hpp"
#include "lru.skel.h"
#include "lru_abi.h"
#include "subject.hpp"

namespace lb::bench {
namespace {

/// As full as ours: a flow in four fifths of the places.
std::uint32_t places_for(std::size_t flows) {
  return static_cast<std::uint32_t>(flows * 5 / 4 + 16);
}

template <class Key, class Value>
void put(const bpf_map* map, const Key& key, const Value& value) {
  if (::bpf_map_update_elem(bpf_map__fd(map), &key, &value, BPF_ANY) != 0) {
    fail(fmt::format("cannot fill {}: {}", bpf_map__name(map), std::strerror(errno)));
  }
}

/// A descriptor of the map of a loaded program with that name; the kernel keeps 15 characters of
/// it.
int map_of(int program, const std::string& name) {
  std::vector<std::uint32_t> ids(64);
  bpf_prog_info info{};
  info.nr_map_ids = static_cast<std::uint32_t>(ids.size());
  info.map_ids = reinterpret_cast<std::uintptr_t>(ids.data());
  std::uint32_t length = sizeof(info);
  if (::bpf_obj_get_info_by_fd(program, &info, &length) != 0) fail("cannot ask about the program");
  for (std::size_t i = 0; i < std::min<std::size_t>(info.nr_map_ids, ids.size()); ++i) {
    const int map = ::bpf_map_get_fd_by_id(ids[i]);
    bpf_map_info map_info{};
    length = sizeof(map_info);
    if (map >= 0 && ::bpf_obj_get_info_by_fd(map, &map_info, &length) == 0 &&
        name.substr(0, sizeof(map_info.name) - 1) == map_info.name) {
      return map;
    }
    if (map >= 0) ::close(map);
  }
  fail("the program has no map " + name);
}

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

template <class Buckets, class Use>
std::size_t for_each(const Buckets& buckets, Use use) {
  std::size_t count = 0;
  for (const auto& bucket : buckets) {
    for (const auto& slot : bucket.slots) count += use(slot) ? 1 : 0;
  }
  return count;
}

}  // namespace

LruTwin::LruTwin(const Subject& subject) : object_(::lru_bpf__open()) {
  if (object_ == nullptr) fail("cannot open the program with maps of the kernel");
  const auto& memory = subject.memory();
  const auto flows4 = for_each(memory.flows4, [](const auto& slot) { return slot.key != 0; });
  const auto flows6 = for_each(memory.flows6, [](const auto& slot) { return slot.end != 0; });
  ::bpf_map__set_max_entries(object_->maps.lru_flows4, places_for(flows4));
  ::bpf_map__set_max_entries(object_->maps.lru_flows6, places_for(flows6));
  share_maps(subject);
  if (::lru_bpf__load(object_) != 0) fail("cannot load the program with maps of the kernel");
  fill(memory);
}

LruTwin::~LruTwin() { ::lru_bpf__destroy(object_); }

void LruTwin::share_maps(const Subject& subject) {
  for (auto* map :
       {object_->maps.flow_table_settings, object_->maps.flow_endpoints, object_->maps.flow_targets,
        object_->maps.flow_hops, object_->maps.flow_counts, object_->maps.flow_devices}) {
    const int file = map_of(subject.program(), bpf_map__name(map));
    if (::bpf_map__reuse_fd(map, file) != 0) fail("cannot share a map");
    ::close(file);
  }
}

void LruTwin::fill(const engine::FlowMemory& memory) {
  for_each(memory.flows4, [&](const flow4& slot) {
    if (slot.key != 0) put(object_->maps.lru_flows4, slot.key, slot.words);
    return true;
  });
  for_each(memory.flows6, [&](const flow6& slot) {
    const lru_flow6 key{.client = {slot.client[0], slot.client[1]},
                        .tail = flow_tail6(slot.client_port, slot.end)};
    if (slot.end != 0) put(object_->maps.lru_flows6, key, slot.words);
    return true;
  });
  for_each(memory.ends4, [&](const flow_end4& slot) {
    if (slot.key != 0) put(object_->maps.hash_ends4, slot.key, static_cast<__u32>(slot.number));
    return true;
  });
  for_each(memory.ends6, [&](const flow_end6& slot) {
    const lru_end6 key{.address = {slot.address[0], slot.address[1]},
                       .tail = slot.tail & 0xffffffffULL};
    if (slot.tail != 0) {
      put(object_->maps.hash_ends6, key, static_cast<__u32>(slot.tail >> 32U));
    }
    return true;
  });
}

int LruTwin::program() const { return bpf_program__fd(object_->progs.lru); }

std::uint64_t LruTwin::forwarded() const {
  const std::uint32_t first = 0;
  std::vector<std::uint64_t> each(static_cast<std::size_t>(::libbpf_num_possible_cpus()));
  ::bpf_map_lookup_elem(bpf_map__fd(object_->maps.lru_forwarded), &first, each.data());
  return std::accumulate(each.begin(), each.end(), std::uint64_t{0});
}

InsertTimes measure_inserting(std::uint32_t flows) {
  constexpr std::uint32_t kEnd = 1;
  InsertTimes times;
  const auto per_flow = [&](double began) { return (processor_seconds() - began) / flows * 1e9; };
  const auto flow_at = [&](std::uint32_t turn) {
    return static_cast<std::uint32_t>(turn * 2654435761U) & (flows - 1);
  };
  {
    auto program = datapath::SteerProgram::load(1024, flows);
    if (!program) fail(program.error());
    engine::FlowTable table((*program)->flow_memory());
    const auto began = processor_seconds();
    for (std::uint32_t turn = 0; turn < flows; ++turn) {
      const auto client = client_of(net::Family::kIpv4, flow_at(turn));
      table.put({.client = client.address, .client_port = client.port, .end = kEnd},
                flow_words(turn & 0xffffU, 1, 0, 1));
    }
    times.table = per_flow(began);
    if (table.size() < flows / 100 * 99) fail("the table took fewer flows than it should");
  }
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  const int map = ::bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "inserting", sizeof(__u64), sizeof(__u64),
                                   places_for(flows), &options);
  if (map < 0) fail("cannot make a map");
  const auto began = processor_seconds();
  for (std::uint32_t turn = 0; turn < flows; ++turn) {
    const auto client = client_of(net::Family::kIpv4, flow_at(turn));
    const __u64 key =
        flow_key4(client.address.word(0).to_network(), client.port.to_network(), kEnd);
    const __u64 words = flow_words(turn & 0xffffU, 1, 0, 1);
    if (::bpf_map_update_elem(map, &key, &words, BPF_ANY) != 0) fail("cannot fill the map");
  }
  times.map = per_flow(began);
  ::close(map);
  return times;
}

}  // namespace lb::bench
