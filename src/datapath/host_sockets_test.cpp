// SPDX-License-Identifier: Apache-2.0
#include "datapath/host_sockets.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "datapath/file_descriptor.hpp"

namespace lb::datapath {
namespace {

/// A socket on some port of the loopback address.
struct Bound {
  Bound(int family, int type) : socket(::socket(family, type, 0)) {
    sockaddr_in6 place{};
    place.sin6_family = static_cast<sa_family_t>(family);
    if (family == AF_INET6) place.sin6_addr = in6addr_loopback;
    socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    auto* address = reinterpret_cast<sockaddr*>(&place);
    is_bound = ::bind(socket.get(), address, size) == 0 &&
               ::getsockname(socket.get(), address, &size) == 0;
    port = ntohs(place.sin6_port);  // at the same place in both families
  }
  FileDescriptor socket;
  bool is_bound = false;
  std::uint16_t port = 0;
};

TEST(HostSockets, TellsListenersAndDatagramSockets) {
  for (const int family : {AF_INET, AF_INET6}) {
    const Bound listener(family, SOCK_STREAM);
    const Bound datagrams(family, SOCK_DGRAM);
    if (!listener.is_bound && family == AF_INET6) GTEST_SKIP() << "no IPv6 on this host";
    ASSERT_TRUE(listener.is_bound && datagrams.is_bound);
    ASSERT_EQ(::listen(listener.socket.get(), 1), 0);
    const auto ports = read_host_ports();
    ASSERT_TRUE(ports) << ports.error();
    EXPECT_TRUE(ports->tcp[listener.port]);
    EXPECT_TRUE(ports->udp[datagrams.port]);
    EXPECT_TRUE(ports->uses(net::Protocol::kTcp, listener.port));
    EXPECT_FALSE(ports->uses(net::Protocol::kIcmp, listener.port));
    EXPECT_LT(ports->ephemeral.first, ports->ephemeral.last);
    EXPECT_LE(ports->ephemeral.first, listener.port);
  }
}

TEST(HostSockets, WhatIsClosedIsFree) {
  std::uint16_t port = 0;
  {
    const Bound datagrams(AF_INET, SOCK_DGRAM);
    ASSERT_TRUE(datagrams.is_bound);
    port = datagrams.port;
  }
  const auto ports = read_host_ports();
  ASSERT_TRUE(ports) << ports.error();
  EXPECT_FALSE(ports->udp[port]) << "unless another program took it just now";
}

}  // namespace
}  // namespace lb::datapath
