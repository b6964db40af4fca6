// SPDX-License-Identifier: GPL-2.0-or-later
/* Steers packets on served interfaces: plain packets of established connections are forwarded
 * here, the rest of what concerns a virtual service goes to the engine by AF_XDP, and everything
 * else stays the host's.
 *
 * The way of a packet: forward sends it on if its flow is published; else read_headers finds
 * addresses, protocol and ports; classify says whose it is; punt hands it to the socket of its
 * receive queue. Where there is no engine to take it, or more new flows come than it is to be
 * asked about, stand_in sends it on by what the engine has published, or drops and counts it: the
 * host would answer it with a reset. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/flow_path.h"
#include "bpf/steer_abi.h"
#include "bpf/steer_headers.h"

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
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, STEER_MAX_PREFIXES);
  __type(key, struct steer_prefix);
  __type(value, struct steer_prefix_use);
} snat_prefixes SEC(".maps");

/* Whether there are any prefixes of source NAT: without, nobody looks for them. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} snat_in_use SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, STEER_MAX_INTERFACES);
  __type(key, __u32); /* ifindex */
  __type(value, struct steer_interface);
} interfaces SEC(".maps");

/* After the maps that it looks interfaces up in. */
#include "bpf/stand_in.h"

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, STEER_MAX_SOCKETS);
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

/* stand_in4 and stand_in6: programs of their own, for a program has little stack, and so that
 * packets of published flows do not pay for them. */
struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u32);
} stand_ins SEC(".maps");

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

