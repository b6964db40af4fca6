// SPDX-License-Identifier: GPL-2.0-or-later
/* Steers packets on served interfaces: what concerns a virtual service goes to the engine by
 * AF_XDP, everything else stays the host's.
 *
 * The way of a packet: read_headers finds addresses, protocol and ports; classify says whose it is;
 * punt hands it to the socket of its receive queue. A forwarding step (the flow table) belongs
 * between the last two. Without an engine on the queue a service's packet is dropped and counted:
 * the host would answer it with a reset. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
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

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 65536); /* the loader sets the number */
  __type(key, struct steer_endpoint);
  __type(value, __u32);
} virtual_ends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 65536);
  __type(key, struct steer_endpoint);
  __type(value, __u32);
} real_ends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 65536);
  __type(key, struct steer_address);
  __type(value, __u32);
} addresses SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, STEER_MAX_INTERFACES);
  __type(key, __u32); /* ifindex */
  __type(value, struct steer_interface);
} interfaces SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, STEER_MAX_SOCKETS);
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, STEER_MAX_INTERFACES);
  __type(key, __u32);   /* queue of the TAP */
  __type(value, __u32); /* ifindex; 0: none */
} host_interfaces SEC(".maps");

/* The TAP. A device map, because the kernel takes the device out of it when it goes: what a killed
 * director leaves on an interface (a filter, before Linux 6.6) then lets all packets pass. */
struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} host_device SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, STEER_COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

const volatile __u8 return_secret[12];

/* The headers that steering looks at. */
struct headers {
  struct steer_endpoint source;
  struct steer_endpoint destination;
  __u32 payload;   /* offset of what follows the IP headers */
  bool fragment;   /* more fragments follow or precede */
  bool later;      /* not the first fragment: `payload` is no transport header */
  bool unreadable; /* the walk over extension headers did not come to an end */
};

static __always_inline void count(enum steer_counter which) {
  __u32 key = which;
  __u64* value = bpf_map_lookup_elem(&counters, &key);
  if (value) ++*value;
}

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

static __always_inline __u32 address_flags(const struct steer_endpoint* end) {
  struct steer_address key = {.family = end->family};
  __builtin_memcpy(key.address, end->address, 16);
  __u32* flags = bpf_map_lookup_elem(&addresses, &key);
  return flags ? *flags : 0;
}

static __always_inline bool is_virtual(struct steer_endpoint* end, __u32 flags) {
  if (!(flags & STEER_ADDRESS_VIRTUAL)) return false;
  if (flags & STEER_ADDRESS_VIRTUAL_ALL) return true;
  if (bpf_map_lookup_elem(&virtual_ends, end)) return true;
  __be16 port = end->port;
  end->port = 0;
  bool any_port = bpf_map_lookup_elem(&virtual_ends, end);
  end->port = port;
  return any_port;
}

