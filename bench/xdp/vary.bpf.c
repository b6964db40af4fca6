// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes a packet of another flow at every run and hands it to the program under test, so that
 * BPF_PROG_TEST_RUN, which repeats one packet, measures many flows. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { FRAME = 128 };

struct vary_frame {
  __u8 bytes[FRAME];
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct vary_frame);
} frames SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} under_test SEC(".maps");

__u32 flow_mask;    /* flows - 1, a power of two less one */
__u32 first_client; /* IPv6: the last 32 bits */
__u32 is_ipv6;
static __u32 turn;

static __always_inline void seal(struct iphdr* ip) {
  __u64 sum = 0;
  __u32* words = (__u32*)ip;
  ip->check = 0;
  for (int i = 0; i < 5; ++i) sum += words[i];
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  ip->check = ~sum;
}

SEC("xdp.frags")
int vary(struct xdp_md* ctx) {
  int grown = (int)(ctx->data_end - ctx->data) - FRAME;
  if (grown && bpf_xdp_adjust_head(ctx, grown)) return XDP_ABORTED;
  __u32 key = 0;
  struct vary_frame* frame = bpf_map_lookup_elem(&frames, &key);
  void* data = (void*)(long)ctx->data;
  if (!frame || data + FRAME > (void*)(long)ctx->data_end) return XDP_ABORTED;
  __builtin_memcpy(data, frame, FRAME);
  __u32 flow = (turn++ * 2654435761u) >> 8 & flow_mask;
  __be32 client = bpf_htonl(first_client + (flow >> 14));
  __be16* port =
      data + sizeof(struct ethhdr) + (is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
  if ((void*)(port + 1) > (void*)(long)ctx->data_end) return XDP_ABORTED;
  *port = bpf_htons(1024 + (flow & 0x3fff));
  if (is_ipv6) {
    struct ipv6hdr* ip = data + sizeof(struct ethhdr);
    ip->saddr.in6_u.u6_addr32[3] = client;
  } else {
    struct iphdr* ip = data + sizeof(struct ethhdr);
    ip->saddr = client;
    seal(ip);
  }
  bpf_tail_call(ctx, &under_test, 0);
  return XDP_ABORTED;
}

/* What every program that sends a packet back must do at least. */
SEC("xdp.frags")
int bare(struct xdp_md* ctx) {
  struct ethhdr* ethernet = (void*)(long)ctx->data;
  if ((void*)(ethernet + 1) > (void*)(long)ctx->data_end) return XDP_ABORTED;
  __u8 mac[6];
  __builtin_memcpy(mac, ethernet->h_dest, 6);
  __builtin_memcpy(ethernet->h_dest, ethernet->h_source, 6);
  __builtin_memcpy(ethernet->h_source, mac, 6);
  return XDP_TX;
}

char vary_license[] SEC("license") = "GPL";
