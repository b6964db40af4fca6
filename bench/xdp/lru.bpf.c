// SPDX-License-Identifier: GPL-2.0-or-later
/* The forwarding of src/bpf/steer.bpf.c, its look-ups in maps of the kernel: flows in
 * BPF_MAP_TYPE_LRU_HASH, endpoints in BPF_MAP_TYPE_HASH. All else is the same code. */
#define FLOW_LOOK_UP "../bench/xdp/lru_look_up.h"
#include "bpf/flow_path.h"

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} lru_forwarded SEC(".maps");

SEC("xdp.frags")
int lru(struct xdp_md* ctx) {
  int action = forward(ctx);
  if (action == FLOW_NOT_FORWARDED) return XDP_ABORTED;
  __u64* count = entry_of(&lru_forwarded, 0);
  if (count) ++*count;
  return action;
}

char lru_license[] SEC("license") = "GPL";