static __always_inline bool is_real(struct steer_endpoint* end, __u32 flags) {
  if (!(flags & STEER_ADDRESS_REAL)) return false;
  if (flags & STEER_ADDRESS_REAL_ALL) return true;
  return bpf_map_lookup_elem(&real_ends, end);
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

/* True for an ICMP error about an answer of a virtual endpoint, about a packet on its way to a real
 * endpoint, or about a tunnel packet (only the engine can tell whose). */
static __always_inline int concerns(const struct linear* frame, __u32 offset, __u32 family) {
  struct headers h = {};
  if (!(family == AF_INET ? read_ipv4(frame, offset, &h) : read_ipv6(frame, offset, &h))) return 0;
  if (h.later || h.unreadable) return 0;
  if (is_tunnel(h.source.protocol)) return 1;
  if (!read_ports(frame, &h)) return 0;
  return is_virtual(&h.source, address_flags(&h.source)) ||
         is_real(&h.destination, address_flags(&h.destination));
}

/* Subprograms of their own: the verifier then walks over the embedded headers once. */
static __noinline int concerns_embedded(struct xdp_md* ctx, __u32 offset, __u32 family) {
  if (!ctx) return 0;
  struct linear frame = LINEAR(ctx);
  return concerns(&frame, offset, family);
}

static __noinline int concerns_embedded_of_host(struct __sk_buff* skb, __u32 offset, __u32 family) {
  if (!skb) return 0;
  struct linear frame = LINEAR(skb);
  return concerns(&frame, offset, family);
}

/* Why a packet goes to the engine; STEER_PASSED: it does not. */
static __always_inline enum steer_counter classify(struct xdp_md* ctx, const struct linear* frame,
                                                   struct headers* h) {
  if (is_icmp(h) && !h->fragment && !h->unreadable) {
    __u8* type = bytes_at(frame, h->payload, 8);
    if (!type || !is_icmp_error(h, *type)) return STEER_PASSED;
    if (concerns_embedded(ctx, h->payload + 8, h->source.family)) return STEER_ICMP_ERROR;
    return STEER_PASSED;
  }
  __u32 to = address_flags(&h->destination) & (STEER_ADDRESS_VIRTUAL | STEER_ADDRESS_VIRTUAL_ALL);
  __u32 from = address_flags(&h->source) & (STEER_ADDRESS_REAL | STEER_ADDRESS_REAL_ALL);
  if (!to && !from) return STEER_PASSED;
  /* All fragments of a packet must meet in one place, and only the first has ports. */
  if (h->fragment) return STEER_FRAGMENT;
  if (h->unreadable || !read_ports(frame, h)) return STEER_ODD;
  if (is_virtual(&h->destination, to)) return STEER_TO_VIRTUAL;
  if (is_real(&h->source, from)) return STEER_FROM_REAL;
  return STEER_PASSED;
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

/* Takes the engine's own header off a frame that returns to the host; false if it has none. */
static __always_inline bool is_returned(struct xdp_md* ctx, const struct linear* frame) {
  struct steer_return_header* header = bytes_at(frame, 0, sizeof(*header) + sizeof(struct ethhdr));
  if (!header || header->protocol != bpf_htons(STEER_RETURN_PROTOCOL)) return false;
#pragma unroll
  for (int i = 0; i < 12; ++i) {
    if (header->secret[i] != return_secret[i]) return false;
  }
  return bpf_xdp_adjust_head(ctx, sizeof(*header)) == 0;
}

static __always_inline int punt(struct xdp_md* ctx, enum steer_counter why) {
  count(why);
  __u32 ifindex = ctx->ingress_ifindex;
  __u32 queue = ctx->rx_queue_index;
  struct steer_interface* interface = bpf_map_lookup_elem(&interfaces, &ifindex);
  if (interface && queue < interface->queues) {
    int action = bpf_redirect_map(&sockets, interface->first_socket + queue, XDP_DROP);
    if (action == XDP_REDIRECT) return action;
  }
  count(STEER_DROP_NO_SOCKET);
  return XDP_DROP;
}

SEC("xdp.frags")
int steer(struct xdp_md* ctx) {
  struct linear frame = LINEAR(ctx);
  struct headers h = {};
  __be16 protocol = 0;
  bool readable = read_headers(&frame, &h, &protocol);
  if (protocol == bpf_htons(STEER_RETURN_PROTOCOL) && is_returned(ctx, &frame)) {
    count(STEER_RETURNED);
    return XDP_PASS;
  }
  enum steer_counter why = readable ? classify(ctx, &frame, &h) : STEER_PASSED;
  if (why == STEER_PASSED) {
    count(STEER_PASSED);
    return XDP_PASS;
  }
  return punt(ctx, why);
}

/* True if the engine must see what the host itself sends: answers of a real server on the director
 * (from a real endpoint with NAT, from the virtual address without), and ICMP errors about them. */
static __always_inline bool is_answer_of_host(struct __sk_buff* skb, const struct linear* frame,
                                              struct headers* h) {
  if (is_icmp(h) && !h->fragment && !h->unreadable) {
    __u8* type = bytes_at(frame, h->payload, 8);
    if (!type || !is_icmp_error(h, *type)) return false;
    return concerns_embedded_of_host(skb, h->payload + 8, h->source.family);
  }
  __u32 flags = address_flags(&h->source);
  if (!flags) return false;
  if (h->fragment) return true;
  if (h->unreadable || !read_ports(frame, h)) return false;
  return is_real(&h->source, flags) || is_virtual(&h->source, flags);
}

/* On the egress of a served interface: answers of servers on the director do not come by any XDP
 * program. They go to the engine by the TAP, in the queue of the interface that they were leaving
 * by; on their way into that device the kernel cuts up merged segments and completes checksums.
 * The engine sends by AF_XDP or past the queueing discipline: its own packets are not seen here.
 *
 * What is forwarded has an ingress interface and was seen there. */
SEC("tc")
int catch_answers(struct __sk_buff* skb) {
  if (skb->ingress_ifindex) return TC_ACT_UNSPEC;
  __u32 ifindex = skb->ifindex;
  struct steer_interface* interface = bpf_map_lookup_elem(&interfaces, &ifindex);
  __u32 first = 0;
  __u32* device = bpf_map_lookup_elem(&host_device, &first);
  if (!interface || !device) return TC_ACT_UNSPEC;
  struct linear frame = LINEAR(skb);
  struct headers h = {};
  __be16 protocol = 0;
  if (!read_headers(&frame, &h, &protocol)) return TC_ACT_UNSPEC;
  if (!is_answer_of_host(skb, &frame, &h)) return TC_ACT_UNSPEC;
  count(STEER_FROM_HOST);
  skb->queue_mapping = interface->host_queue;
  return bpf_redirect(*device, 0);
}

/* Which queue of the TAP a caught answer goes to. */
SEC("socket")
int pick_queue(struct __sk_buff* skb) { return skb->queue_mapping; }

/* On the TAP's ingress: puts a frame into the ingress of the interface that it came from, which
 * the queue of the TAP tells. So it is that interface's packet again whatever rp_filter says. */
SEC("tc")
int return_to_host(struct __sk_buff* skb) {
  __u32 queue = skb->queue_mapping - 1;
  __u32* ifindex = bpf_map_lookup_elem(&host_interfaces, &queue);
  if (!ifindex || !*ifindex) {
    count(STEER_HOST_DROP);
    return TC_ACT_SHOT;
  }
  return bpf_redirect(*ifindex, BPF_F_INGRESS);
}

/* The helpers that the steering uses are open to programs of this licence only. */
char steer_license[] SEC("license") = "GPL";
