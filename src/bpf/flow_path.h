/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* The way of a packet whose flow is published. For the XDP program only. */
#pragma once

#include "bpf/flow_forward.h"
#include "bpf/flow_tunnel.h"

/* Sends a finished frame to its next hop. */
static __always_inline int leave_by(struct xdp_md* ctx, const struct flow_hop* hop, bool is_ipv6) {
  struct linear frame = LINEAR(ctx);
  struct ethhdr* ethernet = bytes_at(&frame, 0, sizeof(*ethernet));
  if (!ethernet) return XDP_DROP;
  __builtin_memcpy(ethernet->h_dest, hop->destination_mac, 6);
  __builtin_memcpy(ethernet->h_source, hop->source_mac, 6);
  ethernet->h_proto = bpf_htons(is_ipv6 ? ETH_P_IPV6 : ETH_P_IP);
  if (hop->ifindex == ctx->ingress_ifindex && !hop->by_redirect) return XDP_TX;
  return bpf_redirect_map(&flow_devices, hop->device, XDP_DROP);
}

/* Finds out how much lies behind the IP packet; false if the frame ends before it does. */
static __always_inline bool measure(struct xdp_md* ctx, const struct linear* frame,
                                    struct flow_packet* packet) {
  __u64 wanted = sizeof(struct ethhdr) + packet->ip_size;
  if (frame->begin + wanted == frame->end) return true;
  __u64 size = bpf_xdp_get_buff_len(ctx); /* a large frame has parts elsewhere */
  if (size < wanted) return false;
  packet->padding = size - wanted;
  return true;
}

/* Cuts what lies behind the IP packet: the padding of short frames. */
static __always_inline bool trim(struct xdp_md* ctx, const struct flow_packet* packet) {
  return !packet->padding || bpf_xdp_adjust_tail(ctx, -(int)packet->padding) == 0;
}

/* Gives an answer the virtual endpoint as its source and sends it. */
static __always_inline int answer_from(struct xdp_md* ctx, const struct flow_settings* settings,
                                       const struct flow_packet* packet, const struct flow_hop* hop,
                                       const struct flow_endpoint* end, bool is_ipv6) {
  struct linear frame = LINEAR(ctx);
  if (!is_plain(&frame, settings, packet, is_ipv6, true) || !trim(ctx, packet))
    return FLOW_NOT_FORWARDED;
  frame = (struct linear)LINEAR(ctx);
  if (!take_hop(&frame, is_ipv6) ||
      !translate(&frame, packet, is_ipv6, true, end->address, end->port)) {
    return XDP_DROP;
  }
  note_use(settings, packet);
  count_flow(settings, packet);
  return leave_by(ctx, hop, is_ipv6);
}

/* The answer of a masqueraded server of a published flow. */
static __always_inline int forward_answer(struct xdp_md* ctx, const struct flow_settings* settings,
                                          const struct flow_packet* packet, bool is_ipv6) {
  struct flow_hop* hop_entry = entry_of(&flow_hops, flow_hop_of(packet->words));
  struct flow_endpoint* end_entry = entry_of(&flow_endpoints, flow_virtual_end_of(packet->words));
  struct flow_target* target = entry_of(&flow_targets, flow_target_of(packet->words));
  if (!hop_entry || !end_entry || !target) return FLOW_NOT_FORWARDED;
  struct flow_hop hop;
  struct flow_endpoint end;
  if (!COPY_ENTRY(&hop, hop_entry) || !COPY_ENTRY(&end, end_entry)) return FLOW_NOT_FORWARDED;
  if (!hop.ifindex || packet->ip_size > hop.mtu) return FLOW_NOT_FORWARDED;
  /* A removed server's answers are counted by nobody. */
  if (READ_ONCE(target->method) == FLOW_PUNT) return FLOW_NOT_FORWARDED;
  return answer_from(ctx, settings, packet, &hop, &end, is_ipv6);
}

/* A request to a server on the director itself: the host takes it. */
static __always_inline int forward_local(struct xdp_md* ctx, const struct flow_settings* settings,
                                         const struct flow_packet* packet,
                                         const struct flow_target* target, bool is_ipv6) {
  struct linear frame = LINEAR(ctx);
  bool is_rewritten = target->method == FLOW_MASQUERADE;
  if (!is_plain(&frame, settings, packet, is_ipv6, is_rewritten)) return FLOW_NOT_FORWARDED;
  if (is_rewritten && !translate(&frame, packet, is_ipv6, false, target->address, target->port))
    return XDP_DROP;
  note_use(settings, packet);
  count_flow(settings, packet);
  return XDP_PASS;
}

