// SPDX-License-Identifier: Apache-2.0
#include "datapath/flow_maps.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "steer.skel.h"

namespace lb::datapath {
namespace {

std::uint32_t cpu_count() noexcept {
  return static_cast<std::uint32_t>(std::max(::libbpf_num_possible_cpus(), 1));
}

}  // namespace

Outcome<void> FlowMaps::size(steer_bpf& object, const FlowSizes& flows,
                             const StandInSizes& stand_in) {
  struct Size {
    bpf_map* map;
    std::uint32_t entries;
  };
  const std::array sizes{
      Size{object.maps.flows4, engine::FlowMemory::buckets4_for(flows.ipv4)},
      Size{object.maps.flows6, engine::FlowMemory::buckets6_for(flows.ipv6)},
      Size{object.maps.flow_targets, kTargets},
      Size{object.maps.flow_counts, kTargets * cpu_count()},
      Size{object.maps.stand_in_slots, stand_in.slots / 2},
      Size{object.maps.stand_in_notes, stand_in.notes},
  };
  for (const auto& [map, entries] : sizes) {
    if (const int error = ::bpf_map__set_max_entries(map, entries); error != 0) {
      return system_failure("cannot set the size of the flow table", -error);
    }
  }
  return {};
}

std::optional<flow_settings> FlowMaps::drop_resized(const steer_bpf& object, const Pins& pins) {
  bool is_resized = false;
  for (const bpf_map* map : {object.maps.flows4, object.maps.flows6}) {
    const auto old = pins.get(::bpf_map__name(map));
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    if (!old.valid() || ::bpf_obj_get_info_by_fd(old.get(), &info, &length) != 0) continue;
    if (info.max_entries == ::bpf_map__max_entries(map)) continue;
    pins.remove(::bpf_map__name(map));
    is_resized = true;
  }
  if (!is_resized) return std::nullopt;
  const char* name = ::bpf_map__name(object.maps.flow_table_settings);
  const auto old = pins.get(name);
  const std::uint32_t key = 0;
  flow_settings settings{};
  bpf_map_info info{};
  std::uint32_t length = sizeof(info);
  const bool is_read = old.valid() && ::bpf_obj_get_info_by_fd(old.get(), &info, &length) == 0 &&
                       info.value_size == sizeof(settings) &&
                       ::bpf_map_lookup_elem(old.get(), &key, &settings) == 0;
  pins.remove(name);
  if (!is_read || settings.layout != FLOW_LAYOUT) return std::nullopt;
  return settings;
}

template <class Element>
Outcome<std::span<Element>> FlowMaps::map_one(const bpf_map* map) {
  const std::size_t count = ::bpf_map__max_entries(map);
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t size = (count * sizeof(Element) + page - 1) / page * page;
  void* begin = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, ::bpf_map__fd(map), 0);
  if (begin == MAP_FAILED) {
    return system_failure(fmt::format("cannot map {} of the flow table", ::bpf_map__name(map)),
                          errno);
  }
  mappings_.push_back({.begin = begin, .size = size});
  return std::span(static_cast<Element*>(begin), count);
}

Outcome<std::unique_ptr<FlowMaps>> FlowMaps::map(const steer_bpf& object,
                                                 const std::optional<flow_settings>& before) {
  std::unique_ptr<FlowMaps> result(new FlowMaps);
  auto& memory = result->memory_;
  std::string failure;
  const auto take = [&](auto& place, const bpf_map* map) {
    using Element =
        std::remove_const_t<typename std::remove_reference_t<decltype(place)>::value_type>;
    auto mapped = result->map_one<Element>(map);
    if (mapped) {
      place = *mapped;
    } else {
      failure = mapped.error();
    }
  };
  std::span<flow_settings> settings;
  take(settings, object.maps.flow_table_settings);
  take(memory.flows4, object.maps.flows4);
  take(memory.flows6, object.maps.flows6);
  take(memory.ends4, object.maps.flow_ends4);
  take(memory.ends6, object.maps.flow_ends6);
  take(memory.endpoints, object.maps.flow_endpoints);
  take(memory.targets, object.maps.flow_targets);
  take(memory.hops, object.maps.flow_hops);
  take(memory.counters, object.maps.flow_counts);
  std::span<stand_in_control> control;
  take(control, object.maps.stand_in_state);
  take(memory.stand_in_ends, object.maps.stand_in_ends);
  take(memory.ports, object.maps.stand_in_ports);
  take(memory.slots, object.maps.stand_in_slots);
  take(memory.notes, object.maps.stand_in_notes);
  if (!failure.empty()) return tl::unexpected(failure);
  memory.control = control.data();

  memory.settings = settings.data();
  // An earlier director's: its entries lie where its secret says.
  if (memory.settings->layout == FLOW_LAYOUT) return result;
  auto& secret = memory.settings->secret;
  if (before) {
    *memory.settings = *before;
  } else if (::getrandom(secret, sizeof(secret), 0) != static_cast<ssize_t>(sizeof(secret))) {
    return system_failure("cannot get random bytes", errno);
  }
  memory.settings->buckets4 = static_cast<std::uint32_t>(memory.flows4.size());
  memory.settings->buckets6 = static_cast<std::uint32_t>(memory.flows6.size());
  memory.settings->targets = static_cast<std::uint32_t>(memory.targets.size());
  memory.settings->cpus = cpu_count();
  return result;
}

FlowMaps::~FlowMaps() {
  for (const auto& [begin, size] : mappings_) ::munmap(begin, size);
}

}  // namespace lb::datapath
