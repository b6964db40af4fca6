/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* What the XDP program and the data path agree on: map keys and values, counters, the header of
 * frames that return to the host. C and C++. */
#pragma once

#ifdef __cplusplus
#include <linux/types.h>
#endif

/* The end of a conversation that packets are steered by. `family` is AF_INET or AF_INET6; an IPv4
 * address takes the first four bytes, the rest is zero. On the virtual side port 0 is every port.
 */
struct steer_endpoint {
  __u8 address[16];
  __be16 port;
  __u8 protocol;
  __u8 family;
};

/* An address that has endpoints, of any protocol and port. */
struct steer_address {
  __u8 address[16];
  __u32 family;
};

/* Value of the address map: which sides the address has endpoints on. "All" is set when the
 * endpoint map is full, and on addresses whose packets may get firewall marks: then whatever the
 * address gets (or sends) goes to the engine, which hands to the host what is none of its
 * business. */
enum steer_address_flag {
  STEER_ADDRESS_VIRTUAL = 1,
  STEER_ADDRESS_REAL = 2,
  STEER_ADDRESS_VIRTUAL_ALL = 4,
  STEER_ADDRESS_REAL_ALL = 8,
};

/* Addresses of source NAT: the longest prefix says all. `bits` counts from the family on. */
struct steer_prefix {
  __u32 bits;
  __be32 family;
  __u8 address[16];
};

enum { STEER_PREFIX_FAMILY_BITS = 32 };

enum steer_prefix_flag {
  STEER_PREFIX_INSIDE = 1,  /* packets from there may be translated */
  STEER_PREFIX_OUTSIDE = 2, /* packets to its ports may be answers */
  STEER_PREFIX_OWN = 4,     /* an address of the host */
};

struct steer_prefix_use {
  __u32 flags;
  __u16 first_port; /* of the host's byte order; of TCP and UDP */
  __u16 last_port;
};

/* A served interface: its AF_XDP sockets are `queues` slots of the socket map from `first_socket`;
 * what the host itself sends and the engine must see goes to `host_queue` of the TAP. */
struct steer_interface {
  __u32 first_socket;
  __u32 queues;
  __u32 host_queue;
};

enum steer_counter {
  STEER_PASSED,         /* to the host: no service is concerned */
  STEER_TO_VIRTUAL,     /* to the engine: for a virtual endpoint */
  STEER_FROM_REAL,      /* to the engine: from a real endpoint (NAT) */
  STEER_ICMP_ERROR,     /* to the engine: an ICMP error about one of these or about a tunnel */
  STEER_FRAGMENT,       /* to the engine: a fragment for or from an address with endpoints */
  STEER_ODD,            /* to the engine: unreadable headers, an address with endpoints */
  STEER_RETURNED,       /* generic mode: the engine's own hand-over to the host */
  STEER_DROP_NO_SOCKET, /* of those for the engine, dropped: none listens on this queue */
  STEER_FROM_HOST,      /* to the engine: sent by a real server on the director itself */
  STEER_HOST_DROP,      /* dropped on the way to the host: no interface for the TAP queue */
  STEER_FORWARDED,      /* sent on here, of published flows */
  STEER_SNAT,           /* to the engine: for source NAT to translate */
  STEER_STOOD_IN,       /* sent on here, of flows that only the engine knows (stand_in_abi.h) */
  STEER_DROP_LIMIT,     /* dropped: a new flow beyond the limit, with no way but the engine */
  STEER_COUNTERS,
};

enum {
  STEER_MAX_SOCKETS = 1024,
  STEER_MAX_INTERFACES = 256, /* as many queues as a TAP has */
  STEER_MAX_PREFIXES = 65536,
};

/* Generic XDP sees a packet again that is redirected to the interface's ingress. So in that mode
 * the engine puts this header before a frame for the host; the XDP program knows it by a secret
 * of this run, takes it off and lets the frame pass. The form is an Ethernet header's, so that
 * the kernel carries it. */
struct steer_return_header {
  __u8 secret[12];
  __be16 protocol; /* STEER_RETURN_PROTOCOL */
} __attribute__((packed));

#define STEER_RETURN_PROTOCOL 0x88b5 /* IEEE 802 local experimental */