/* From outside to a connection of SNAT: gets the inside host as its destination. */
static __always_inline int forward_inward(struct xdp_md* ctx, const struct flow_settings* settings,
                                          const struct flow_packet* packet, bool is_ipv6) {
  struct flow_hop* hop_entry = entry_of(&flow_hops, flow_hop_of(packet->words));
  struct flow_endpoint* end_entry = entry_of(&flow_endpoints, flow_virtual_end_of(packet->words));
  if (!hop_entry || !end_entry) return FLOW_NOT_FORWARDED;
  struct flow_hop hop;
  struct flow_endpoint end;
  if (!COPY_ENTRY(&hop, hop_entry) || !COPY_ENTRY(&end, end_entry)) return FLOW_NOT_FORWARDED;
  if (!hop.ifindex || packet->ip_size > hop.mtu) return FLOW_NOT_FORWARDED;
  struct linear frame = LINEAR(ctx);
  if (!is_plain(&frame, settings, packet, is_ipv6, true) || !trim(ctx, packet))
    return FLOW_NOT_FORWARDED;
  frame = (struct linear)LINEAR(ctx);
  if (!take_hop(&frame, is_ipv6) ||
      !translate(&frame, packet, is_ipv6, false, end.address, end.port)) {
    return XDP_DROP;
  }
  note_use(settings, packet);
  count_flow(settings, packet);
  return leave_by(ctx, &hop, is_ipv6);
}

static __always_inline int forward_request(struct xdp_md* ctx, const struct flow_settings* settings,
                                           const struct flow_packet* packet, bool is_ipv6) {
  struct flow_target* entry = entry_of(&flow_targets, flow_target_of(packet->words));
  if (!entry) return FLOW_NOT_FORWARDED;
  struct flow_target target;
  if (!COPY_ENTRY(&target, entry) || target.method == FLOW_PUNT) return FLOW_NOT_FORWARDED;
  if (target.method == FLOW_SNAT) return forward_inward(ctx, settings, packet, is_ipv6);
  if (packet->ip_size > target.mtu) return FLOW_NOT_FORWARDED;
  if (target.flags & FLOW_TARGET_LOCAL)
    return forward_local(ctx, settings, packet, &target, is_ipv6);
  struct flow_hop* hop_entry = entry_of(&flow_hops, target.hop);
  struct flow_hop hop;
  if (!hop_entry || !COPY_ENTRY(&hop, hop_entry) || !hop.ifindex) return FLOW_NOT_FORWARDED;

  struct linear frame = LINEAR(ctx);
  bool is_rewritten = target.method == FLOW_MASQUERADE;
  if (!is_plain(&frame, settings, packet, is_ipv6, is_rewritten) || !trim(ctx, packet))
    return FLOW_NOT_FORWARDED;
  frame = (struct linear)LINEAR(ctx);
  if (!take_hop(&frame, is_ipv6)) return XDP_DROP;
  bool leaves_as_ipv6 = is_ipv6;
  if (is_rewritten) {
    if (!translate(&frame, packet, is_ipv6, false, target.address, target.port)) return XDP_DROP;
  } else if (target.method == FLOW_TUNNEL) {
    if (!encapsulate(ctx, packet, &target, is_ipv6)) return XDP_DROP;
    leaves_as_ipv6 = target.family == AF_INET6;
  }
  note_use(settings, packet);
  count_flow(settings, packet);
  return leave_by(ctx, &hop, leaves_as_ipv6);
}

/* Forwards a packet of a published flow; FLOW_NOT_FORWARDED, and nothing changed, if it is none or
 * not plain. */
static __always_inline int forward(struct xdp_md* ctx) {
  struct flow_settings* settings = entry_of(&flow_table_settings, 0);
  if (!settings || !READ_ONCE(settings->enabled)) return FLOW_NOT_FORWARDED;
  struct linear frame = LINEAR(ctx);
  struct ethhdr* ethernet = bytes_at(&frame, 0, sizeof(*ethernet));
  if (!ethernet) return FLOW_NOT_FORWARDED;
  struct flow_packet packet = {};
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
    if (!recognise4(&frame, settings, &packet)) return FLOW_NOT_FORWARDED;
    if (!measure(ctx, &frame, &packet)) return FLOW_NOT_FORWARDED;
    return packet.is_answer ? forward_answer(ctx, settings, &packet, false)
                            : forward_request(ctx, settings, &packet, false);
  }
  if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
    if (!recognise6(&frame, settings, &packet)) return FLOW_NOT_FORWARDED;
    if (!measure(ctx, &frame, &packet)) return FLOW_NOT_FORWARDED;
    return packet.is_answer ? forward_answer(ctx, settings, &packet, true)
                            : forward_request(ctx, settings, &packet, true);
  }
  return FLOW_NOT_FORWARDED;
}
