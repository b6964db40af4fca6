/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Sends packets of flows that XDP does not know on by itself (see stand_in_abi.h). For the XDP
 * program only.
 *
 * Only the way of flows is decided here; what is done to packets is what flow_path.h does to those
 * of published flows, and what is not plain there is not sent on here either. */
#pragma once

#include "bpf/flow_path.h"
#include "bpf/stand_in_abi.h"

FLOW_ARRAY(stand_in_state, stand_in_control, 1);
FLOW_ARRAY(stand_in_ends, stand_in_end, FLOW_ENDS);
FLOW_ARRAY(stand_in_ports, stand_in_port, FLOW_DEVICES);
/* The loader sets the sizes of these. */
FLOW_ARRAY(stand_in_slots, stand_in_pair, 1);
FLOW_ARRAY(stand_in_notes, stand_in_note, 1);

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct stand_in_scratch);
} stand_in_scratches SEC(".maps");

/* A flow that is not published. */
struct stand_in_packet {
  struct flow_packet packet;
  __u64 client[2];
  __u32 end; /* virtual, of a request; real, of an answer */
  __u8 tcp_flags;
  bool is_known; /* published: the packet is not plain */
};

static __always_inline __u64 coarse_second(void) {
  return bpf_ktime_get_coarse_ns() >> FLOW_ALIVE_SHIFT;
}

static __always_inline void stamp(__u64* place) {
  __u64 now = coarse_second();
  if (READ_ONCE(*place) != now) *(volatile __u64*)place = now;
}

/* True if a CPU may hand one more flow of this kind to the engine: one an interval, and what was
 * not used in the last moments. */
static __always_inline bool has_turn(struct stand_in_scratch* scratch, enum stand_in_turn kind,
                                     __u32 interval) {
  __u64 now = bpf_ktime_get_coarse_ns();
  __u64 next = scratch->next[kind];
  __u64 earliest = now - (1ULL << STAND_IN_BURST_SHIFT);
  if (next < earliest) next = earliest;
  if (next > now) return false;
  scratch->next[kind] = next + interval;
  return true;
}

static __always_inline struct stand_in_note* note_at(const struct stand_in_control* control,
                                                     __u32 first, __u32 probe) {
  __u32 place = first + probe;
  if (place >= control->notes) place -= control->notes;
  return entry_of(&stand_in_notes, place);
}

static __always_inline struct stand_in_note* find_note(const struct stand_in_control* control,
                                                       const struct flow_settings* settings,
                                                       const struct stand_in_packet* it) {
  __u32 flow = stand_in_flow(it->packet.ports[0], it->end);
  __u32 first = stand_in_place(settings, it->client, flow, control->notes);
  for (__u32 i = 0; i < STAND_IN_PROBES; ++i) {
    struct stand_in_note* note = note_at(control, first, i);
    if (!note) return 0;
    if (!(READ_ONCE(note->state) & STAND_IN_NOTED) || note->flow != flow) continue;
    if (note->client[0] == it->client[0] && note->client[1] == it->client[1]) return note;
  }
  return 0;
}

/* Null: there is no room. */
static __always_inline struct stand_in_note* add_note(struct stand_in_control* control,
                                                      const struct flow_settings* settings,
                                                      const struct stand_in_packet* it,
                                                      __u32 target) {
  __u32 flow = stand_in_flow(it->packet.ports[0], it->end);
  __u32 first = stand_in_place(settings, it->client, flow, control->notes);
  for (__u32 i = 0; i < STAND_IN_PROBES; ++i) {
    struct stand_in_note* note = note_at(control, first, i);
    if (!note) return 0;
    if (READ_ONCE(note->state) != STAND_IN_FREE) continue;
    if (__sync_val_compare_and_swap(&note->state, STAND_IN_FREE, STAND_IN_CLAIMED) != STAND_IN_FREE)
      continue;
    note->client[0] = it->client[0];
    note->client[1] = it->client[1];
    note->flow = flow;
    note->target = target;
    note->age = 0;
    /* An atomic operation, so that it comes after what was stored. */
    __sync_val_compare_and_swap(&note->state, STAND_IN_CLAIMED, STAND_IN_NOTED);
    __sync_fetch_and_add(&control->noted, 1);
    return note;
  }
  return 0;
}

static __always_inline void update_note(struct stand_in_note* note,
                                        const struct stand_in_packet* it, bool is_first) {
  __u32 state = READ_ONCE(note->state);
  __u32 fresh = state;
  if (!is_first) fresh |= STAND_IN_GOES_ON;
  if (it->tcp_flags & 0x05) fresh |= STAND_IN_ENDS;
  /* The engine may take the note away at any time. */
  if (fresh != state) __sync_val_compare_and_swap(&note->state, state, fresh);
}

/* Chooses the target of a request and sets the words of its flow; false: it is not to be sent on.
 */
