/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Finds flows and endpoints in maps of the kernel; for src/bpf/flow_forward.h. */
#pragma once

#include "../bench/xdp/lru_abi.h"

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1); /* the benchmark sets the sizes */
  __type(key, __u64);
  __type(value, __u64);
} lru_flows4 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct lru_flow6);
  __type(value, __u64);
} lru_flows6 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, LRU_ENDS);
  __type(key, __u64);
  __type(value, __u32);
} hash_ends4 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, LRU_ENDS);
  __type(key, struct lru_end6);
  __type(value, __u32);
} hash_ends6 SEC(".maps");

static __always_inline __u32 find_end4(const struct flow_settings* settings, __u64 key) {
  (void)settings;
  __u32* number = bpf_map_lookup_elem(&hash_ends4, &key);
  return number ? *number : 0;
}

static __always_inline __u32 find_end6(const struct flow_settings* settings, const __u64* address,
                                       __u64 tail) {
  (void)settings;
  struct lru_end6 key = {.address = {address[0], address[1]}, .tail = (__u32)tail};
  __u32* number = bpf_map_lookup_elem(&hash_ends6, &key);
  return number ? *number : 0;
}

static __always_inline bool find_flow4(const struct flow_settings* settings, __u64 key,
                                       struct flow_packet* packet) {
  (void)settings;
  __u64* words = bpf_map_lookup_elem(&lru_flows4, &key);
  if (!words) return false;
  packet->words = READ_ONCE(*words);
  packet->age = (__u16*)((char*)words + 6);
  return true;
}

static __always_inline bool find_flow6(const struct flow_settings* settings, const __u64* client,
                                       __be16 port, __u32 end, struct flow_packet* packet) {
  (void)settings;
  struct lru_flow6 key = {.client = {client[0], client[1]}, .tail = flow_tail6(port, end)};
  __u64* words = bpf_map_lookup_elem(&lru_flows6, &key);
  if (!words) return false;
  packet->words = READ_ONCE(*words);
  packet->age = (__u16*)((char*)words + 6);
  return true;
}
