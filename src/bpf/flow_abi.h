/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* The flow table that the engine writes and the XDP program forwards by. C and C++.
 *
 * Memory, not a kernel hash map: BPF arrays that the engine maps, so that a flow is published by
 * two plain stores, and a packet touches few cache lines. The engine alone writes; XDP writes only
 * the ages of flows and the counters.
 *
 *   packet --> end (number of the virtual or real endpoint) --> flow --> target, hop --> out
 *
 * Addresses and ports lie as in packets; numbers are of the host, which is little-endian (as are
 * all targets of this program). */
#pragma once

#include <linux/types.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the words of the flow table are laid out for little-endian machines"
#endif

enum {
  FLOW_LAYOUT = 3, /* raised with every change that memory of before does not bear */
  FLOW_SLOTS4 = 4, /* in a bucket of one cache line */
  FLOW_SLOTS6 = 2,
  FLOW_ENDS = 65536, /* numbers of endpoints; 0 is none */
  FLOW_END_BUCKETS = 32768,
  FLOW_HOPS = 4096,   /* numbers of next hops; 0 is none */
  FLOW_DEVICES = 256, /* interfaces to send out of */
  FLOW_MAX_TARGETS = 1 << 20,
  FLOW_ALIVE_SHIFT = 30, /* about a second */
  FLOW_ALIVE_LIMIT = 3,  /* so long without a sign there is no engine */
  FLOW_AGE_SHIFT = 28,   /* an age counts 2^28 ns of CLOCK_MONOTONIC, modulo 2^16 */
};

/* Which side of a connection an endpoint is. */
enum flow_side { FLOW_VIRTUAL = 1, FLOW_REAL = 2 };

/* A flow, from a client to a virtual endpoint (a request) or seen from a real endpoint (the answer
 * to `client`). Key 0: free. It is published by clearing the key, writing the words, writing the
 * key; who reads takes key, words, key again. */
struct flow4 {
  __u64 key;   /* client address | client port << 32 | number of the endpoint << 48 */
  __u64 words; /* target 20 | hop 12 | other end 16 | age 16 */
};

struct flow_bucket4 {
  struct flow4 slots[FLOW_SLOTS4];
} __attribute__((aligned(64)));

/* The other end and the hop are what packets get and where they go: of answers (the virtual end),
 * and of what comes from outside to SNAT (the inside host). Of other requests the target says it.
 */

/* The same for IPv6, whose key takes several stores: `sequence` is odd meanwhile. */
struct flow6 {
  __u64 client[2];
  __u64 words;
  __be16 client_port;
  __u16 end; /* 0: free */
  __u32 sequence;
};

struct flow_bucket6 {
  struct flow6 slots[FLOW_SLOTS6];
} __attribute__((aligned(64)));

/* The number of an endpoint. */
struct flow_end4 {
  __u64 key; /* address | port << 32 | protocol << 48 | side << 56 */
  __u64 number;
};

struct flow_end_bucket4 {
  struct flow_end4 slots[4];
} __attribute__((aligned(64)));

struct flow_end6 {
  __u64 address[2];
  __u64 tail; /* port | protocol << 16 | side << 24 | number << 32; 0: free */
  __u64 sequence;
};

struct flow_end_bucket6 {
  struct flow_end6 slots[2];
} __attribute__((aligned(64)));

/* By number of an endpoint: what packets get as their source, or destination. */
struct flow_endpoint {
  __u32 sequence; /* odd while it changes */
  __be16 port;
  __u8 protocol;
  __u8 family;
  __u8 address[16];
  __u64 reserved;
};

enum flow_method {
  FLOW_PUNT = 0,
  FLOW_MASQUERADE = 1,
  FLOW_DIRECT = 2,
  FLOW_TUNNEL = 3,
  FLOW_SNAT = 4, /* the account of a SNAT rule: where packets go, each flow says */
};

enum flow_target_flag {
  FLOW_TARGET_LOCAL = 1,   /* the director's own address: the host takes the packet */
  FLOW_TARGET_COPY_DF = 2, /* tunnel: the outer header is told not to be fragmented, as the inner */
};

/* By number of a destination: how packets get to it. */
struct flow_target {
  __u32 sequence; /* odd while it changes */
  __u8 method;
  __u8 tunnel; /* TunnelType of the model */
  __u8 family; /* of `address` */
  __u8 flags;
  __u16 mtu; /* largest IP packet that goes to it as it came */
  __u16 hop;
  __be16 port; /* 0: that of the packet */
  __be16 tunnel_port;
  __u8 address[16];
  __u8 source[16]; /* of tunnel headers */
  __u64 reserved[2];
};

struct flow_hop {
  __u32 sequence; /* odd while it changes */
  __u32 ifindex;  /* 0: not known now */
  __u16 mtu;
  __u16 device; /* slot of the device map */
  __u8 destination_mac[6];
  __u8 source_mac[6];
  __u32 by_redirect; /* also for packets that came in by this interface */
  __u32 reserved;
};

