// SPDX-License-Identifier: Apache-2.0
#include "realserver/decap.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

// The generated skeleton is not ours to style.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wconversion"
#include "decap.skel.h"
#pragma GCC diagnostic pop

namespace lb::realserver {
namespace {

// As the kernel keeps the name of the function in decap.bpf.c: at most 15 characters.
constexpr std::string_view kProgramName = "sluice_decap";

struct SkeletonDestroy {
  void operator()(decap_bpf* skeleton) const { decap_bpf::destroy(skeleton); }
};

tl::unexpected<std::string> error(std::string message) {
  return tl::unexpected(std::move(message));
}

std::string hint(int code) {
  const std::string reason = std::strerror(code);
  return code == EPERM ? reason + " (run as root)" : reason;
}

tl::expected<int, std::string> find_interface(const std::string& name) {
  const auto index = ::if_nametoindex(name.c_str());
  if (index == 0) return error(fmt::format("there is no interface '{}'", name));
  return static_cast<int>(index);
}

/// A program on an interface.
struct Attached {
  std::uint32_t id = 0;  ///< 0: none
  std::uint32_t flags = 0;
  bool is_ours = false;
};

tl::expected<Attached, std::string> query(int index, const std::string& interface) {
  LIBBPF_OPTS(bpf_xdp_query_opts, found);
  if (const int failed = bpf_xdp_query(index, 0, &found); failed != 0) {
    return error(fmt::format("cannot ask about XDP on {}: {}", interface, hint(-failed)));
  }
  Attached attached;
  if (found.drv_prog_id != 0) {
    attached = {.id = found.drv_prog_id, .flags = XDP_FLAGS_DRV_MODE};
  } else if (found.skb_prog_id != 0) {
    attached = {.id = found.skb_prog_id, .flags = XDP_FLAGS_SKB_MODE};
  } else if (found.hw_prog_id != 0) {
    attached = {.id = found.hw_prog_id, .flags = XDP_FLAGS_HW_MODE};
  } else {
    return attached;
  }
  const int program = bpf_prog_get_fd_by_id(attached.id);
  if (program < 0) {
    return error(fmt::format("cannot look at the XDP program of {}: {}", interface, hint(errno)));
  }
  bpf_prog_info info{};
  auto length = static_cast<__u32>(sizeof(info));
  attached.is_ours = bpf_obj_get_info_by_fd(program, &info, &length) == 0 &&
                     kProgramName == static_cast<const char*>(info.name);
  ::close(program);
  return attached;
}

tl::expected<void, std::string> remove(int index, const std::string& interface,
                                       std::uint32_t flags) {
  if (const int failed = bpf_xdp_detach(index, flags, nullptr); failed != 0) {
    return error(fmt::format("cannot detach from {}: {}", interface, hint(-failed)));
  }
  return {};
}

int quiet(libbpf_print_level, const char*, va_list) { return 0; }

}  // namespace

tl::expected<std::string, std::string> attach_decap(const std::string& interface, XdpMode mode,
                                                    std::uint16_t gue_port) {
  libbpf_set_print(quiet);  // what matters comes back as errors
  const auto index = find_interface(interface);
  if (!index) return error(index.error());
  const auto before = query(*index, interface);
  if (!before) return error(before.error());
  if (before->id != 0 && !before->is_ours) {
    return error(fmt::format("{} has another XDP program already (id {}); not replaced", interface,
                             before->id));
  }
  const std::unique_ptr<decap_bpf, SkeletonDestroy> skeleton(decap_bpf::open());
  if (!skeleton) return error(fmt::format("cannot open the program: {}", hint(errno)));
  skeleton->rodata->gue_port = gue_port;
  if (const int failed = decap_bpf::load(skeleton.get()); failed != 0) {
    return error(fmt::format("the kernel refuses the program: {}", hint(-failed)));
  }
  if (before->id != 0) {
    if (auto removed = remove(*index, interface, before->flags); !removed) {
      return error(removed.error());
    }
  }
  const int program = bpf_program__fd(skeleton->progs.sluice_decap);
  int failed = -EOPNOTSUPP;
  if (mode != XdpMode::kGeneric) {
    failed =
        bpf_xdp_attach(*index, program, XDP_FLAGS_UPDATE_IF_NOEXIST | XDP_FLAGS_DRV_MODE, nullptr);
    if (failed == 0) return std::string("native");
  }
  if (mode != XdpMode::kNative) {
    failed =
        bpf_xdp_attach(*index, program, XDP_FLAGS_UPDATE_IF_NOEXIST | XDP_FLAGS_SKB_MODE, nullptr);
    if (failed == 0) return std::string("generic");
  }
  return error(fmt::format("cannot attach to {}: {}", interface, hint(-failed)));
}

tl::expected<bool, std::string> has_decap(const std::string& interface) {
  libbpf_set_print(quiet);
  const auto index = find_interface(interface);
  if (!index) return error(index.error());
  const auto attached = query(*index, interface);
  if (!attached) return error(attached.error());
  return attached->is_ours;
}

tl::expected<void, std::string> detach_decap(const std::string& interface) {
  libbpf_set_print(quiet);
  const auto index = find_interface(interface);
  if (!index) return error(index.error());
  const auto attached = query(*index, interface);
  if (!attached) return error(attached.error());
  if (!attached->is_ours) {
    return error(fmt::format("{} has no program that strips tunnels", interface));
  }
  return remove(*index, interface, attached->flags);
}

}  // namespace lb::realserver
