// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Strips the tunnel of a TUN destination on the real server's side, before the host's stack:
 * a server then needs no ipip, sit, ip6tnl or gre device.
 *
 * Stripped are IPv4 and IPv6 in IPv4 or IPv6 (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784, with
 * the optional fields of RFC 2890 skipped), and GUE version 0 without extensions on the port
 * given, when the tunnel ends at this host. Anything else goes on unchanged.
 *
 *   Ethernet | outer IPv4 10.0.0.2 | IPv4 198.51.100.7 > 192.0.2.10 ...
 *   becomes
 *   Ethernet | IPv4 198.51.100.7 > 192.0.2.10 ...
 *
 * As with a tunnel device that takes any remote address, whoever reaches the server can wrap
 * packets with any inner source: the network in front must let tunnels from the director only.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10
#define VLAN_HLEN 4
#define IPV4_MORE_FRAGMENTS_OR_OFFSET 0x3fff
/* Linux puts the tunnel encapsulation limit (RFC 2473, 4.1.1) into an option header of 8 bytes. */
#define DESTINATION_OPTIONS_LENGTH 8
#define GRE_CHECKSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000

/* UDP port on which GUE comes; 0: none. */
const volatile __u16 gue_port = 0;

struct gre_header {
  __be16 flags;
  __be16 protocol;
};

struct gue_header {
  __u8 version_control_length; /* 2, 1 and 5 bits */
  __u8 protocol;
  __be16 flags;
};

/* What lies at a place of the packet. */
struct layer {
  __u32 offset;  /* from the start of the frame */
  __u8 protocol; /* IPPROTO_* */
};

/* True if the tunnel's destination is this host. Without forwarding the stack asks no more of a
 * packet than that itself, so there is nothing to protect. */
