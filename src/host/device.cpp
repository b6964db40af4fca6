// SPDX-License-Identifier: Apache-2.0
#include "host/device.hpp"

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>

namespace lb::host {
namespace {

// linux/netdev.h came with Linux 6.3; its numbers are the kernel's interface and do not change.
constexpr const char* kNetdevFamily = "netdev";
constexpr std::uint8_t kDeviceGet = 1;
constexpr std::uint16_t kDeviceIndex = 1;
constexpr std::uint16_t kDeviceXdpFeatures = 3;

struct Close {
  void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, Close>;
using Visit = std::function<void(const nlmsghdr&)>;

/// Sends `request` and hands on each answer; returns 0 or an errno.
int exchange(mnl_socket* socket, nlmsghdr& request, const Visit& visit) {
  static std::uint32_t sequence = 0;
  request.nlmsg_seq = ++sequence;
  request.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  if (mnl_socket_sendto(socket, &request, request.nlmsg_len) < 0) return errno;
  std::array<char, 32768> buffer;
  for (;;) {
    const auto size = mnl_socket_recvfrom(socket, buffer.data(), buffer.size());
    if (size < 0) return errno;
    const auto state = mnl_cb_run(
        buffer.data(), static_cast<std::size_t>(size), request.nlmsg_seq,
        mnl_socket_get_portid(socket),
        [](const nlmsghdr* message, void* data) {
          (*static_cast<const Visit*>(data))(*message);
          return MNL_CB_OK;
        },
        const_cast<Visit*>(&visit));
    if (state == MNL_CB_ERROR) return errno;
    if (state == MNL_CB_STOP) return 0;
  }
}

template <class Take>
void each_attribute(const nlmsghdr& message, Take take) {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(genlmsghdr)) return;
  mnl_attr_parse(
      &message, sizeof(genlmsghdr),
      [](const nlattr* attribute, void* data) {
        (*static_cast<Take*>(data))(*attribute);
        return MNL_CB_OK;
      },
      &take);
}

nlmsghdr& generic_request(char* storage, std::uint16_t family, std::uint8_t command) {
  auto& request = *mnl_nlmsg_put_header(storage);
  request.nlmsg_type = family;
  auto* body = static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(&request, sizeof(genlmsghdr)));
  body->cmd = command;
  body->version = 1;
  return request;
}

/// 0: the kernel has no such family.
std::uint16_t find_family(mnl_socket* socket) {
  std::array<char, 256> storage{};
  auto& request = generic_request(storage.data(), GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
  mnl_attr_put_strz(&request, CTRL_ATTR_FAMILY_NAME, kNetdevFamily);
  std::uint16_t family = 0;
  const int failed = exchange(socket, request, [&](const nlmsghdr& message) {
    each_attribute(message, [&](const nlattr& one) {
      if (mnl_attr_get_type(&one) == CTRL_ATTR_FAMILY_ID && mnl_attr_get_payload_len(&one) == 2) {
        family = mnl_attr_get_u16(&one);
      }
    });
  });
  return failed == 0 ? family : std::uint16_t{0};
}

}  // namespace

std::string driver_of(const std::string& interface) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return {};
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&info);
  const bool is_told = ::ioctl(socket, SIOCETHTOOL, &request) == 0;
  ::close(socket);
  if (!is_told) return {};
  return {info.driver, ::strnlen(info.driver, sizeof(info.driver))};
}

Outcome<std::map<int, std::uint64_t>> xdp_abilities() {
  std::map<int, std::uint64_t> all;
  const Socket socket(mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC));
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
    return system_trouble("cannot open a generic netlink socket", errno);
  }
  const auto family = find_family(socket.get());
  if (family == 0) return all;
  std::array<char, 256> storage{};
  auto& request = generic_request(storage.data(), family, kDeviceGet);
  request.nlmsg_flags = NLM_F_DUMP;
  const int failed = exchange(socket.get(), request, [&](const nlmsghdr& message) {
    int index = 0;
    std::uint64_t abilities = 0;
    each_attribute(message, [&](const nlattr& one) {
      const auto size = mnl_attr_get_payload_len(&one);
      if (mnl_attr_get_type(&one) == kDeviceIndex && size == 4) {
        index = static_cast<int>(mnl_attr_get_u32(&one));
      } else if (mnl_attr_get_type(&one) == kDeviceXdpFeatures && size == 8) {
        abilities = mnl_attr_get_u64(&one);
      }
    });
    if (index != 0) all[index] = abilities;
  });
  if (failed != 0) return system_trouble("cannot ask what drivers can do", failed);
  return all;
}

int kernel_version() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0) return 0;
  if (std::sscanf(static_cast<const char*>(name.release), "%d.%d", &major, &minor) != 2) return 0;
  return 1000 * major + minor;
}

}  // namespace lb::host
