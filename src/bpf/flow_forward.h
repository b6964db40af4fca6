/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Forwards plain packets of published flows (see flow_abi.h). For the XDP program only.
 *
 * Whatever is not plain goes to the engine: tags, options, extension headers, fragments, a last
 * hop, a packet larger than the way, TCP flags that move a connection's state, a checksum that is
 * left to somebody further on, an entry that is about to change. Nothing of a packet is touched
 * before all of that is known. The result is byte for byte what the engine sends. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/flow_abi.h"
#include "bpf/steer_headers.h"

#define FLOW_ARRAY(name, element, entries) \
  struct {                                 \
    __uint(type, BPF_MAP_TYPE_ARRAY);      \
    __uint(map_flags, BPF_F_MMAPABLE);     \
    __uint(max_entries, entries);          \
    __type(key, __u32);                    \
    __type(value, struct element);         \
  } name SEC(".maps")

/* The loader sets the sizes of those with one entry here. */
FLOW_ARRAY(flow_table_settings, flow_settings, 1);
FLOW_ARRAY(flows4, flow_bucket4, 1);
FLOW_ARRAY(flows6, flow_bucket6, 1);
FLOW_ARRAY(flow_ends4, flow_end_bucket4, FLOW_END_BUCKETS);
FLOW_ARRAY(flow_ends6, flow_end_bucket6, FLOW_END_BUCKETS);
FLOW_ARRAY(flow_endpoints, flow_endpoint, FLOW_ENDS);
FLOW_ARRAY(flow_targets, flow_target, 1);
FLOW_ARRAY(flow_hops, flow_hop, FLOW_HOPS);
FLOW_ARRAY(flow_counts, flow_counters, 1);

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, FLOW_DEVICES);
  __type(key, __u32);
  __type(value, __u32);
} flow_devices SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} flow_identification SEC(".maps");

enum { FLOW_NOT_FORWARDED = -1 };

#define READ_ONCE(place) (*(const volatile __typeof__(place)*)&(place))
#define BARRIER() asm volatile("" ::: "memory")

/* What is known of a packet of a published flow. */
struct flow_packet {
  __u64 words; /* of the flow */
  __u16* age;  /* of the flow, in the table */
  __u32 ip_size;
  __u32 padding;   /* bytes of the frame behind the IP packet */
  __u32 transport; /* offset in the frame */
  __u8 protocol;
  __u8 tos;
  __u8 ttl;
  bool is_answer;
  bool dont_fragment;
  bool may_begin; /* a packet that moves the state of a connection is sent on all the same */
  __be16 ports[2];
};

static __always_inline void* entry_of(void* map, __u32 index) {
  return bpf_map_lookup_elem(map, &index);
}

#ifdef FLOW_LOOK_UP /* a benchmark puts other maps in place of these arrays */
#include FLOW_LOOK_UP
#else
static __always_inline __u32 find_end4(const struct flow_settings* settings, __u64 key) {
  __u64 hash = flow_hash4(settings, key);
#pragma unroll
  for (int choice = 0; choice < 2; ++choice) {
    struct flow_end_bucket4* bucket =
        entry_of(&flow_ends4,
                 choice ? flow_second(hash, FLOW_END_BUCKETS) : flow_first(hash, FLOW_END_BUCKETS));
    if (!bucket) return 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (READ_ONCE(bucket->slots[i].key) != key) continue;
      __u32 number = READ_ONCE(bucket->slots[i].number);
      return READ_ONCE(bucket->slots[i].key) == key ? number : 0;
    }
  }
  return 0;
}

