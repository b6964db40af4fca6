// SPDX-License-Identifier: Apache-2.0
#include "datapath/xdp_features.hpp"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

#include <array>
#include <memory>

#include "datapath/netlink_socket.hpp"

namespace lb::datapath {
namespace {

// Of linux/netdev.h, which older headers do not have.
constexpr const char* kFamily = "netdev";
constexpr std::uint8_t kGetDevice = 1;
constexpr std::uint16_t kIndexAttribute = 1;
constexpr std::size_t kFeaturesAttribute = 3;
constexpr std::size_t kAttributes = 8;

struct Close {
  void operator()(mnl_socket* socket) const noexcept { ::mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, Close>;
using Buffer = std::array<std::byte, 8192>;

nlmsghdr* begin(Buffer& buffer, std::uint16_t type, std::uint8_t command) {
  auto* message = ::mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = type;
  message->nlmsg_flags = NLM_F_REQUEST;
  auto* header =
      static_cast<genlmsghdr*>(::mnl_nlmsg_put_extra_header(message, sizeof(genlmsghdr)));
  header->cmd = command;
  header->version = 1;
  return message;
}

/// Sends `message` and reads one answer into its buffer; null if it is none or an error.
const nlmsghdr* ask(mnl_socket* socket, const nlmsghdr* message, Buffer& buffer) {
  if (::mnl_socket_sendto(socket, message, message->nlmsg_len) < 0) return nullptr;
  const auto size = ::mnl_socket_recvfrom(socket, buffer.data(), buffer.size());
  const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer.data());
  if (size <= 0 || !::mnl_nlmsg_ok(answer, static_cast<int>(size))) return nullptr;
  return answer->nlmsg_type == NLMSG_ERROR ? nullptr : answer;
}

}  // namespace

std::optional<XdpFeatures> XdpFeatures::of(engine::InterfaceId interface) {
  const Socket socket(::mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC));
  if (socket == nullptr || ::mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
    return std::nullopt;
  }
  Buffer buffer;
  auto* request = begin(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
  ::mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, kFamily);
  const auto* answer = ask(socket.get(), request, buffer);
  if (answer == nullptr) return std::nullopt;
  const Attributes<CTRL_ATTR_MAX + 1> family(*answer, sizeof(genlmsghdr));
  const auto* id = family.find(CTRL_ATTR_FAMILY_ID);
  if (id == nullptr || ::mnl_attr_get_payload_len(id) != sizeof(std::uint16_t)) return std::nullopt;

  request = begin(buffer, ::mnl_attr_get_u16(id), kGetDevice);
  ::mnl_attr_put_u32(request, kIndexAttribute, static_cast<std::uint32_t>(interface));
  answer = ask(socket.get(), request, buffer);
  if (answer == nullptr) return std::nullopt;
  const Attributes<kAttributes> device(*answer, sizeof(genlmsghdr));
  const auto* features = device.find(kFeaturesAttribute);
  if (features == nullptr || ::mnl_attr_get_payload_len(features) != sizeof(std::uint64_t)) {
    return std::nullopt;
  }
  return XdpFeatures(::mnl_attr_get_u64(features));
}

}  // namespace lb::datapath