/* By CPU and number of a destination. */
struct flow_counters {
  __u64 packets_in;
  __u64 bytes_in;
  __u64 packets_out;
  __u64 bytes_out;
};

struct flow_settings {
  __u32 layout;    /* FLOW_LAYOUT */
  __u32 enabled;   /* 0: no packet is forwarded here */
  __u64 secret[2]; /* of the hashes */
  __u32 buckets4;
  __u32 buckets6;
  __u32 targets;   /* counters of a CPU */
  __u32 cpus;      /* that have counters */
  __u64 alive;     /* when the engine ran last, in 2^FLOW_ALIVE_SHIFT ns */
  __u64 tick;      /* ns from one jiffy to the next */
  __u64 tick_zero; /* CLOCK_MONOTONIC at jiffy 0, modulo 2^64 */
};

#ifdef __cplusplus
#define FLOW_INLINE inline
#define FLOW_CAST(type, value) static_cast<type>(value)
static_assert(sizeof(flow_bucket4) == 64 && sizeof(flow_bucket6) == 64);
static_assert(sizeof(flow_end_bucket4) == 64 && sizeof(flow_end_bucket6) == 64);
static_assert(sizeof(flow_endpoint) == 32 && sizeof(flow_target) == 64 && sizeof(flow_hop) == 32);
static_assert(sizeof(flow_counters) == 32 && sizeof(flow_settings) == 64);
#else
#define FLOW_INLINE static inline __attribute__((always_inline))
#define FLOW_CAST(type, value) ((type)(value))
#endif

/* Mixes a word with a secret: two rounds of multiply and fold. Clients choose what goes in, and who
 * finds collisions only sends his own flows to the engine. */
FLOW_INLINE __u64 flow_mix(__u64 word, __u64 secret) {
  word ^= secret;
  word *= 0x9e3779b97f4a7c15ULL;
  word ^= word >> 32;
  word *= 0xd6e8feb86659fd93ULL;
  return word ^ (word >> 32);
}

FLOW_INLINE __u64 flow_hash4(const struct flow_settings* settings, __u64 key) {
  return flow_mix(key, settings->secret[0]);
}

FLOW_INLINE __u64 flow_hash6(const struct flow_settings* settings, __u64 high, __u64 low,
                             __u64 tail) {
  return flow_mix(flow_mix(flow_mix(high, settings->secret[0]) ^ low, settings->secret[1]) ^ tail,
                  settings->secret[0]);
}

/* The two buckets where an entry may be, of `count`. */
FLOW_INLINE __u32 flow_first(__u64 hash, __u32 count) {
  return FLOW_CAST(__u32, ((hash & 0xffffffffULL) * count) >> 32);
}
FLOW_INLINE __u32 flow_second(__u64 hash, __u32 count) {
  return FLOW_CAST(__u32, ((hash >> 32) * count) >> 32);
}

FLOW_INLINE __u64 flow_key4(__u32 client, __u16 client_port, __u32 end) {
  return client | FLOW_CAST(__u64, client_port) << 32 | FLOW_CAST(__u64, end) << 48;
}
FLOW_INLINE __u64 flow_end_key4(__u32 address, __u16 port, __u8 protocol, __u8 side) {
  return address | FLOW_CAST(__u64, port) << 32 | FLOW_CAST(__u64, protocol) << 48 |
         FLOW_CAST(__u64, side) << 56;
}
FLOW_INLINE __u64 flow_tail6(__u16 client_port, __u32 end) {
  return client_port | FLOW_CAST(__u64, end) << 16;
}
FLOW_INLINE __u64 flow_end_tail6(__u16 port, __u8 protocol, __u8 side) {
  return port | FLOW_CAST(__u64, protocol) << 16 | FLOW_CAST(__u64, side) << 24;
}

FLOW_INLINE __u64 flow_words(__u32 target, __u32 hop, __u32 virtual_end, __u32 age) {
  return target | FLOW_CAST(__u64, hop) << 20 | FLOW_CAST(__u64, virtual_end) << 32 |
         FLOW_CAST(__u64, age) << 48;
}
FLOW_INLINE __u32 flow_target_of(__u64 words) { return FLOW_CAST(__u32, words) & 0xfffff; }
FLOW_INLINE __u32 flow_hop_of(__u64 words) { return FLOW_CAST(__u32, words >> 20) & 0xfff; }
FLOW_INLINE __u32 flow_virtual_end_of(__u64 words) {
  return FLOW_CAST(__u32, words >> 32) & 0xffff;
}
FLOW_INLINE __u32 flow_age_of(__u64 words) { return FLOW_CAST(__u32, words >> 48); }
FLOW_INLINE __u32 flow_age_at(__u64 nanoseconds) {
  return FLOW_CAST(__u32, nanoseconds >> FLOW_AGE_SHIFT) & 0xffff;
}