static __always_inline __u32 find_end6(const struct flow_settings* settings, const __u64* address,
                                       __u64 tail) {
  __u64 hash = flow_hash6(settings, address[0], address[1], tail);
#pragma unroll
  for (int choice = 0; choice < 2; ++choice) {
    struct flow_end_bucket6* bucket =
        entry_of(&flow_ends6,
                 choice ? flow_second(hash, FLOW_END_BUCKETS) : flow_first(hash, FLOW_END_BUCKETS));
    if (!bucket) return 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      struct flow_end6* slot = &bucket->slots[i];
      __u64 sequence = READ_ONCE(slot->sequence);
      __u64 found = READ_ONCE(slot->tail);
      if ((__u32)found != (__u32)tail || READ_ONCE(slot->address[0]) != address[0] ||
          READ_ONCE(slot->address[1]) != address[1]) {
        continue;
      }
      return !(sequence & 1) && READ_ONCE(slot->sequence) == sequence ? found >> 32 : 0;
    }
  }
  return 0;
}

/* All ones if the words are equal, else 0, without a branch: packets of many flows find theirs in
 * any slot, and a guess that goes wrong costs as much as the cache line that it waits for. The
 * compiler, which would make it a branch, does not see through the assembly. */
static __always_inline __u64 all_if_equal(__u64 one, __u64 other) {
  __u64 difference = one ^ other;
  difference |= -difference;
  asm volatile("" : "+r"(difference));
  return (difference >> 63) - 1;
}

/* Finds a flow and reads its words; false if it is not there, or just being changed. */
static __always_inline bool find_flow4(const struct flow_settings* settings, __u64 key,
                                       struct flow_packet* packet) {
  __u64 hash = flow_hash4(settings, key);
#pragma unroll
  for (int choice = 0; choice < 2; ++choice) {
    struct flow_bucket4* bucket = entry_of(&flows4, choice ? flow_second(hash, settings->buckets4)
                                                           : flow_first(hash, settings->buckets4));
    if (!bucket) return false;
    __u64 is_found = 0;
    __u64 index = 0;
#pragma unroll
    for (int i = 0; i < FLOW_SLOTS4; ++i) {
      __u64 is_this = all_if_equal(READ_ONCE(bucket->slots[i].key), key);
      is_found |= is_this;
      index |= is_this & i;
    }
    if (!is_found) continue;
    struct flow4* slot = &bucket->slots[index & (FLOW_SLOTS4 - 1)];
    packet->words = READ_ONCE(slot->words);
    packet->age = (__u16*)((char*)&slot->words + 6);
    return READ_ONCE(slot->key) == key;
  }
  return false;
}

static __always_inline bool find_flow6(const struct flow_settings* settings, const __u64* client,
                                       __be16 port, __u32 end, struct flow_packet* packet) {
  __u64 hash = flow_hash6(settings, client[0], client[1], flow_tail6(port, end));
#pragma unroll
  for (int choice = 0; choice < 2; ++choice) {
    struct flow_bucket6* bucket = entry_of(&flows6, choice ? flow_second(hash, settings->buckets6)
                                                           : flow_first(hash, settings->buckets6));
    if (!bucket) return false;
    __u64 is_found = 0;
    __u64 index = 0;
#pragma unroll
    for (int i = 0; i < FLOW_SLOTS6; ++i) {
      struct flow6* slot = &bucket->slots[i];
      __u64 differs =
          (READ_ONCE(slot->client[0]) ^ client[0]) | (READ_ONCE(slot->client[1]) ^ client[1]) |
          (__u64)(READ_ONCE(slot->client_port) ^ port) | (__u64)(READ_ONCE(slot->end) ^ end);
      __u64 is_this = all_if_equal(differs, 0);
      is_found |= is_this;
      index |= is_this & i;
    }
    if (!is_found) continue;
    struct flow6* slot = &bucket->slots[index & (FLOW_SLOTS6 - 1)];
    __u32 sequence = READ_ONCE(slot->sequence);
    packet->words = READ_ONCE(slot->words);
    packet->age = (__u16*)((char*)&slot->words + 6);
    bool is_same = READ_ONCE(slot->end) == end && READ_ONCE(slot->client_port) == port &&
                   READ_ONCE(slot->client[0]) == client[0] &&
                   READ_ONCE(slot->client[1]) == client[1];
    return is_same && !(sequence & 1) && READ_ONCE(slot->sequence) == sequence;
  }
  return false;
}
#endif

