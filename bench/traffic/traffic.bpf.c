// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes UDP packets of many flows (run with BPF_F_TEST_XDP_LIVE_FRAMES on the clients' interface),
 * counts and times them where they arrive, and does on a director the least that can be done. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "traffic_abi.h"

struct traffic_plan plan;
__u64 turn;  /* packets made in this run */
__u64 start; /* when the first was due */

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct traffic_counts);
} counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, TRAFFIC_DELAYS);
  __type(key, __u32);
  __type(value, __u64);
} delays SEC(".maps");

/* Packets that arrived of each flow. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* the process sets the number */
  __type(key, __u32);
  __type(value, __u64);
} arrived SEC(".maps");

const volatile __u32 counted_flows; /* entries of `arrived` in use; 0: flows are not told apart */
__u32 payload_at;                   /* offset of the payload in frames that arrive */

/* The flow of a turn. */
static __always_inline __u32 flow_of(__u64 number) {
  if (!plan.is_scattered) {
    __u32 each = plan.each ? plan.each : 1;
    __u32 block = plan.block ? plan.block : 1;
    return plan.first_flow + (__u32)(number / (each * block) * block + number % block);
  }
  __u32 mask = plan.flow_mask;
  __u32 flow = (__u32)number & mask; /* all steps map the numbers up to the mask one to one */
  flow ^= flow >> 7;
  flow = flow * 2654435761u & mask;
  flow ^= flow >> 9;
  flow = flow * 2246822519u & mask;
  return plan.first_flow + flow;
}

static long is_due(__u32 turns, __u64* due) {
  (void)turns;
  return bpf_ktime_get_ns() >= *due;
}

static __always_inline void wait_for_turn(void) {
  __u64 now = bpf_ktime_get_ns();
  if (!start) start = now;
  __u64 due = start + turn * plan.interval / 1000;
  if (now < due) bpf_loop(1 << 20, is_due, &due, 0);
}

SEC("xdp")
int generate(struct xdp_md* ctx) {
  if (plan.interval) wait_for_turn();
  __u32 flow = flow_of(turn++);
  __u8* frame = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  /* The page may have been through a tunnel: the process gives the length, we all of the bytes. */
  if (frame + 96 > (__u8*)end) return XDP_ABORTED;
  __builtin_memcpy(frame, plan.frame, 96);
  __be32 client = bpf_htonl(plan.first_client + (flow >> TRAFFIC_PORTS_SHIFT));
  __be16 port = bpf_htons(TRAFFIC_FIRST_PORT + (flow & ((1 << TRAFFIC_PORTS_SHIFT) - 1)));
  struct traffic_payload payload = {.magic = TRAFFIC_MAGIC, .flow = flow};
  if (plan.is_stamped) payload.sent = bpf_ktime_get_ns();
  __u64 sum = (__u64)plan.base_sum + client + port + payload.flow + (__u32)payload.sent +
              (__u32)(payload.sent >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  __u16 checksum = ~sum;
  if (!checksum) checksum = 0xffff;
  __u8* transport = frame + sizeof(struct ethhdr) + (plan.is_ipv6 ? 40 : 20);
  if (transport + 8 + sizeof(payload) > (__u8*)end) return XDP_ABORTED;
  if (plan.is_ipv6) {
    *(__be32*)(frame + 14 + 20) = client;
  } else {
    *(__be32*)(frame + 14 + 12) = client;
    __u32* ip = (void*)(frame + 14);
    __u64 header = (__u64)ip[0] + ip[1] + ip[2] + ip[3] + ip[4]; /* its checksum is 0 */
    header = (header & 0xffffffff) + (header >> 32);
    header = (header & 0xffff) + (header >> 16);
    header = (header & 0xffff) + (header >> 16);
    header = (header & 0xffff) + (header >> 16);
    *(__u16*)(frame + 14 + 10) = ~header;
  }
  *(__be16*)transport = port;
  *(__u16*)(transport + 6) = checksum;
  __builtin_memcpy(transport + 8, &payload, sizeof(payload));
  return XDP_TX;
}

static __always_inline __u32 delay_bucket(__u64 delay) {
  __u32 shift = 0;
#pragma unroll
  for (int i = 0; i < 36; ++i) {
    if (delay >> shift >= 2 * TRAFFIC_DELAY_STEPS) ++shift;
  }
  /* `delay >> shift` is below 32 only without a shift. */
  return shift * TRAFFIC_DELAY_STEPS + (__u32)(delay >> shift);
}

/* Where the packets arrive. All other packets are the host's. */
SEC("xdp")
int sink(struct xdp_md* ctx) {
  __u32 at = payload_at;
  if (at > 200) return XDP_PASS;
  struct traffic_payload* payload = (void*)(long)ctx->data + at;
  if ((void*)(payload + 1) > (void*)(long)ctx->data_end) return XDP_PASS;
  if (payload->magic != TRAFFIC_MAGIC) return XDP_PASS;
  __u32 key = 0;
  struct traffic_counts* count = bpf_map_lookup_elem(&counts, &key);
  if (!count) return XDP_DROP;
  ++count->packets;
  if (counted_flows) {
    __u32 flow = payload->flow & (counted_flows - 1);
    __u64* packets = bpf_map_lookup_elem(&arrived, &flow);
    if (packets) __sync_fetch_and_add(packets, 1);
  }
  if (payload->sent) {
    __u64 delay = bpf_ktime_get_ns() - payload->sent;
    if (delay > count->longest) count->longest = delay;
    __u32 bucket = delay_bucket(delay);
    __u64* packets = bpf_map_lookup_elem(&delays, &bucket);
    if (packets) ++*packets;
  }
  return XDP_DROP;
}

/* What a director must do at least: give the frame other addresses and send it on. */
static __always_inline bool swap_addresses(struct xdp_md* ctx) {
  struct ethhdr* ethernet = (void*)(long)ctx->data;
  if ((void*)(ethernet + 1) > (void*)(long)ctx->data_end) return false;
  __u8 mac[6];
  __builtin_memcpy(mac, ethernet->h_dest, 6);
  __builtin_memcpy(ethernet->h_dest, ethernet->h_source, 6);
  __builtin_memcpy(ethernet->h_source, mac, 6);
  return true;
}

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} out SEC(".maps");

SEC("xdp")
int bare_tx(struct xdp_md* ctx) { return swap_addresses(ctx) ? XDP_TX : XDP_PASS; }

SEC("xdp")
int bare_redirect(struct xdp_md* ctx) {
  return swap_addresses(ctx) ? bpf_redirect_map(&out, 0, XDP_DROP) : XDP_PASS;
}

SEC("xdp")
int bare_drop(struct xdp_md* ctx) {
  (void)ctx;
  return XDP_DROP;
}

char traffic_license[] SEC("license") = "GPL";
