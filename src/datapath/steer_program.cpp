// SPDX-License-Identifier: Apache-2.0
#include "datapath/steer_program.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "steer.skel.h"

namespace lb::datapath {
namespace {

/// The last line that libbpf complained with: part of the error when a call of it fails.
std::string& last_complaint() {
  static std::string text;
  return text;
}

int keep_complaint(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  std::array<char, 512> line{};
  const int size = std::vsnprintf(line.data(), line.size(), format, arguments);
  if (size <= 0) return 0;
  std::string text(line.data());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (!text.empty()) last_complaint() = std::move(text);
  return 0;
}

std::string link_name(std::uint32_t ifindex) { return fmt::format("link-{}", ifindex); }

std::string load_failure(int error) {
  std::string text =
      fmt::format("cannot load the XDP program into the kernel: {}", std::strerror(error));
  if (error == EPERM) {
    text +=
        "; run as root (CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW), and allow locked memory "
        "(ulimit -l unlimited)";
  } else if (error == EINVAL || error == ENOTSUP || error == ESRCH) {
    text += "; Linux 5.18 or later with BTF is needed";
  }
  if (!last_complaint().empty()) text += fmt::format(" ({})", last_complaint());
  return text;
}

/// The kernel gives device maps a flag of its own, for which libbpf takes them to be others.
bool is_device_map(const bpf_map* map) { return ::bpf_map__type(map) == BPF_MAP_TYPE_DEVMAP; }

/// Lets go of a pinned map that has another size than is wanted now.
void drop_other_size(const bpf_map& map, const Pins& pins) {
  const auto old = pins.get(::bpf_map__name(&map));
  bpf_map_info info{};
  std::uint32_t length = sizeof(info);
  if (!old.valid() || ::bpf_obj_get_info_by_fd(old.get(), &info, &length) != 0) return;
  if (info.max_entries != ::bpf_map__max_entries(&map)) pins.remove(::bpf_map__name(&map));
}

/// Tells `steer` of the programs that it leaves packets of unknown flows to.
Outcome<void> add_stand_ins(const steer_bpf& object) {
  const std::array programs{object.progs.stand_in4, object.progs.stand_in6};
  for (std::uint32_t key = 0; key < programs.size(); ++key) {
    const int program = ::bpf_program__fd(programs[key]);
    if (::bpf_map_update_elem(::bpf_map__fd(object.maps.stand_ins), &key, &program, BPF_ANY) != 0) {
      return system_failure("cannot prepare the XDP program for the time without a daemon", errno);
    }
  }
  return {};
}

/// Has the maps of an object that is not loaded yet be those that are pinned, or be pinned.
Outcome<void> use_pinned(bpf_object& object, const Pins& pins) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, &object) {
    if (bpf_map__is_internal(map)) continue;  // constants of this run
    const std::string name = ::bpf_map__name(map);
    int error = 0;
    drop_other_size(*map, pins);
    if (!is_device_map(map)) {
      error = ::bpf_map__set_pin_path(map, pins.path(name).c_str());
    } else if (const auto old = pins.get(name); old.valid()) {
      error = ::bpf_map__reuse_fd(map, old.get());
    }
    if (error != 0) return tl::unexpected(load_failure(-error));
  }
  return {};
}

Outcome<void> pin_devices(const bpf_object& object, const Pins& pins) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, &object) {
    if (!is_device_map(map)) continue;
    const std::string name = ::bpf_map__name(map);
    if (pins.get(name).valid()) continue;
    if (auto pinned = pins.pin(::bpf_map__fd(map), name); !pinned) return pinned;
  }
  return {};
}

/// Tells the program how its jiffies and CLOCK_MONOTONIC belong together.
Outcome<void> set_clock(const steer_bpf& object, flow_settings& settings) {
  timespec tick{};  // coarse clocks move with jiffies
  if (::clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0) {
    return system_failure("cannot ask for the length of a tick", errno);
  }
  settings.tick =
      static_cast<__u64>(tick.tv_sec) * 1'000'000'000 + static_cast<__u64>(tick.tv_nsec);
  std::array<std::uint8_t, 64> frame{};
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = frame.data();
  options.data_size_in = frame.size();
  if (::bpf_prog_test_run_opts(bpf_program__fd(object.progs.set_clock), &options) != 0) {
    return system_failure("cannot run the program that sets the clock", errno);
  }
  return {};
}

}  // namespace