static __always_inline bool choose_target(struct stand_in_control* control,
                                          const struct flow_settings* settings,
                                          struct stand_in_scratch* scratch,
                                          struct stand_in_packet* it) {
  struct stand_in_end* end = entry_of(&stand_in_ends, it->end);
  if (!end) return false;
  __u64 word = READ_ONCE(end->word);
  if (stand_in_kind_of(word) != STAND_IN_VIRTUAL) return false;
  bool is_alone = scratch->is_alone;
  bool is_first = it->packet.protocol == IPPROTO_UDP || (it->tcp_flags & 0x17) == 0x02;
  it->packet.age = &scratch->age;
  struct stand_in_note* note = is_alone ? find_note(control, settings, it) : 0;
  if (note) {
    update_note(note, it, it->packet.protocol != IPPROTO_UDP && is_first);
    it->packet.age = &note->age;
    it->packet.words = flow_words(READ_ONCE(note->target), 0, 0, 0);
    return true;
  }
  /* What goes on and has no note may be a flow that the engine knew. Unless there were more flows
   * than room for notes. */
  __u64 unnoted = READ_ONCE(control->unnoted);
  bool may_go_on = is_alone && unnoted && coarse_second() - unnoted < control->timeout;
  if (!is_first && !may_go_on) return false;
  __u32 flags = stand_in_flags_of(word);
  __u32 slot =
      stand_in_choice(settings, it->client, it->packet.ports[0], flags, stand_in_slots_of(word));
  slot += stand_in_first_of(word);
  struct stand_in_pair* chosen = entry_of(&stand_in_slots, slot / 2);
  if (!chosen) return false;
  __u32 target = READ_ONCE(chosen->targets[slot & 1]);
  it->packet.words = flow_words(target, 0, 0, 0);
  if (flags & STAND_IN_ONE_PACKET) return true;
  if (is_alone && is_first) {
    note = add_note(control, settings, it, target);
    if (note) {
      it->packet.age = &note->age;
      return true;
    }
    __sync_fetch_and_add(&control->full, 1);
  }
  stamp(&control->unnoted);
  return true;
}

/* Finds the way to the client as the host would. */
static __always_inline bool find_way(struct xdp_md* ctx, const struct linear* frame,
                                     const struct flow_packet* packet, struct flow_hop* hop,
                                     bool is_ipv6) {
  struct bpf_fib_lookup query = {};
  query.family = is_ipv6 ? AF_INET6 : AF_INET;
  query.l4_protocol = packet->protocol;
  query.tot_len = (__u16)packet->ip_size;
  query.ifindex = ctx->ingress_ifindex;
  if (is_ipv6) {
    struct ipv6_wire* header = bytes_at(frame, sizeof(struct ethhdr), sizeof(*header));
    if (!header) return false;
    __builtin_memcpy(query.ipv6_src, header->source, 16);
    __builtin_memcpy(query.ipv6_dst, header->destination, 16);
  } else {
    struct ipv4_words* ip = bytes_at(frame, sizeof(struct ethhdr), sizeof(*ip));
    if (!ip) return false;
    query.ipv4_src = ip->word[3];
    query.ipv4_dst = ip->word[4];
  }
  if (bpf_fib_lookup(ctx, &query, sizeof(query), 0) != BPF_FIB_LKUP_RET_SUCCESS) return false;
  __u32 ifindex = query.ifindex;
  struct steer_interface* interface = bpf_map_lookup_elem(&interfaces, &ifindex);
  if (!interface) return false;
  struct stand_in_port* port = entry_of(&stand_in_ports, interface->host_queue);
  if (!port || port->ifindex != ifindex) return false;
  hop->ifindex = ifindex;
  hop->device = (__u16)interface->host_queue;
  hop->by_redirect = port->by_redirect;
  __builtin_memcpy(hop->destination_mac, query.dmac, 6);
  __builtin_memcpy(hop->source_mac, query.smac, 6);
  return true;
}

/* An answer of a real endpoint that belongs to one virtual endpoint. */
static __always_inline int stand_in_answer(struct xdp_md* ctx, const struct flow_settings* settings,
                                           struct stand_in_scratch* scratch,
                                           struct stand_in_packet* it, bool is_ipv6) {
  struct stand_in_end* own = entry_of(&stand_in_ends, it->end);
  if (!own) return FLOW_NOT_FORWARDED;
  __u64 word = READ_ONCE(own->word);
  if (stand_in_kind_of(word) != STAND_IN_REAL) return FLOW_NOT_FORWARDED;
  struct flow_endpoint* entry = entry_of(&flow_endpoints, stand_in_virtual_end_of(word));
  struct flow_endpoint end;
  if (!entry || !COPY_ENTRY(&end, entry)) return FLOW_NOT_FORWARDED;
  struct linear frame = LINEAR(ctx);
  struct flow_hop hop = {};
  if (!find_way(ctx, &frame, &it->packet, &hop, is_ipv6)) return FLOW_NOT_FORWARDED;
  it->packet.words = flow_words(stand_in_target_of(word), 0, 0, 0);
  it->packet.age = &scratch->age;
  return answer_from(ctx, settings, &it->packet, &hop, &end, is_ipv6);
}

