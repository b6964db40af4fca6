// SPDX-License-Identifier: Apache-2.0
#include "datapath/egress_hook.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstring>

namespace lb::datapath {
namespace {

/// BPF_TCX_EGRESS; <linux/bpf.h> may be older than Linux 6.6.
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
/// Where our filter is among those of the egress; a restarted director finds the old one by it.
constexpr std::uint32_t kHandle = 0x511c;
constexpr std::uint32_t kPriority = 0x511c;

bpf_tc_hook egress_of(int ifindex) noexcept {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = ifindex;
  hook.attach_point = BPF_TC_EGRESS;
  return hook;
}

bpf_tc_opts our_filter() noexcept {
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = kHandle;
  options.priority = kPriority;
  return options;
}

}  // namespace

Outcome<std::unique_ptr<EgressHook>> EgressHook::attach(int program, const LinkChange& link,
                                                        Way best) {
  const auto ifindex = static_cast<int>(link.interface.id);
  std::unique_ptr<EgressHook> hook(new EgressHook(ifindex));
  if (best == Way::kLink) {
    hook->link_ = FileDescriptor(::bpf_link_create(program, ifindex, kTcxEgress, nullptr));
    if (hook->link_.valid()) return hook;
  }
  if (const int error = hook->attach_filter(program); error != 0) {
    return system_failure(fmt::format("interface {}: cannot attach a tc program to its egress, "
                                      "which answers of servers on the director need",
                                      link.interface.name),
                          error);
  }
  return hook;
}

int EgressHook::attach_filter(int program) noexcept {
  auto hook = egress_of(ifindex_);
  const int made = ::bpf_tc_hook_create(&hook);
  if (made != 0 && made != -EEXIST) return -made;
  auto options = our_filter();
  options.prog_fd = program;
  options.flags = BPF_TC_F_REPLACE;
  const int error = ::bpf_tc_attach(&hook, &options);
  has_filter_ = error == 0;
  return -error;
}

EgressHook::~EgressHook() {
  if (!has_filter_) return;
  auto hook = egress_of(ifindex_);
  auto options = our_filter();
  // An error means that the interface is gone with all that was on it.
  (void)::bpf_tc_detach(&hook, &options);
}

}  // namespace lb::datapath