/* Copies an entry that the engine may be changing; false if it did. */
#define COPY_ENTRY(to, entry)                                \
  ({                                                         \
    __u32 before = READ_ONCE((entry)->sequence);             \
    BARRIER();                                               \
    *(to) = *(entry);                                        \
    BARRIER();                                               \
    !(before & 1) && READ_ONCE((entry)->sequence) == before; \
  })

static __always_inline __u16 fold(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u16)sum;
}

/* The checksum after words were replaced, `sum` being that of the new and the inverted old ones
 * (RFC 1624, equation 3). */
static __always_inline __u16 updated(__u16 checksum, __u64 sum) {
  return ~fold(sum + (__u16)~checksum);
}

/* The IPv4 header of a plain packet at offset 14: read, and as a sum. */
struct ipv4_words {
  __u32 word[5];
};

/* Reads what forwarding needs of a header without options; false: it is broken. */
static __always_inline bool describe4(const struct ipv4_words* ip, struct flow_packet* packet) {
  const struct ipv4_wire* header = (const struct ipv4_wire*)ip;
  __u64 sum = (__u64)ip->word[0] + ip->word[1] + ip->word[2] + ip->word[3] + ip->word[4];
  if (fold(sum) != 0xffff) return false;
  packet->ip_size = bpf_ntohs(header->total_length);
  packet->transport = sizeof(struct ethhdr) + sizeof(*ip);
  packet->tos = header->tos;
  packet->ttl = header->ttl;
  packet->dont_fragment = bpf_ntohs(header->fragment) & 0x4000;
  return packet->ip_size >= sizeof(*ip) + 8;
}

static __always_inline bool describe6(const struct ipv6_wire* header, struct flow_packet* packet) {
  packet->ip_size = sizeof(*header) + bpf_ntohs(header->payload_length);
  packet->transport = sizeof(struct ethhdr) + sizeof(*header);
  packet->tos = bpf_ntohl(header->version_class_flow) >> 20;
  packet->ttl = header->hop_limit;
  packet->dont_fragment = true;
  return packet->ip_size >= sizeof(*header) + 8;
}

/* Finds the flow of an IPv4 packet. */
static __always_inline bool recognise4(const struct linear* frame,
                                       const struct flow_settings* settings,
                                       struct flow_packet* packet) {
  struct ipv4_words* ip = bytes_at(frame, sizeof(struct ethhdr), sizeof(*ip) + 8);
  if (!ip) return false;
  struct ipv4_wire* header = (struct ipv4_wire*)ip;
  if (header->version_length != 0x45 || (bpf_ntohs(header->fragment) & 0x3fff)) return false;
  if (!has_ports(header->protocol)) return false;
  __be16* ports = (__be16*)(ip + 1);
  packet->protocol = header->protocol;
  packet->ports[0] = ports[0];
  packet->ports[1] = ports[1];
  __u32 end =
      find_end4(settings, flow_end_key4(ip->word[4], ports[1], packet->protocol, FLOW_VIRTUAL));
  packet->is_answer = !end || !find_flow4(settings, flow_key4(ip->word[3], ports[0], end), packet);
  if (packet->is_answer) {
    end = find_end4(settings, flow_end_key4(ip->word[3], ports[0], packet->protocol, FLOW_REAL));
    if (!end || !find_flow4(settings, flow_key4(ip->word[4], ports[1], end), packet)) return false;
  }
  return describe4(ip, packet);
}

