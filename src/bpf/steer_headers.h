/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Reads what steering looks at of a frame: addresses, protocol, ports. For BPF programs only. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/steer_abi.h"

#define AF_INET 2
#define AF_INET6 10

enum {
  MAX_OFFSET = 1500, /* headers are looked for in this part of a frame */
  MAX_VLAN_TAGS = 2,
  MAX_EXTENSION_HEADERS = 8,
  PORT_ISAKMP = 500,
};

/* The headers that steering looks at. */
struct headers {
  struct steer_endpoint source;
  struct steer_endpoint destination;
  __u32 payload;   /* offset of what follows the IP headers */
  bool fragment;   /* more fragments follow or precede */
  bool later;      /* not the first fragment: `payload` is no transport header */
  bool unreadable; /* the walk over extension headers did not come to an end */
};

/* The linear part of a frame, of an XDP or a tc program. */
struct linear {
  void* begin;
  void* end;
};

#define LINEAR(ctx) \
  { .begin = (void*)(long)(ctx)->data, .end = (void*)(long)(ctx)->data_end }

/* `size` bytes at `offset`, or null. */
static __always_inline void* bytes_at(const struct linear* frame, __u32 offset, __u32 size) {
  if (offset > MAX_OFFSET) return 0;
  void* bytes = frame->begin + offset;
  if (bytes + size > frame->end) return 0;
  return bytes;
}

/* Wire headers, only what is read of them. */
struct ipv4_wire {
  __u8 version_length;
  __u8 tos;
  __be16 total_length;
  __be16 id;
  __be16 fragment;
  __u8 ttl;
  __u8 protocol;
  __be16 checksum;
  __u8 source[4];
  __u8 destination[4];
};

struct ipv6_wire {
  __be32 version_class_flow;
  __be16 payload_length;
  __u8 next;
  __u8 hop_limit;
  __u8 source[16];
  __u8 destination[16];
};

static __always_inline bool read_ipv4(const struct linear* frame, __u32 offset, struct headers* h) {
  struct ipv4_wire* ip = bytes_at(frame, offset, sizeof(*ip));
  if (!ip || ip->version_length >> 4 != 4) return false;
  __u32 length = (ip->version_length & 15) * 4;
  if (length < sizeof(*ip)) return false;
  h->source.family = h->destination.family = AF_INET;
  __builtin_memcpy(h->source.address, ip->source, 4);
  __builtin_memcpy(h->destination.address, ip->destination, 4);
  h->source.protocol = h->destination.protocol = ip->protocol;
  __u16 fragment = bpf_ntohs(ip->fragment);
  h->fragment = fragment & 0x3fff; /* MF and the offset */
  h->later = fragment & 0x1fff;
  h->payload = offset + length;
  return true;
}

/* Walks over extension headers as the kernel's IPVS does: up to the first that is none, the
 * authentication header being one of those walked over. */
static __always_inline bool read_ipv6(const struct linear* frame, __u32 offset, struct headers* h) {
  struct ipv6_wire* ip = bytes_at(frame, offset, sizeof(*ip));
  if (!ip || (bpf_ntohl(ip->version_class_flow) >> 28) != 6) return false;
  h->source.family = h->destination.family = AF_INET6;
  __builtin_memcpy(h->source.address, ip->source, 16);
  __builtin_memcpy(h->destination.address, ip->destination, 16);
  __u8 next = ip->next;
  offset += sizeof(*ip);
  h->unreadable = true;
#pragma unroll
  for (int i = 0; i <= MAX_EXTENSION_HEADERS; ++i) {
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
        next != IPPROTO_FRAGMENT && next != IPPROTO_AH) {
      h->unreadable = false;
      break;
    }
    __u8* extension = bytes_at(frame, offset, 8);
    if (!extension) break;
    if (next == IPPROTO_FRAGMENT) {
      __u16 fragment = (__u16)(extension[2] << 8 | extension[3]);
      h->fragment = true; /* an atomic one too (RFC 6946): the engine takes the header off */
      h->later = fragment & 0xfff8;
      offset += 8;
    } else if (next == IPPROTO_AH) {
      offset += (extension[1] + 2) * 4;
    } else {
      offset += (extension[1] + 1) * 8;
    }
    next = extension[0];
    if (h->later) { /* what follows is data */
      h->unreadable = false;
      break;
    }
  }
  h->source.protocol = h->destination.protocol = next;
  h->payload = offset;
  return true;
}

static __always_inline bool has_ports(__u8 protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

/* Sets the ports; false if the packet ends before them. ESP and AH go with the key exchange that
 * set them up, as IPVS has it. */
static __always_inline bool read_ports(const struct linear* frame, struct headers* h) {
  __u8 protocol = h->source.protocol;
  if (has_ports(protocol)) {
    __be16* ports = bytes_at(frame, h->payload, 4);
    if (!ports) return false;
    h->source.port = ports[0];
    h->destination.port = ports[1];
  } else if (protocol == IPPROTO_ESP || protocol == IPPROTO_AH) {
    h->source.protocol = h->destination.protocol = IPPROTO_UDP;
    h->source.port = h->destination.port = bpf_htons(PORT_ISAKMP);
  }
  return true;
}

static __always_inline bool is_icmp(const struct headers* h) {
  return h->source.protocol ==
         (h->source.family == AF_INET ? (__u8)IPPROTO_ICMP : (__u8)IPPROTO_ICMPV6);
}

/* The ICMP errors that IPVS relates to connections: unreachable, source quench and time exceeded;
 * every ICMPv6 type below 128. */
static __always_inline bool is_icmp_error(const struct headers* h, __u8 type) {
  if (h->source.family == AF_INET) return type == 3 || type == 4 || type == 11;
  return type < 128;
}

static __always_inline bool is_tunnel(__u8 protocol) {
  return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE;
}

/* Finds the IP header behind the tags of a frame; 0 if there is none that concerns us. */
static __always_inline __u32 find_ip(const struct linear* frame, __be16* protocol) {
  struct ethhdr* ethernet = bytes_at(frame, 0, sizeof(*ethernet));
  if (!ethernet) return 0;
  __be16 type = ethernet->h_proto;
  __u32 offset = sizeof(*ethernet);
#pragma unroll
  for (int i = 0; i < MAX_VLAN_TAGS; ++i) {
    if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD)) break;
    __be16* tag = bytes_at(frame, offset, 4);
    if (!tag) return 0;
    type = tag[1];
    offset += 4;
  }
  *protocol = type;
  return offset;
}

/* Reads what steering looks at; false if it is nothing of IP. */
static __always_inline bool read_headers(const struct linear* frame, struct headers* h,
                                         __be16* protocol) {
  __u32 offset = find_ip(frame, protocol);
  if (!offset) return false;
  if (*protocol == bpf_htons(ETH_P_IP)) return read_ipv4(frame, offset, h);
  if (*protocol == bpf_htons(ETH_P_IPV6)) return read_ipv6(frame, offset, h);
  return false;
}