static __always_inline int is_local(struct xdp_md* ctx, struct bpf_fib_lookup* destination) {
  long found;

  destination->ifindex = ctx->ingress_ifindex;
  found = bpf_fib_lookup(ctx, destination, sizeof(*destination), 0);
  return found == BPF_FIB_LKUP_RET_NOT_FWDED || found == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* Steps over the outer IPv4 header. Returns 0 if there is none that can be stripped. */
static __always_inline int skip_ipv4(struct xdp_md* ctx, struct layer* at) {
  void* end = (void*)(long)ctx->data_end;
  struct iphdr* ip = (void*)(long)ctx->data + at->offset;
  struct bpf_fib_lookup destination = {.family = AF_INET};

  if ((void*)(ip + 1) > end || ip->version != 4 || ip->ihl < 5) return 0;
  if (ip->frag_off & bpf_htons(IPV4_MORE_FRAGMENTS_OR_OFFSET)) return 0;
  if (ip->protocol != IPPROTO_IPIP && ip->protocol != IPPROTO_IPV6 && ip->protocol != IPPROTO_GRE &&
      !(ip->protocol == IPPROTO_UDP && gue_port))
    return 0;
  destination.ipv4_src = ip->saddr;
  destination.ipv4_dst = ip->daddr;
  at->protocol = ip->protocol;
  at->offset += ip->ihl * 4;
  return is_local(ctx, &destination);
}

static __always_inline int skip_ipv6(struct xdp_md* ctx, struct layer* at) {
  void* end = (void*)(long)ctx->data_end;
  struct ipv6hdr* ip = (void*)(long)ctx->data + at->offset;
  struct bpf_fib_lookup destination = {.family = AF_INET6};

  if ((void*)(ip + 1) > end || ip->version != 6) return 0;
  at->protocol = ip->nexthdr;
  at->offset += sizeof(*ip);
  if (at->protocol == IPPROTO_DSTOPTS) {
    __u8* options = (void*)(ip + 1);

    if ((void*)(options + DESTINATION_OPTIONS_LENGTH) > end || options[1] != 0) return 0;
    at->protocol = options[0];
    at->offset += DESTINATION_OPTIONS_LENGTH;
  }
  if (at->protocol != IPPROTO_IPIP && at->protocol != IPPROTO_IPV6 && at->protocol != IPPROTO_GRE &&
      !(at->protocol == IPPROTO_UDP && gue_port))
    return 0;
  __builtin_memcpy(destination.ipv6_src, &ip->saddr, sizeof(destination.ipv6_src));
  __builtin_memcpy(destination.ipv6_dst, &ip->daddr, sizeof(destination.ipv6_dst));
  return is_local(ctx, &destination);
}

/* Turns GRE into the protocol it carries. */
static __always_inline int skip_gre(struct xdp_md* ctx, struct layer* at) {
  void* end = (void*)(long)ctx->data_end;
  struct gre_header* gre = (void*)(long)ctx->data + at->offset;
  __u16 flags;

  if ((void*)(gre + 1) > end) return 0;
  flags = bpf_ntohs(gre->flags);
  if (flags & ~(GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE)) return 0; /* routing, or version 1 */
  if (gre->protocol == bpf_htons(ETH_P_IP))
    at->protocol = IPPROTO_IPIP;
  else if (gre->protocol == bpf_htons(ETH_P_IPV6))
    at->protocol = IPPROTO_IPV6;
  else
    return 0;
  at->offset += sizeof(*gre);
  if (flags & GRE_CHECKSUM) at->offset += 4;
  if (flags & GRE_KEY) at->offset += 4;
  if (flags & GRE_SEQUENCE) at->offset += 4;
  return 1;
}

/* Turns UDP with GUE into the protocol it carries. Extensions (remote checksum offload) would
 * have to be carried out, not skipped: such packets go on to the host's own GUE receiver. */
static __always_inline int skip_gue(struct xdp_md* ctx, struct layer* at) {
  void* end = (void*)(long)ctx->data_end;
  struct udphdr* udp = (void*)(long)ctx->data + at->offset;
  struct gue_header* gue = (void*)(udp + 1);

  if ((void*)(gue + 1) > end || udp->dest != bpf_htons(gue_port)) return 0;
  if (gue->version_control_length != 0 || gue->flags != 0) return 0;
  at->protocol = gue->protocol;
  at->offset += sizeof(*udp) + sizeof(*gue);
  return 1;
}

/* Where the inner IP header begins; 0: nothing to strip. */
static __always_inline int find_inner(struct xdp_md* ctx, __be16 ether_type, struct layer* at) {
  if (ether_type == bpf_htons(ETH_P_IP)) {
    if (!skip_ipv4(ctx, at)) return 0;
  } else if (ether_type == bpf_htons(ETH_P_IPV6)) {
    if (!skip_ipv6(ctx, at)) return 0;
  } else {
    return 0;
  }
  if (at->protocol == IPPROTO_GRE && !skip_gre(ctx, at)) return 0;
  if (at->protocol == IPPROTO_UDP && !skip_gue(ctx, at)) return 0;
  return at->protocol == IPPROTO_IPIP || at->protocol == IPPROTO_IPV6;
}

/* Not one of those that a driver without multi-buffer XDP refuses for a large MTU. */
SEC("xdp.frags")
int sluice_decap(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  struct ethhdr* eth = data;
  struct layer at = {.offset = sizeof(*eth)};
  __u8 link[ETH_HLEN + VLAN_HLEN];
  __be16 ether_type;
  int has_vlan;

  if ((void*)(eth + 1) > end) return XDP_PASS;
  ether_type = eth->h_proto;
  has_vlan = ether_type == bpf_htons(ETH_P_8021Q);
  if (has_vlan) {
    if (data + sizeof(link) > end) return XDP_PASS;
    ether_type = *(__be16*)(data + ETH_HLEN + 2);
    at.offset += VLAN_HLEN;
  }
  if (!find_inner(ctx, ether_type, &at)) return XDP_PASS;

  /* The inner header must be there whole, and be what the outer one says. */
  data = (void*)(long)ctx->data;
  end = (void*)(long)ctx->data_end;
  ether_type = bpf_htons(at.protocol == IPPROTO_IPIP ? ETH_P_IP : ETH_P_IPV6);
  if (at.offset > 255) return XDP_PASS; /* a bound that the verifier sees */
  if (data + at.offset + sizeof(struct iphdr) > end) return XDP_PASS;
  if (*(__u8*)(data + at.offset) >> 4 != (at.protocol == IPPROTO_IPIP ? 4 : 6)) return XDP_PASS;

  if (has_vlan) {
    if (data + sizeof(link) > end) return XDP_PASS;
    __builtin_memcpy(link, data, sizeof(link));
    if (bpf_xdp_adjust_head(ctx, at.offset - sizeof(link))) return XDP_PASS;
    data = (void*)(long)ctx->data;
    end = (void*)(long)ctx->data_end;
    if (data + sizeof(link) > end) return XDP_DROP; /* cannot be: checked above */
    __builtin_memcpy(data, link, sizeof(link));
    *(__be16*)(data + ETH_HLEN + 2) = ether_type;
    return XDP_PASS;
  }
  if (data + ETH_HLEN > end) return XDP_PASS;
  __builtin_memcpy(link, data, ETH_HLEN);
  if (bpf_xdp_adjust_head(ctx, at.offset - ETH_HLEN)) return XDP_PASS;
  data = (void*)(long)ctx->data;
  end = (void*)(long)ctx->data_end;
  if (data + ETH_HLEN > end) return XDP_DROP; /* cannot be: checked above */
  __builtin_memcpy(data, link, ETH_HLEN);
  eth = data;
  eth->h_proto = ether_type;
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