/* Reads a packet and finds its endpoint; false: it is not one that can be sent on. */
static __always_inline bool read_unknown4(const struct linear* frame,
                                          const struct flow_settings* settings,
                                          struct stand_in_packet* it) {
  struct ipv4_words* ip = bytes_at(frame, sizeof(struct ethhdr), sizeof(*ip) + 8);
  if (!ip) return false;
  struct ipv4_wire* header = (struct ipv4_wire*)ip;
  if (header->version_length != 0x45 || (bpf_ntohs(header->fragment) & 0x3fff)) return false;
  __u8 protocol = header->protocol;
  __be16* ports = (__be16*)(ip + 1);
  it->packet.protocol = protocol;
  it->packet.ports[0] = ports[0];
  it->packet.ports[1] = ports[1];
  it->end = find_end4(settings, flow_end_key4(ip->word[4], ports[1], protocol, FLOW_VIRTUAL));
  if (it->end) {
    it->client[0] = ip->word[3];
    it->is_known = find_flow4(settings, flow_key4(ip->word[3], ports[0], it->end), &it->packet);
  } else {
    it->packet.is_answer = true;
    it->end = find_end4(settings, flow_end_key4(ip->word[3], ports[0], protocol, FLOW_REAL));
    it->is_known =
        it->end && find_flow4(settings, flow_key4(ip->word[4], ports[1], it->end), &it->packet);
  }
  return it->end && describe4(ip, &it->packet);
}

static __always_inline bool read_unknown6(const struct linear* frame,
                                          const struct flow_settings* settings,
                                          struct stand_in_packet* it) {
  struct ipv6_wire* header = bytes_at(frame, sizeof(struct ethhdr), sizeof(*header) + 8);
  if (!header || bpf_ntohl(header->version_class_flow) >> 28 != 6) return false;
  __u8 protocol = header->next;
  __be16* ports = (__be16*)(header + 1);
  it->packet.protocol = protocol;
  it->packet.ports[0] = ports[0];
  it->packet.ports[1] = ports[1];
  __u64 destination[2];
  __builtin_memcpy(it->client, header->source, 16);
  __builtin_memcpy(destination, header->destination, 16);
  it->end = find_end6(settings, destination, flow_end_tail6(ports[1], protocol, FLOW_VIRTUAL));
  if (it->end) {
    it->is_known = find_flow6(settings, it->client, ports[0], it->end, &it->packet);
  } else {
    it->packet.is_answer = true;
    it->end = find_end6(settings, it->client, flow_end_tail6(ports[0], protocol, FLOW_REAL));
    it->is_known = it->end && find_flow6(settings, destination, ports[1], it->end, &it->packet);
  }
  return it->end && describe6(header, &it->packet);
}

/* Sends a packet of a flow that is not published on; FLOW_NOT_FORWARDED, and nothing but notes
 * changed: it can't be. `is_known`: its flow is published after all. */
static __always_inline int stand_in_for_engine(struct xdp_md* ctx, bool is_ipv6, bool* is_known) {
  struct flow_settings* settings = entry_of(&flow_table_settings, 0);
  struct stand_in_control* control = entry_of(&stand_in_state, 0);
  struct stand_in_scratch* scratch = entry_of(&stand_in_scratches, 0);
  if (!settings || !control || !scratch || !READ_ONCE(settings->enabled)) return FLOW_NOT_FORWARDED;
  struct linear frame = LINEAR(ctx);
  struct stand_in_packet it = {};
  it.packet.may_begin = true;
  if (!(is_ipv6 ? read_unknown6(&frame, settings, &it) : read_unknown4(&frame, settings, &it)))
    return FLOW_NOT_FORWARDED;
  *is_known = it.is_known;
  if (it.is_known || !measure(ctx, &frame, &it.packet)) return FLOW_NOT_FORWARDED;
  frame = (struct linear)LINEAR(ctx);
  if (it.packet.protocol == IPPROTO_TCP) {
    __u8* tcp = bytes_at(&frame, it.packet.transport, TCP_HEADER);
    if (!tcp) return FLOW_NOT_FORWARDED;
    it.tcp_flags = tcp[13];
  } else if (it.packet.protocol != IPPROTO_UDP) {
    return FLOW_NOT_FORWARDED;
  }
  int action;
  if (it.packet.is_answer) {
    action = stand_in_answer(ctx, settings, scratch, &it, is_ipv6);
  } else {
    if (!choose_target(control, settings, scratch, &it)) return FLOW_NOT_FORWARDED;
    action = forward_request(ctx, settings, &it.packet, is_ipv6);
  }
  if (action != FLOW_NOT_FORWARDED) stamp(&control->stood_in);
  return action;
}
