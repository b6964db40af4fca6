/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* What XDP goes by where it decides about flows that it does not know, because no engine is there
 * to ask, or because more new flows come than the engine is to be asked about or has room for. C
 * and C++.
 *
 *   packet --> end (number of the virtual endpoint) --> its table: hash of the client --> target
 *
 * The engine publishes a table for each service. Where no engine is there XDP notes each new flow,
 * with the target that it got: its later packets go by the note, and the next engine takes the
 * notes over. The engine alone writes tables; XDP makes notes, and the engine takes them away.
 *
 * Everything is an array that the engine maps, as in flow_abi.h. */
#pragma once

#include "bpf/flow_abi.h"

enum {
  STAND_IN_PROBES = 8,       /* places where a note may be */
  STAND_IN_BURST_SHIFT = 27, /* unused turns are kept for so many ns (2^27: 134 ms) */
};

/* How new flows of an endpoint are sent on: a word, so that a change is one store. 0: not at all.
 *
 * A virtual endpoint: first slot 24 | slots 16 | flags 8 | - | kind 8.
 * A real endpoint: virtual endpoint 16 | target 32 | - | kind 8; all that it sends is an answer of
 * that endpoint. */
struct stand_in_end {
  __u64 word;
};

enum stand_in_kind { STAND_IN_NONE = 0, STAND_IN_VIRTUAL = 1, STAND_IN_REAL = 2 };

enum stand_in_flag {
  STAND_IN_BY_ADDRESS = 1, /* all flows of a client go to one target */
  STAND_IN_ONE_PACKET = 2, /* every packet is a flow: nothing is noted */
};

/* Two slots of tables: numbers of destinations. (The kernel gives an element of an array 8 bytes at
 * least.) */
struct stand_in_pair {
  __u32 targets[2];
};

enum stand_in_note_state {
  STAND_IN_FREE = 0,
  STAND_IN_CLAIMED = 1, /* being written */
  STAND_IN_NOTED = 2,
  STAND_IN_GOES_ON = 4, /* a packet followed the first */
  STAND_IN_ENDS = 8,    /* the client sent FIN or RST */
};

/* A flow that began without an engine. `state` is claimed by compare-and-exchange and set last. */
struct stand_in_note {
  __u64 client[2]; /* an IPv4 address is the first four bytes */
  __u32 flow;      /* client port | number of the virtual endpoint << 16 */
  __u32 target;
  __u32 state;
  __u16 age; /* as of a flow */
  __u16 reserved;
};

/* By slot of the device map: an interface that XDP can send out of. */
struct stand_in_port {
  __u32 ifindex; /* 0: none */
  __u32 by_redirect;
};

struct stand_in_control {
  /* Written by the engine. */
  __u32 notes;    /* how many there may be */
  __u32 interval; /* ns between two new flows that a CPU hands to the engine; 0: no limit */
  __u32 timeout;  /* of established TCP connections, in 2^FLOW_ALIVE_SHIFT ns */
  __u32 is_full;  /* the engine has hardly any room: it is not to be asked where a table will do */
  __u64 reserved_words[6];
  /* Written by XDP, in a line of its own. */
  __u64 noted;    /* notes made so far */
  __u64 unnoted;  /* when a flow went by a table without a note, in 2^FLOW_ALIVE_SHIFT ns */
  __u64 stood_in; /* when XDP decided last, in the same unit */
  __u64 full;     /* new flows that found no room for a note */
  __u64 reserved_counters[4];
};

/* Of a CPU: when the next flow of each kind has its turn, and what a program leaves to the one that
 * it hands the packet to. */
enum stand_in_turn {
  STAND_IN_TURN_TCP,
  STAND_IN_TURN_UDP,
  STAND_IN_TURN_ANSWER,
  STAND_IN_TURNS, /* has no limit */
};
struct stand_in_scratch {
  __u64 next[STAND_IN_TURNS];
  __u32 is_alone; /* there is no engine: none has run for some seconds, or none listens */
  __u16 turn;     /* the kind whose turns are used up */
  __u16 age;      /* of a flow without a note: nobody reads it */
};

#ifdef __cplusplus
static_assert(sizeof(stand_in_note) == 32 && sizeof(stand_in_control) == 128);
#endif

FLOW_INLINE __u64 stand_in_virtual(__u32 first, __u32 slots, __u32 flags) {
  return first | FLOW_CAST(__u64, slots) << 24 | FLOW_CAST(__u64, flags) << 40 |
         FLOW_CAST(__u64, STAND_IN_VIRTUAL) << 56;
}
FLOW_INLINE __u64 stand_in_real(__u32 virtual_end, __u32 target) {
  return virtual_end | FLOW_CAST(__u64, target) << 16 | FLOW_CAST(__u64, STAND_IN_REAL) << 56;
}
FLOW_INLINE __u32 stand_in_kind_of(__u64 word) { return FLOW_CAST(__u32, word >> 56); }
FLOW_INLINE __u32 stand_in_first_of(__u64 word) { return FLOW_CAST(__u32, word) & 0xffffff; }
FLOW_INLINE __u32 stand_in_slots_of(__u64 word) { return FLOW_CAST(__u32, word >> 24) & 0xffff; }
FLOW_INLINE __u32 stand_in_flags_of(__u64 word) { return FLOW_CAST(__u32, word >> 40) & 0xff; }
FLOW_INLINE __u32 stand_in_virtual_end_of(__u64 word) { return FLOW_CAST(__u32, word) & 0xffff; }
FLOW_INLINE __u32 stand_in_target_of(__u64 word) { return FLOW_CAST(__u32, word >> 16); }

FLOW_INLINE __u32 stand_in_flow(__u16 client_port, __u32 end) { return client_port | end << 16; }

/* The slot of a client in a table of `slots`, and the first place of a note. */
FLOW_INLINE __u32 stand_in_choice(const struct flow_settings* settings, const __u64* client,
                                  __u16 client_port, __u32 flags, __u32 slots) {
  __u64 port = flags & STAND_IN_BY_ADDRESS ? 0 : client_port;
  return flow_second(flow_hash6(settings, client[0], client[1], port), slots);
}
FLOW_INLINE __u32 stand_in_place(const struct flow_settings* settings, const __u64* client,
                                 __u32 flow, __u32 notes) {
  return flow_first(flow_hash6(settings, client[0], client[1], flow), notes);
}