static __always_inline void count(enum steer_counter which) {
  __u32 key = which;
  __u64* value = bpf_map_lookup_elem(&counters, &key);
  if (value) ++*value;
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

/* Functions that are not static: the verifier looks at each of them once, whatever is known where
 * it is called, and forgets afterwards which way was taken in it. */
__noinline bool read_frame(struct xdp_md* ctx, struct headers* h, __be16* protocol) {
  if (!ctx || !h || !protocol) return false;
  struct linear frame = LINEAR(ctx);
  return read_headers(&frame, h, protocol);
}

__noinline bool read_frame_of_host(struct __sk_buff* skb, struct headers* h) {
  if (!skb || !h) return false;
  struct linear frame = LINEAR(skb);
  __be16 protocol = 0;
  return read_headers(&frame, h, &protocol);
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

__noinline int concerns_embedded(struct xdp_md* ctx, __u32 offset, __u32 family) {
  if (!ctx) return 0;
  struct linear frame = LINEAR(ctx);
  return concerns(&frame, offset, family);
}

__noinline int concerns_embedded_of_host(struct __sk_buff* skb, __u32 offset, __u32 family) {
  if (!skb) return 0;
  struct linear frame = LINEAR(skb);
  return concerns(&frame, offset, family);
}

static __always_inline struct steer_prefix_use* find_prefix(const struct steer_endpoint* end) {
  struct steer_prefix key = {
      .bits = STEER_PREFIX_FAMILY_BITS + (end->family == AF_INET ? 32 : 128),
      .family = bpf_htonl(end->family),
  };
  __builtin_memcpy(key.address, end->address, 16);
  return bpf_map_lookup_elem(&snat_prefixes, &key);
}

/* True for the protocols that source NAT translates, and errors about them. */
static __always_inline bool is_translated(const struct linear* frame, const struct headers* h) {
  if (!is_icmp(h)) return h->source.protocol == IPPROTO_TCP || h->source.protocol == IPPROTO_UDP;
  if (h->later) return true;
  __u8* type = bytes_at(frame, h->payload, 8);
  if (!type) return false;
  bool is_echo =
      h->source.family == AF_INET ? *type == 0 || *type == 8 : *type == 128 || *type == 129;
  return is_echo || is_icmp_error(h, *type);
}

/* Why a packet that concerns no service goes to the engine. */
__noinline int classify_snat(struct xdp_md* ctx, struct headers* h) {
  if (!ctx || !h) return STEER_PASSED;
  struct linear frame = LINEAR(ctx);
  __u8* link = bytes_at(&frame, 0, sizeof(struct ethhdr));
  if (!link || (link[0] & 1) || h->unreadable || !is_translated(&frame, h)) return STEER_PASSED;
  struct steer_prefix_use* to = find_prefix(&h->destination);
  if (to && (to->flags & STEER_PREFIX_OUTSIDE)) {
    if (h->fragment || is_icmp(h) || !(to->flags & STEER_PREFIX_OWN)) return STEER_SNAT;
    if (!read_ports(&frame, h)) return STEER_ODD;
    __u16 port = bpf_ntohs(h->destination.port);
    if (to->first_port <= port && port <= to->last_port) return STEER_SNAT;
    return STEER_PASSED;
  }
  if (to && (to->flags & STEER_PREFIX_OWN)) return STEER_PASSED;
  struct steer_prefix_use* from = find_prefix(&h->source);
  return from && (from->flags & STEER_PREFIX_INSIDE) ? STEER_SNAT : STEER_PASSED;
}

/* Why a packet goes to the engine; STEER_PASSED: no service is concerned. */
__noinline int classify(struct xdp_md* ctx, struct headers* h) {
  if (!ctx || !h) return STEER_PASSED;
  struct linear frame = LINEAR(ctx);
  if (is_icmp(h) && !h->fragment && !h->unreadable) {
    __u8* type = bytes_at(&frame, h->payload, 8);
    if (!type || !is_icmp_error(h, *type)) return STEER_PASSED;
    if (concerns_embedded(ctx, h->payload + 8, h->source.family)) return STEER_ICMP_ERROR;
    return STEER_PASSED;
  }
  __u32 to = address_flags(&h->destination) & (STEER_ADDRESS_VIRTUAL | STEER_ADDRESS_VIRTUAL_ALL);
  __u32 from = address_flags(&h->source) & (STEER_ADDRESS_REAL | STEER_ADDRESS_REAL_ALL);
  if (!to && !from) return STEER_PASSED;
  /* All fragments of a packet must meet in one place, and only the first has ports. */
  if (h->fragment) return STEER_FRAGMENT;
  if (h->unreadable || !read_ports(&frame, h)) return STEER_ODD;
  if (is_virtual(&h->destination, to)) return STEER_TO_VIRTUAL;
  if (is_real(&h->source, from)) return STEER_FROM_REAL;
  return STEER_PASSED;
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

/* Hands a packet to the socket of its receive queue; XDP_DROP: none listens there. */
static __always_inline int hand_over(struct xdp_md* ctx) {
  __u32 ifindex = ctx->ingress_ifindex;
  __u32 queue = ctx->rx_queue_index;
  struct steer_interface* interface = bpf_map_lookup_elem(&interfaces, &ifindex);
  if (!interface || queue >= interface->queues) return XDP_DROP;
  return bpf_redirect_map(&sockets, interface->first_socket + queue, XDP_DROP);
}

/* Which limit a packet for the engine is under. */
static __always_inline enum stand_in_turn turn_of(const struct linear* frame,
                                                  const struct headers* h, enum steer_counter why) {
  if (why == STEER_FROM_REAL) return STAND_IN_TURN_ANSWER;
  if (why != STEER_TO_VIRTUAL) return STAND_IN_TURNS;
  if (h->source.protocol == IPPROTO_UDP) return STAND_IN_TURN_UDP;
  if (h->source.protocol != IPPROTO_TCP) return STAND_IN_TURNS;
  __u8* tcp = bytes_at(frame, h->payload, TCP_HEADER);
  bool is_first = tcp && (tcp[13] & (TCP_MOVES | TCP_ACK)) == 0x02;
  return is_first ? STAND_IN_TURN_TCP : STAND_IN_TURNS;
}

/* True if the engine is not to be asked about a packet; why is left to stand_in. */
static __always_inline bool is_without_engine(const struct linear* frame, const struct headers* h,
                                              enum steer_counter why) {
  struct flow_settings* settings = entry_of(&flow_table_settings, 0);
  struct stand_in_control* control = entry_of(&stand_in_state, 0);
  struct stand_in_scratch* scratch = entry_of(&stand_in_scratches, 0);
  if (!settings || !control || !scratch || !settings->enabled) return false;
  scratch->is_alone = is_engine_gone(settings);
  if (scratch->is_alone) return true;
  __u32 interval = READ_ONCE(control->interval);
  if (!interval) return false;
  enum stand_in_turn turn = turn_of(frame, h, why);
  scratch->turn = turn;
  if (turn >= STAND_IN_TURNS) return false;
  if (turn != STAND_IN_TURN_ANSWER && READ_ONCE(control->is_full)) return true;
  return !has_turn(scratch, turn, interval);
}

/* True if a packet that no table is for may go to the engine after all: it was left to stand_in
 * because the engine is full, and there is a turn for it. */
static __always_inline bool may_try_engine(struct stand_in_scratch* scratch) {
  struct stand_in_control* control = entry_of(&stand_in_state, 0);
  if (!control || !READ_ONCE(control->is_full)) return false;
  return has_turn(scratch, STAND_IN_TURN_TCP, READ_ONCE(control->interval));
}

enum { STAND_IN4 = 0x100, STAND_IN6 = 0x101 }; /* beside the actions: a tail call is wanted */

static __always_inline int punt(struct xdp_md* ctx, const struct headers* h,
                                enum steer_counter why) {
  count(why);
  struct linear frame = LINEAR(ctx); /* read anew: calls forget what is known of the frame */
  if (!is_without_engine(&frame, h, why)) {
    int action = hand_over(ctx);
    if (action == XDP_REDIRECT) return action;
    struct stand_in_scratch* scratch = entry_of(&stand_in_scratches, 0);
    if (scratch) scratch->is_alone = true;
  }
  return h->source.family == AF_INET6 ? STAND_IN6 : STAND_IN4;
}

/* What is not forwarded: the engine's, or the host's. An action, or which program is to stand in
 * for the engine: the stack of this one is too large for a tail call from here. */
__noinline int steer_others(struct xdp_md* ctx) {
  if (!ctx) return XDP_ABORTED;
  struct headers h = {};
  __be16 protocol = 0;
  bool readable = read_frame(ctx, &h, &protocol);
  struct linear frame = LINEAR(ctx);
  if (protocol == bpf_htons(STEER_RETURN_PROTOCOL) && is_returned(ctx, &frame)) {
    count(STEER_RETURNED);
    return XDP_PASS;
  }
  enum steer_counter why = readable ? classify(ctx, &h) : STEER_PASSED;
  __u32 first = 0;
  __u32* has_snat = bpf_map_lookup_elem(&snat_in_use, &first);
  if (why == STEER_PASSED && readable && has_snat && *has_snat) why = classify_snat(ctx, &h);
  if (why == STEER_PASSED) {
    count(STEER_PASSED);
    return XDP_PASS;
  }
  return punt(ctx, &h, why);
}

SEC("xdp.frags")
int steer(struct xdp_md* ctx) {
  int action = forward(ctx);
  if (action != FLOW_NOT_FORWARDED) {
    count(STEER_FORWARDED);
    return action;
  }
  action = steer_others(ctx);
  if (action < STAND_IN4) return action;
  bpf_tail_call(ctx, &stand_ins, action - STAND_IN4);
  count(STEER_DROP_NO_SOCKET);
  return XDP_DROP;
}

static __always_inline int stand_in(struct xdp_md* ctx, bool is_ipv6) {
  bool is_known = false;
  int action = stand_in_for_engine(ctx, is_ipv6, &is_known);
  if (action != FLOW_NOT_FORWARDED) {
    count(STEER_STOOD_IN);
    return action;
  }
  struct stand_in_scratch* scratch = entry_of(&stand_in_scratches, 0);
  if (!scratch || scratch->is_alone) {
    count(STEER_DROP_NO_SOCKET);
    return XDP_DROP;
  }
  /* The limit is for flows that could be others' as well: a connection that stays with the engine
   * is not to suffer from it. */
  if (scratch->turn == STAND_IN_TURN_TCP && !is_known && !may_try_engine(scratch)) {
    count(STEER_DROP_LIMIT);
    return XDP_DROP;
  }
  action = hand_over(ctx);
  if (action != XDP_REDIRECT) count(STEER_DROP_NO_SOCKET);
  return action;
}

SEC("xdp.frags")
int stand_in4(struct xdp_md* ctx) { return stand_in(ctx, false); }

SEC("xdp.frags")
int stand_in6(struct xdp_md* ctx) { return stand_in(ctx, true); }

/* Run once by the loader, which has set the length of a tick: says when jiffy 0 was. */
SEC("xdp")
int set_clock(struct xdp_md* ctx) {
  (void)ctx;
  struct flow_settings* settings = entry_of(&flow_table_settings, 0);
  if (!settings) return XDP_ABORTED;
  settings->tick_zero = bpf_ktime_get_coarse_ns() - bpf_jiffies64() * settings->tick;
  return XDP_PASS;
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
  struct headers h = {};
  if (!read_frame_of_host(skb, &h)) return TC_ACT_UNSPEC;
  struct linear frame = LINEAR(skb);
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