Outcome<std::unique_ptr<SteerProgram>> SteerProgram::load(std::uint32_t endpoints,
                                                          const FlowSizes& flows, const Pins* pins,
                                                          const StandInSizes& stand_in) {
  // Before Linux 5.11 maps count as locked memory, AF_XDP frames still do. Not being allowed to
  // raise the limit matters only if the memory does not suffice, which is told then.
  const rlimit unlimited{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);
  ::libbpf_set_print(keep_complaint);
  last_complaint().clear();

  std::unique_ptr<SteerProgram> program(new SteerProgram);
  program->object_ = ::steer_bpf__open();
  if (program->object_ == nullptr) return tl::unexpected(load_failure(errno));
  auto& object = *program->object_;
  for (bpf_map* map : {object.maps.virtual_ends, object.maps.real_ends, object.maps.addresses}) {
    if (const int error = ::bpf_map__set_max_entries(map, endpoints); error != 0) {
      return tl::unexpected(load_failure(-error));
    }
  }
  if (auto sized = FlowMaps::size(object, flows, stand_in); !sized) {
    return tl::unexpected(sized.error());
  }
  program->pins_ = pins;
  std::optional<flow_settings> before;
  if (pins != nullptr) {
    before = FlowMaps::drop_resized(object, *pins);
    if (auto found = use_pinned(*object.obj, *pins); !found) return tl::unexpected(found.error());
  }
  auto& secret = program->secret_;
  if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size())) {
    return system_failure("cannot get random bytes", errno);
  }
  std::memcpy(object.rodata->return_secret, secret.data(), secret.size());
  if (const int error = ::steer_bpf__load(&object); error != 0) {
    return tl::unexpected(load_failure(-error));
  }
  if (pins != nullptr) {
    if (auto pinned = pin_devices(*object.obj, *pins); !pinned) {
      return tl::unexpected(pinned.error());
    }
  }
  if (auto added = add_stand_ins(object); !added) return tl::unexpected(added.error());
  auto maps = FlowMaps::map(object, before);
  if (!maps) return tl::unexpected(maps.error());
  program->flow_maps_ = std::move(*maps);
  if (auto set = set_clock(object, *program->flow_memory().settings); !set) {
    return tl::unexpected(set.error());
  }
  return program;
}

SteerProgram::~SteerProgram() {
  flow_maps_.reset();
  ::steer_bpf__destroy(object_);
}

Outcome<FileDescriptor> SteerProgram::create_link(std::uint32_t ifindex,
                                                  std::uint32_t flags) const {
  bpf_link_create_opts options{};
  options.sz = sizeof(options);
  options.flags = flags;
  const int fd = ::bpf_link_create(xdp_program(), static_cast<int>(ifindex), BPF_XDP, &options);
  if (fd < 0) return tl::unexpected(std::string(std::strerror(-fd)));
  FileDescriptor link(fd);
  if (pins_ != nullptr) {
    if (auto pinned = pins_->pin(fd, link_name(ifindex)); !pinned) {
      return tl::unexpected(pinned.error());
    }
  }
  return link;
}

/// Puts this program in the place of the one that an earlier director left on an interface; nothing
/// if there is none.
std::optional<SteerProgram::Attachment> SteerProgram::take_over(std::uint32_t ifindex) const {
  if (pins_ == nullptr) return std::nullopt;
  auto link = pins_->get(link_name(ifindex));
  if (!link.valid()) return std::nullopt;
  std::uint32_t native = 0;
  const bool is_attached =
      ::bpf_link_update(link.get(), xdp_program(), nullptr) == 0 &&
      ::bpf_xdp_query_id(static_cast<int>(ifindex), XDP_FLAGS_DRV_MODE, &native) == 0;
  if (!is_attached) {  // its interface has gone
    pins_->remove(link_name(ifindex));
    return std::nullopt;
  }
  return Attachment{.link = std::move(link), .is_native = native != 0};
}

Outcome<SteerProgram::Attachment> SteerProgram::attach(const LinkChange& link, XdpMode mode,
                                                       const Log& log) const {
  const auto ifindex = static_cast<std::uint32_t>(link.interface.id);
  const auto& name = link.interface.name;
  if (auto taken = take_over(ifindex)) return *std::move(taken);
  std::uint32_t other = 0;
  if (::bpf_xdp_query_id(static_cast<int>(ifindex), 0, &other) == 0 && other != 0) {
    return tl::unexpected(fmt::format(
        "interface {}: another XDP program (id {}) is attached; is another director running? "
        "Otherwise remove it (bpftool net detach xdp dev {}, or ip link set dev {} xdp off)",
        name, other, name, name));
  }
  if (mode != XdpMode::kGeneric) {
    auto native = create_link(ifindex, XDP_FLAGS_DRV_MODE);
    if (native) return Attachment{.link = std::move(*native), .is_native = true};
    if (mode == XdpMode::kNative) {
      return tl::unexpected(
          fmt::format("interface {}: cannot attach in native mode: {}; the driver may lack XDP, or "
                      "the MTU {} be too large for it (try xdp mode generic)",
                      name, native.error(), link.interface.mtu));
    }
    log(LogLevel::kWarning,
        fmt::format("interface {}: no native XDP ({}); using generic XDP, which is slower", name,
                    native.error()));
  }
  auto generic = create_link(ifindex, XDP_FLAGS_SKB_MODE);
  if (generic) return Attachment{.link = std::move(*generic), .is_native = false};
  return tl::unexpected(
      fmt::format("interface {}: cannot attach the XDP program: {}", name, generic.error()));
}

