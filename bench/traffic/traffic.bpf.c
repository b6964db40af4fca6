// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes UDP packets of many flows, and TCP SYNs among them (run with BPF_F_TEST_XDP_LIVE_FRAMES on
 * the clients' interface), counts and times them where they arrive, and does on a director the
 * least that can be done. */
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
__u32 reflects;                     /* whether what arrives is sent back */

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

static __always_inline __u16 folded(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

/* Sets the client's address in an IP header that is complete but for it. */
static __always_inline void set_client(__u8* header, __be32 client) {
  if (plan.is_ipv6) {
    *(__be32*)(header + 20) = client;
    return;
  }
  *(__be32*)(header + 12) = client;
  __u32* ip = (void*)header;
  __u64 sum = (__u64)ip[0] + ip[1] + ip[2] + ip[3] + ip[4]; /* its checksum is 0 */
  *(__u16*)(header + 10) = folded(sum);
}

static __always_inline int make_syn(struct xdp_md* ctx) {
  __u8* frame = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  if (frame + TRAFFIC_MAX_SYN > (__u8*)end) return XDP_ABORTED;
  __builtin_memcpy(frame, plan.syn, TRAFFIC_MAX_SYN);
  __u32 random = bpf_get_prandom_u32();
  __be32 client = bpf_htonl(plan.syn_client + (random & 0xffff));
  __be16 port = random >> 16;
  set_client(frame + sizeof(struct ethhdr), client);
  __u8* transport = frame + sizeof(struct ethhdr) + (plan.is_ipv6 ? 40 : 20);
  if (transport + 20 > (__u8*)end) return XDP_ABORTED;
  *(__be16*)transport = port;
  *(__u16*)(transport + 16) = folded((__u64)plan.syn_sum + client + port);
  int surplus = end - (void*)frame - plan.syn_size;
  return bpf_xdp_adjust_tail(ctx, -surplus) ? XDP_ABORTED : XDP_TX;
}

SEC("xdp")
int generate(struct xdp_md* ctx) {
  if (plan.interval) wait_for_turn();
  __u64 number = turn++;
  __u64 syns = number * plan.flood_share >> TRAFFIC_SHARE_SHIFT;
  if ((number + 1) * plan.flood_share >> TRAFFIC_SHARE_SHIFT != syns) return make_syn(ctx);
  __u32 flow = flow_of(number - syns);
  __u8* frame = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  /* The page may have been through a tunnel: the process gives the length, we all of the bytes. */
  if (frame + 96 > (__u8*)end) return XDP_ABORTED;
  __builtin_memcpy(frame, plan.frame, 96);
  __be32 client = bpf_htonl(plan.first_client + (flow >> TRAFFIC_PORTS_SHIFT));
  __be16 port = bpf_htons(TRAFFIC_FIRST_PORT + (flow & ((1 << TRAFFIC_PORTS_SHIFT) - 1)));
  struct traffic_payload payload = {.magic = TRAFFIC_MAGIC, .flow = flow};
  if (plan.is_stamped) payload.sent = bpf_ktime_get_ns();
  __u16 checksum = folded((__u64)plan.base_sum + client + port + payload.flow +
                          (__u32)payload.sent + (__u32)(payload.sent >> 32));
  if (!checksum) checksum = 0xffff;
  __u8* transport = frame + sizeof(struct ethhdr) + (plan.is_ipv6 ? 40 : 20);
  if (transport + 8 + sizeof(payload) > (__u8*)end) return XDP_ABORTED;
  set_client(frame + sizeof(struct ethhdr), client);
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

/* What a server does that sends back what came; sums do not change by that. */
static __always_inline int reflect(struct xdp_md* ctx) {
  __u8* frame = (void*)(long)ctx->data;
  if (frame + 96 > (__u8*)(long)ctx->data_end) return XDP_DROP;
  __u8 mac[6];
  __builtin_memcpy(mac, frame, 6);
  __builtin_memcpy(frame, frame + 6, 6);
  __builtin_memcpy(frame + 6, mac, 6);
  __u8* addresses = frame + sizeof(struct ethhdr) + (plan.is_ipv6 ? 8 : 12);
  __u64 one[2], other[2];
  if (plan.is_ipv6) {
    __builtin_memcpy(one, addresses, 16);
    __builtin_memcpy(other, addresses + 16, 16);
    __builtin_memcpy(addresses, other, 16);
    __builtin_memcpy(addresses + 16, one, 16);
  } else {
    __builtin_memcpy(one, addresses, 4);
    __builtin_memcpy(other, addresses + 4, 4);
    __builtin_memcpy(addresses, other, 4);
    __builtin_memcpy(addresses + 4, one, 4);
  }
  __u16* ports = (void*)(frame + sizeof(struct ethhdr) + (plan.is_ipv6 ? 40 : 20));
  __u16 port = ports[0];
  ports[0] = ports[1];
  ports[1] = port;
  /* Not XDP_TX: Linux leaves such frames lying at a veth whose peer has no program. */
  return bpf_redirect(ctx->ingress_ifindex, 0);
}

/* Where the packets arrive. All other packets are the host's. */
SEC("xdp")
int sink(struct xdp_md* ctx) {
  /* The sequence number of a SYN lies four bytes before what is the payload of UDP. */
  __u32 at = payload_at - sizeof(__u32);
  __u32 key = 0;
  if (at > 200) return XDP_PASS;
  struct traffic_counts* count = bpf_map_lookup_elem(&counts, &key);
  if (!count) return XDP_DROP;
  __u32* sequence = (void*)(long)ctx->data + at;
  if ((void*)(sequence + 1) > (void*)(long)ctx->data_end) return XDP_PASS;
  if (*sequence == TRAFFIC_MAGIC) {
    ++count->syns;
    return XDP_DROP;
  }
  struct traffic_payload* payload = (void*)(sequence + 1);
  if ((void*)(payload + 1) > (void*)(long)ctx->data_end) return XDP_PASS;
  if (payload->magic != TRAFFIC_MAGIC) return XDP_PASS;
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
  return reflects ? reflect(ctx) : XDP_DROP;
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
