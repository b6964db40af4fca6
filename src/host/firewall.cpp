// SPDX-License-Identifier: Apache-2.0
#include "host/firewall.hpp"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>

namespace lb::host {
namespace {

struct Close {
  void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};

/// Attributes by type; higher types are ignored.
using Attributes = std::array<const nlattr*, 16>;
static_assert(NFTA_CHAIN_USE < 16 && NFTA_HOOK_PRIORITY < 16);

int keep(const nlattr* attribute, void* into) {
  const auto type = mnl_attr_get_type(attribute);
  auto& all = *static_cast<Attributes*>(into);
  if (type < all.size()) all[type] = attribute;
  return MNL_CB_OK;
}

/// A number in network order; `absent` if it is missing.
std::uint32_t number(const nlattr* attribute, std::uint32_t absent) {
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != 4) return absent;
  return ntohl(mnl_attr_get_u32(attribute));
}

std::string text(const nlattr* attribute) {
  return attribute == nullptr ? std::string() : std::string(mnl_attr_get_str(attribute));
}

std::string_view family_name(std::uint8_t family) {
  switch (family) {
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_INET:
      return "inet";
    default:
      return {};
  }
}

int read_chain(const nlmsghdr* message, void* into) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(nfgenmsg)) return MNL_CB_OK;
  const auto& body = *static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message));
  const auto family = family_name(body.nfgen_family);
  Attributes all{};
  mnl_attr_parse(message, sizeof(body), keep, &all);
  if (family.empty() || all[NFTA_CHAIN_HOOK] == nullptr) return MNL_CB_OK;  // not at a hook
  Attributes hook{};
  mnl_attr_parse_nested(all[NFTA_CHAIN_HOOK], keep, &hook);
  static_cast<std::vector<FirewallChain>*>(into)->push_back(
      {.name = std::string(family) + ' ' + text(all[NFTA_CHAIN_TABLE]) + ' ' +
               text(all[NFTA_CHAIN_NAME]),
       .hook = number(hook[NFTA_HOOK_HOOKNUM], ~0U),
       .drops_by_default = number(all[NFTA_CHAIN_POLICY], NF_ACCEPT) == NF_DROP,
       .rules = number(all[NFTA_CHAIN_USE], 0)});
  return MNL_CB_OK;
}

}  // namespace

Outcome<std::vector<FirewallChain>> firewall_chains() {
  std::vector<FirewallChain> chains;
  const std::unique_ptr<mnl_socket, Close> socket(
      mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC));
  if (!socket) return chains;  // a kernel without netfilter
  if (mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
    return system_trouble("cannot ask about the firewall", errno);
  }
  std::array<char, 256> storage{};
  auto& request = *mnl_nlmsg_put_header(storage.data());
  request.nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8U) | NFT_MSG_GETCHAIN;
  request.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.nlmsg_seq = 1;
  auto* body = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(&request, sizeof(nfgenmsg)));
  body->nfgen_family = NFPROTO_UNSPEC;
  body->version = NFNETLINK_V0;
  if (mnl_socket_sendto(socket.get(), &request, request.nlmsg_len) < 0) {
    return system_trouble("cannot ask about the firewall", errno);
  }
  std::array<char, 32768> buffer;
  for (;;) {
    const auto size = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    if (size < 0) return system_trouble("cannot ask about the firewall", errno);
    const auto state = mnl_cb_run(buffer.data(), static_cast<std::size_t>(size), 1,
                                  mnl_socket_get_portid(socket.get()), read_chain, &chains);
    if (state == MNL_CB_STOP) return chains;
    if (state == MNL_CB_ERROR) {
      if (errno == EINVAL || errno == EOPNOTSUPP) return chains;  // no nftables in this kernel
      return system_trouble("cannot ask about the firewall", errno);
    }
  }
}

bool has_legacy_firewall() {
  for (const char* path : {"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"}) {
    std::ifstream file(path);
    for (std::string table; file >> table;) {
      if (table == "filter") return true;
    }
  }
  return false;
}

}  // namespace lb::host