Outcome<void> SteerProgram::set_interface(engine::InterfaceId id,
                                          const steer_interface& interface) const {
  const auto key = static_cast<std::uint32_t>(id);
  if (::bpf_map_update_elem(::bpf_map__fd(object_->maps.interfaces), &key, &interface, BPF_ANY) !=
      0) {
    return system_failure("cannot tell the XDP program of an interface", errno);
  }
  return {};
}

void SteerProgram::remove_interface(engine::InterfaceId id) const noexcept {
  const auto key = static_cast<std::uint32_t>(id);
  if (pins_ != nullptr) {
    if (pins_->is_kept()) return;
    pins_->remove(link_name(key));
  }
  ::bpf_map_delete_elem(::bpf_map__fd(object_->maps.interfaces), &key);
}

Outcome<void> SteerProgram::set_flow_device(std::uint32_t slot, engine::InterfaceId id) const {
  const auto value = static_cast<std::uint32_t>(id);
  if (::bpf_map_update_elem(::bpf_map__fd(object_->maps.flow_devices), &slot, &value, BPF_ANY) !=
      0) {
    return system_failure("cannot tell the XDP program of an interface to send by", errno);
  }
  return {};
}

Outcome<void> SteerProgram::set_host_interface(std::uint32_t queue, engine::InterfaceId id) const {
  const auto value = static_cast<std::uint32_t>(id);
  if (::bpf_map_update_elem(::bpf_map__fd(object_->maps.host_interfaces), &queue, &value,
                            BPF_ANY) != 0) {
    return system_failure("cannot tell the tc program of an interface", errno);
  }
  return {};
}

Outcome<void> SteerProgram::set_host_device(engine::InterfaceId id) const {
  const std::uint32_t key = 0;
  const auto value = static_cast<std::uint32_t>(id);
  if (::bpf_map_update_elem(::bpf_map__fd(object_->maps.host_device), &key, &value, BPF_ANY) != 0) {
    return system_failure("cannot tell the tc program of the TAP device", errno);
  }
  return {};
}

int SteerProgram::socket_map() const noexcept { return ::bpf_map__fd(object_->maps.sockets); }

int SteerProgram::xdp_program() const noexcept { return ::bpf_program__fd(object_->progs.steer); }

int SteerProgram::return_program() const noexcept {
  return ::bpf_program__fd(object_->progs.return_to_host);
}

int SteerProgram::catch_program() const noexcept {
  return ::bpf_program__fd(object_->progs.catch_answers);
}

int SteerProgram::queue_program() const noexcept {
  return ::bpf_program__fd(object_->progs.pick_queue);
}

SteeringMaps::Maps SteerProgram::endpoint_maps() const noexcept {
  return {.virtual_ends = ::bpf_map__fd(object_->maps.virtual_ends),
          .real_ends = ::bpf_map__fd(object_->maps.real_ends),
          .addresses = ::bpf_map__fd(object_->maps.addresses),
          .snat_prefixes = ::bpf_map__fd(object_->maps.snat_prefixes),
          .snat_in_use = ::bpf_map__fd(object_->maps.snat_in_use)};
}

std::vector<std::uint64_t> SteerProgram::by_cpu(std::uint32_t which) const {
  std::vector<std::uint64_t> values(
      static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
  if (::bpf_map_lookup_elem(::bpf_map__fd(object_->maps.counters), &which, values.data()) != 0) {
    values.clear();
  }
  return values;
}

std::array<std::uint64_t, STEER_COUNTERS> SteerProgram::counters() const {
  std::array<std::uint64_t, STEER_COUNTERS> result{};
  for (std::uint32_t which = 0; which < STEER_COUNTERS; ++which) {
    for (const auto value : by_cpu(which)) result[which] += value;
  }
  return result;
}

std::uint64_t SteerProgram::most_by_one(steer_counter which) const {
  std::uint64_t most = 0;
  for (const auto value : by_cpu(which)) most = std::max(most, value);
  return most;
}

}  // namespace lb::datapath
