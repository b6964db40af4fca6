/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Puts plain packets into tunnels: IPIP, GRE and GUE without checksums. For the XDP program only.
 */
#pragma once

#include "bpf/flow_forward.h"

enum { TUNNEL_IPIP = 0, TUNNEL_GUE = 1, TUNNEL_GRE = 2 }; /* as the model numbers them */
enum { GRE_SIZE = 4, GUE_SIZE = UDP_HEADER + 4 };

static __always_inline __u32 tunnel_overhead(const struct flow_target* target) {
  __u32 outer = target->family == AF_INET ? 20 : 40;
  if (target->tunnel == TUNNEL_GRE) return outer + GRE_SIZE;
  return target->tunnel == TUNNEL_GUE ? outer + GUE_SIZE : outer;
}

/* The inner flow mixed to a port of the ephemeral range, as the engine does it. `at`: offset of the
 * inner IP header. */
static __always_inline __be16 flow_port(const struct linear* frame,
                                        const struct flow_packet* packet, bool is_ipv6, __u32 at) {
  __u64 hash = (__u64)bpf_ntohs(packet->ports[0]) << 16 | bpf_ntohs(packet->ports[1]);
  __u32 width = is_ipv6 ? 16 : 4;
  at += is_ipv6 ? 8 : 12;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    __u64 word = 0;
    if (i == 0 || is_ipv6) {
      __be32* source = bytes_at(frame, at + i * 4, 4);
      __be32* destination = bytes_at(frame, at + width + i * 4, 4);
      if (!source || !destination) return 0;
      word = (__u64)bpf_ntohl(*source) << 32 | bpf_ntohl(*destination);
    }
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;
  }
  return bpf_htons((__u16)(32768 + (((hash & 0xffffffff) * (60999 - 32768)) >> 32)));
}

/* Fields that differ from packet to packet; at most one per CPU makes the same at a time. */
static __always_inline __be16 next_identification(void) {
  __u32* value = entry_of(&flow_identification, 0);
  return value ? bpf_htons((__u16)++ * value) : 0;
}

static __always_inline bool write_outer4(const struct linear* frame,
                                         const struct flow_target* target,
                                         const struct flow_packet* packet, bool is_ipv6,
                                         __u8 protocol, __u8 tos, __u32 size) {
  struct ipv4_words* ip = bytes_at(frame, sizeof(struct ethhdr), sizeof(*ip));
  if (!ip) return false;
  bool dont_fragment = !is_ipv6 && packet->dont_fragment && (target->flags & FLOW_TARGET_COPY_DF);
  struct ipv4_wire* header = (struct ipv4_wire*)ip;
  header->version_length = 0x45;
  header->tos = tos;
  header->total_length = bpf_htons((__u16)size);
  header->id = dont_fragment ? 0 : next_identification();
  header->fragment = dont_fragment ? bpf_htons(0x4000) : 0;
  header->ttl = packet->ttl - 1;
  header->protocol = protocol;
  header->checksum = 0;
  ip->word[3] = *(const __u32*)target->source;
  ip->word[4] = *(const __u32*)target->address;
  __u64 sum = (__u64)ip->word[0] + ip->word[1] + ip->word[2] + ip->word[3] + ip->word[4];
  header->checksum = ~fold(sum);
  return true;
}

static __always_inline bool write_outer6(const struct linear* frame,
                                         const struct flow_target* target,
                                         const struct flow_packet* packet, __u8 protocol, __u8 tos,
                                         __u32 size) {
  struct ipv6_wire* header = bytes_at(frame, sizeof(struct ethhdr), sizeof(*header));
  if (!header) return false;
  header->version_class_flow = bpf_htonl(0x60000000U | (__u32)tos << 20);
  header->payload_length = bpf_htons((__u16)(size - sizeof(*header)));
  header->next = protocol;
  header->hop_limit = packet->ttl - 1;
  __builtin_memcpy(header->source, target->source, 16);
  __builtin_memcpy(header->destination, target->address, 16);
  return true;
}

static __always_inline bool write_shim(const struct linear* frame, const struct flow_target* target,
                                       const struct flow_packet* packet, bool is_ipv6, __u32 at,
                                       __u32 inner) {
  if (target->tunnel == TUNNEL_GRE) {
    __be16* gre = bytes_at(frame, at, GRE_SIZE);
    if (!gre) return false;
    gre[0] = 0;
    gre[1] = bpf_htons(is_ipv6 ? ETH_P_IPV6 : ETH_P_IP);
  } else if (target->tunnel == TUNNEL_GUE) {
    __be16* udp = bytes_at(frame, at, GUE_SIZE);
    if (!udp) return false;
    udp[0] = flow_port(frame, packet, is_ipv6, inner);
    udp[1] = target->tunnel_port;
    udp[2] = bpf_htons((__u16)(packet->ip_size + GUE_SIZE));
    udp[3] = 0;
    udp[4] = bpf_htons(is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IPIP); /* version 0, data */
    udp[5] = 0;
  }
  return true;
}

/* Puts the outer headers before a packet whose hop has been taken. False: the frame has no room
 * and is as it was, but for its hop. */
static __always_inline bool encapsulate(struct xdp_md* ctx, const struct flow_packet* packet,
                                        const struct flow_target* target, bool is_ipv6) {
  __u32 overhead = tunnel_overhead(target);
  if (bpf_xdp_adjust_head(ctx, -(int)overhead)) return false;
  struct linear frame = LINEAR(ctx);
  __u8 inner = is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
  __u8 protocol = target->tunnel == TUNNEL_GRE   ? IPPROTO_GRE
                  : target->tunnel == TUNNEL_GUE ? IPPROTO_UDP
                                                 : inner;
  /* ECN: "congestion experienced" inside is ECT(0) outside (RFC 3168, 9.1.1). */
  __u8 tos = (packet->tos & 3) == 3 ? (packet->tos & ~3) | 2 : packet->tos;
  __u32 size = packet->ip_size + overhead;
  __u32 at = sizeof(struct ethhdr) + (target->family == AF_INET ? 20 : 40);
  if (!write_shim(&frame, target, packet, is_ipv6, at, sizeof(struct ethhdr) + overhead))
    return false;
  return target->family == AF_INET
             ? write_outer4(&frame, target, packet, is_ipv6, protocol, tos, size)
             : write_outer6(&frame, target, packet, protocol, tos, size);
}
