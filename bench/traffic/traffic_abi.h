/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* What the programs of the generator and its process agree on. C and C++. */
#pragma once

#include <linux/types.h>

enum {
  TRAFFIC_MAX_FRAME = 128,
  TRAFFIC_MAX_SYN = 80,
  TRAFFIC_SHARE_SHIFT = 16, /* a share is out of 2^16 */
  TRAFFIC_MAGIC = 0x51c4be9d,
  TRAFFIC_PORTS_SHIFT = 14, /* clients use so many ports each, from 1024 on */
  TRAFFIC_FIRST_PORT = 1024,
  /* Delays in buckets of a width of 1/32 of their power of two. */
  TRAFFIC_DELAY_STEPS = 32,
  TRAFFIC_DELAYS = 1200,
};

/* The UDP payload of a frame. */
struct traffic_payload {
  __u32 magic;
  __u32 flow;
  __u64 sent; /* CLOCK_MONOTONIC in ns; 0: not asked for */
};

/* How frames are made; the process writes it before a run. */
struct traffic_plan {
  __u8 frame[TRAFFIC_MAX_FRAME];
  __u32 size;
  __u32 is_ipv6;
  __u32 base_sum;     /* of all that the UDP checksum covers, what changes left out */
  __u32 first_client; /* the last 32 bits of the first client's address, of the host */
  __u32 first_flow;
  __u32 flow_mask;    /* scattered: flows - 1, a power of two less one */
  __u32 is_scattered; /* in a random order that meets each flow once a round */
  __u32 each;         /* in order: packets of a flow, */
  __u32 block;        /* and so many flows take turns */
  __u32 is_stamped;
  __u64 interval; /* picoseconds from packet to packet; 0: as fast as possible */
  /* TCP SYNs among the packets, each of a random client whose last 16 bits of address, and port,
   * are chosen anew. Their sequence number is the magic number. */
  __u8 syn[TRAFFIC_MAX_SYN];
  __u32 syn_size;
  __u32 syn_sum;     /* as base_sum */
  __u32 syn_client;  /* the last 32 bits of the first client's address, of the host */
  __u32 flood_share; /* of all packets; 0: none */
};

struct traffic_counts {
  __u64 packets;
  __u64 longest; /* delay in ns */
  __u64 syns;
};