static __always_inline bool recognise6(const struct linear* frame,
                                       const struct flow_settings* settings,
                                       struct flow_packet* packet) {
  struct ipv6_wire* header = bytes_at(frame, sizeof(struct ethhdr), sizeof(*header) + 8);
  if (!header || bpf_ntohl(header->version_class_flow) >> 28 != 6) return false;
  if (!has_ports(header->next)) return false;
  __be16* ports = (__be16*)(header + 1);
  packet->protocol = header->next;
  packet->ports[0] = ports[0];
  packet->ports[1] = ports[1];
  __u64 source[2];
  __u64 destination[2];
  __builtin_memcpy(source, header->source, 16);
  __builtin_memcpy(destination, header->destination, 16);
  __u32 end =
      find_end6(settings, destination, flow_end_tail6(ports[1], packet->protocol, FLOW_VIRTUAL));
  packet->is_answer = !end || !find_flow6(settings, source, ports[0], end, packet);
  if (packet->is_answer) {
    end = find_end6(settings, source, flow_end_tail6(ports[0], packet->protocol, FLOW_REAL));
    if (!end || !find_flow6(settings, destination, ports[1], end, packet)) return false;
  }
  return describe6(header, packet);
}

/* The sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1). */
static __always_inline __u64 pseudo_sum(const struct linear* frame,
                                        const struct flow_packet* packet, bool is_ipv6) {
  __u32 length = packet->ip_size - (packet->transport - sizeof(struct ethhdr));
  __u64 sum = (__u64)bpf_htonl(length) + bpf_htonl(packet->protocol);
  __u32* addresses = bytes_at(frame, sizeof(struct ethhdr) + (is_ipv6 ? 8 : 12), is_ipv6 ? 32 : 8);
  if (!addresses) return 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (is_ipv6 || i < 2) sum += addresses[i];
  }
  return sum;
}

enum { TCP_HEADER = 20, UDP_HEADER = 8, SCTP_HEADER = 12 };
enum { TCP_MOVES = 0x07, TCP_ACK = 0x10 }; /* FIN, SYN, RST */

static __always_inline __u32 checksum_offset(const struct flow_packet* packet) {
  return packet->transport + (packet->protocol == IPPROTO_TCP ? 16 : 6);
}

/* True if no engine has run for some seconds: then packets that move a connection's state go on as
 * plain ones, rather than be lost. */
static __always_inline bool is_engine_gone(const struct flow_settings* settings) {
  __u64 now = bpf_ktime_get_coarse_ns() >> FLOW_ALIVE_SHIFT;
  return now > READ_ONCE(settings->alive) + FLOW_ALIVE_LIMIT; /* the coarse clock may be behind */
}

/* True if a packet needs nothing but its rewrite: it is whole, moves no state, and carries a
 * finished checksum. */
static __always_inline bool is_plain(const struct linear* frame,
                                     const struct flow_settings* settings,
                                     const struct flow_packet* packet, bool is_ipv6,
                                     bool is_rewritten) {
  __u32 payload = packet->ip_size - (packet->transport - sizeof(struct ethhdr));
  if (packet->ttl <= 1) return false;
  if (packet->protocol == IPPROTO_SCTP) {
    /* The first chunk alone matters; data, SACK and heartbeats move nothing. */
    __u32* words = bytes_at(frame, packet->transport, SCTP_HEADER + 4);
    if (!words || payload < SCTP_HEADER + 4 || !words[2]) return false;
    __u8 chunk = *(__u8*)&words[3];
    return chunk == 0 || (chunk >= 3 && chunk <= 5);
  }
  if (packet->protocol == IPPROTO_TCP) {
    __u8* tcp = bytes_at(frame, packet->transport, TCP_HEADER);
    if (!tcp || payload < TCP_HEADER) return false;
    bool is_move = (tcp[13] & (TCP_MOVES | TCP_ACK)) != TCP_ACK;
    if (is_move && !packet->may_begin && !is_engine_gone(settings)) return false;
  }
  __u16* checksum = bytes_at(frame, checksum_offset(packet), 2);
  if (!checksum) return false;
  if (is_rewritten && packet->protocol == IPPROTO_UDP && !*checksum) return false;
  return *checksum != fold(pseudo_sum(frame, packet, is_ipv6));
}

/* Takes one from TTL or hop limit. */
static __always_inline bool take_hop(const struct linear* frame, bool is_ipv6) {
  if (is_ipv6) {
    __u8* hop_limit = bytes_at(frame, sizeof(struct ethhdr) + 7, 1);
    if (!hop_limit) return false;
    --*hop_limit;
    return true;
  }
  __u16* words = bytes_at(frame, sizeof(struct ethhdr) + 8, 4); /* TTL and protocol; checksum */
  if (!words) return false;
  __u16 old = words[0];
  __u16 fresh = bpf_htons(bpf_ntohs(old) - 0x100);
  words[1] = updated(words[1], (__u64)(__u16)~old + fresh);
  words[0] = fresh;
  return true;
}

/* Writes a word; returns what that adds to a sum for `updated`. */
static __always_inline __u64 replace_word(__u32* place, __u32 fresh) {
  __u64 sum = (__u64)(__u32) ~*place + fresh;
  *place = fresh;
  return sum;
}

/* Gives the packet another source (an answer) or destination. `port` 0: the packet's own. */
static __always_inline bool translate(const struct linear* frame, const struct flow_packet* packet,
                                      bool is_ipv6, bool is_answer, const __u8* address,
                                      __be16 port) {
  const __u32 width = is_ipv6 ? 16 : 4;
  const __u32 at = sizeof(struct ethhdr) + (is_ipv6 ? 8 : 12) + (is_answer ? 0 : width);
  const __u32 transport = sizeof(struct ethhdr) + (is_ipv6 ? 40 : 20);
  const __u32* fresh = (const __u32*)address;
  __u32* old = bytes_at(frame, at, width);
  __u16* header_checksum = bytes_at(frame, sizeof(struct ethhdr) + 10, 2);
  __be16* place = bytes_at(frame, transport + (is_answer ? 0 : 2), 2);
  __u16* checksum = bytes_at(frame, transport + (packet->protocol == IPPROTO_TCP ? 16 : 6), 2);
  if (!old || !header_checksum || !place || !checksum) return false;
  __u64 sum = replace_word(&old[0], fresh[0]);
  if (is_ipv6) {
    sum += replace_word(&old[1], fresh[1]);
    sum += replace_word(&old[2], fresh[2]);
    sum += replace_word(&old[3], fresh[3]);
  }
  if (!is_ipv6) *header_checksum = updated(*header_checksum, sum);
  if (!port) port = *place;
  sum += (__u64)(__u16) ~*place + port;
  *place = port;
  __u16 result = updated(*checksum, sum);
  if (packet->protocol == IPPROTO_UDP && !result) result = 0xffff;
  *checksum = result;
  return true;
}

static __always_inline void count_flow(const struct flow_settings* settings,
                                       const struct flow_packet* packet) {
  __u32 cpu = bpf_get_smp_processor_id();
  if (cpu >= settings->cpus) return;
  struct flow_counters* counters =
      entry_of(&flow_counts, cpu * settings->targets + flow_target_of(packet->words));
  if (!counters) return;
  if (packet->is_answer) {
    ++counters->packets_out;
    counters->bytes_out += packet->ip_size;
  } else {
    ++counters->packets_in;
    counters->bytes_in += packet->ip_size;
  }
}

/* The flow is in use: its age is when. Written only when it changes, so that cores do not fight.
 * Jiffies, because they are read in place: a call that asks for the time is a sixth of the whole
 * way of a packet. */
static __always_inline void note_use(const struct flow_settings* settings,
                                     const struct flow_packet* packet) {
  __u16 now = (__u16)flow_age_at(bpf_jiffies64() * settings->tick + settings->tick_zero);
  if (READ_ONCE(*packet->age) != now) *(volatile __u16*)packet->age = now;
}
