// SPDX-License-Identifier: Apache-2.0
#include "control/request_handler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <set>
#include <utility>
#include <vector>

#include "control/daemon_control.hpp"
#include "control/direct_transport.hpp"
#include "control/dump.hpp"
#include "control/setting_names.hpp"
#include "control/status_source.hpp"
#include "control/test_director.hpp"
#include "control/test_packets.hpp"
#include "net/bytes.hpp"
#include "wire/ipvs_attributes.hpp"
#include "wire/ipvs_client.hpp"
#include "wire/ipvs_server.hpp"
#include "wire/recorded_messages.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::control {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

constexpr std::uint32_t kPortId = 4711;
constexpr unsigned kNest = NLA_F_NESTED;

class RequestHandlerTest : public testing::Test {
 protected:
  RequestHandlerTest() {
    own_.add_interface(1, {"192.0.2.1/24", "192.0.2.10/32", "10.0.0.1/24", "2001:db8:1::1/64"});
  }

  std::vector<wire::Message> ask(const wire::Message& request) {
    auto answer = transport_.exchange(request);
    EXPECT_TRUE(answer.has_value());
    return *answer;
  }
  /// The errno that `request` is answered with.
  int error(const wire::Message& request) {
    const auto result = wire::outcome(ask(request));
    return result ? 0 : result.error().code;
  }
  std::vector<model::DestinationInfo> destinations() {
    return *wire::read_destinations(ask(wire::list_destinations_request({}, service_.key)));
  }

  static model::ServiceSpec service(std::uint16_t port) {
    model::ServiceSpec spec;
    spec.key.address = *net::IpAddress::from_text("192.0.2.10");
    spec.key.port = net::Port::from_host(port);
    return spec;
  }
  static model::DestinationSpec destination(const char* address = "10.0.0.2") {
    model::DestinationSpec spec;
    spec.address = *net::IpAddress::from_text(address);
    spec.port = net::Port::from_host(80);
    return spec;
  }

  TestDirector own_;
  RequestHandler handler_{own_.director, nullptr};
  DirectTransport transport_{handler_, kPortId};
  model::ServiceSpec service_ = service(80);
};

/// A request whose attributes `fill` writes.
template <class Fill>
wire::Message request(unsigned command, Fill fill, std::uint16_t type = wire::kIpvsFamily,
                      std::uint16_t flags = NLM_F_REQUEST | NLM_F_ACK) {
  wire::Message message;
  wire::MessageWriter writer(message);
  writer.begin({.type = type,
                .flags = flags,
                .sequence = 99,
                .port_id = 1,
                .command = static_cast<std::uint8_t>(command)});
  fill(writer);
  writer.end();
  return message;
}

void nothing(wire::MessageWriter&) {}

template <class Fill>
void nested(wire::MessageWriter& writer, unsigned type, Fill fill) {
  const auto nest = writer.begin_nest(kNest | type);
  fill(writer);
  writer.end_nest(nest);
}

TEST_F(RequestHandlerTest, AcknowledgesOnlyWhenAsked) {
  const auto with = [&](std::uint16_t flags) {
    return ask(request(IPVS_CMD_FLUSH, nothing, wire::kIpvsFamily, flags));
  };
  EXPECT_THAT(with(NLM_F_REQUEST), SizeIs(0));
  const auto answer = with(NLM_F_REQUEST | NLM_F_ACK);
  ASSERT_THAT(answer, SizeIs(1));
  const auto header = wire::view_message(answer[0])->header;
  EXPECT_EQ(header.type, NLMSG_ERROR);
  EXPECT_EQ(header.sequence, 99U);
  EXPECT_EQ(header.port_id, kPortId);
  // An error is told in any case.
  const auto error = ask(request(200, nothing, wire::kIpvsFamily, NLM_F_REQUEST));
  EXPECT_EQ(wire::outcome(error).error().code, EOPNOTSUPP);
  // What is no request is acknowledged without effect.
  ASSERT_EQ(this->error(wire::add_service_request({}, service_)), 0);
  EXPECT_TRUE(wire::outcome(with(NLM_F_ACK)).has_value());
  EXPECT_EQ(own_.director.service_count(), 1U);
}

TEST_F(RequestHandlerTest, AReplyComesBeforeItsAcknowledgement) {
  const auto answer = ask(wire::info_request({}));
  ASSERT_THAT(answer, SizeIs(2));
  EXPECT_EQ(wire::read_info(answer)->table_size, own_.director.shown_table_size());
  EXPECT_EQ(wire::view_message(answer[1])->header.type, NLMSG_ERROR);
}

TEST_F(RequestHandlerTest, ADumpEndsWithDoneAndHasNoAcknowledgement) {
  const auto answer = ask(wire::list_services_request({}));
  ASSERT_THAT(answer, SizeIs(1));
  EXPECT_EQ(wire::view_message(answer[0])->header.type, NLMSG_DONE);
}

TEST_F(RequestHandlerTest, FamiliesAndHeaders) {
  EXPECT_EQ(wire::read_family_id(ask(wire::family_request("IPVS"))), wire::kIpvsFamily);
  EXPECT_EQ(wire::read_family_id(ask(wire::family_request("SLUICE"))), wire::kSluiceFamily);
  EXPECT_EQ(error(wire::family_request("nl80211")), ENOENT);
  EXPECT_EQ(error(request(CTRL_CMD_GETFAMILY, nothing, wire::kControllerFamily)), EINVAL);
  EXPECT_EQ(error(request(CTRL_CMD_GETPOLICY, nothing, wire::kControllerFamily)), EOPNOTSUPP);
  EXPECT_EQ(error(request(1, nothing, 0x77)), ENOENT);

  auto headless = request(IPVS_CMD_FLUSH, nothing);
  headless.resize(NLMSG_HDRLEN);
  net::store(headless, 0, std::uint32_t{NLMSG_HDRLEN});
  EXPECT_EQ(error(headless), EINVAL);

  const auto all = ask(
      request(CTRL_CMD_GETFAMILY, nothing, wire::kControllerFamily, NLM_F_REQUEST | NLM_F_DUMP));
  EXPECT_THAT(all, SizeIs(3));
}

TEST_F(RequestHandlerTest, CommandsThatCannotBe) {
  constexpr std::uint16_t kDump = NLM_F_REQUEST | NLM_F_DUMP;
  for (const unsigned command : {0U, unsigned{IPVS_CMD_SET_INFO}, 18U, 255U}) {
    EXPECT_EQ(error(request(command, nothing)), EOPNOTSUPP) << command;
    EXPECT_EQ(error(request(command, nothing, wire::kIpvsFamily, kDump)), EOPNOTSUPP) << command;
    EXPECT_EQ(error(request(command + 60, nothing, wire::kSluiceFamily)), EOPNOTSUPP);
  }
  EXPECT_EQ(error(request(IPVS_CMD_GET_DEST, nothing)), EOPNOTSUPP);
  EXPECT_EQ(error(request(IPVS_CMD_GET_DAEMON, nothing)), EOPNOTSUPP);
  EXPECT_EQ(error(request(IPVS_CMD_FLUSH, nothing, wire::kIpvsFamily, kDump)), EOPNOTSUPP);
  // Only both bits make a dump.
  EXPECT_EQ(error(request(IPVS_CMD_GET_INFO, nothing, wire::kIpvsFamily,
                          NLM_F_REQUEST | NLM_F_ACK | NLM_F_ROOT)),
            0);
}

TEST_F(RequestHandlerTest, ServiceErrors) {
  EXPECT_EQ(error(wire::edit_service_request({}, service_)), ESRCH);
  EXPECT_EQ(error(wire::delete_service_request({}, service_)), ESRCH);
  EXPECT_EQ(error(wire::zero_request({}, service_)), ESRCH);
  EXPECT_EQ(error(wire::get_service_request({}, service_.key)), ESRCH);
  auto unknown = service_;
  unknown.scheduler = "nosuch";
  EXPECT_EQ(error(wire::add_service_request({}, unknown)), ENOENT);
  EXPECT_EQ(error(wire::add_service_request({}, service_)), 0);
  // That it exists counts for more than its scheduler.
  EXPECT_EQ(error(wire::add_service_request({}, unknown)), EEXIST);
  EXPECT_EQ(error(wire::edit_service_request({}, unknown)), ENOENT);
  EXPECT_EQ(error(request(IPVS_CMD_NEW_SERVICE, nothing)), EINVAL);
  EXPECT_EQ(error(request(IPVS_CMD_GET_SERVICE, nothing)), EINVAL);

  const auto with_family = [](std::uint16_t family) {
    return request(IPVS_CMD_DEL_SERVICE, [&](auto& writer) {
      nested(writer, IPVS_CMD_ATTR_SERVICE, [&](auto& inner) {
        inner.put_u16(IPVS_SVC_ATTR_AF, family);
        inner.put_u32(IPVS_SVC_ATTR_FWMARK, 7);
      });
    });
  };
  EXPECT_EQ(error(with_family(AF_INET)), ESRCH);
  EXPECT_EQ(error(with_family(AF_UNIX)), EAFNOSUPPORT);
}

TEST_F(RequestHandlerTest, EveryPartOfAFullServiceIsNeeded) {
  constexpr auto kNeeded =
      std::to_array<unsigned>({IPVS_SVC_ATTR_AF, IPVS_SVC_ATTR_PROTOCOL, IPVS_SVC_ATTR_ADDR,
                               IPVS_SVC_ATTR_PORT, IPVS_SVC_ATTR_SCHED_NAME, IPVS_SVC_ATTR_FLAGS,
                               IPVS_SVC_ATTR_TIMEOUT, IPVS_SVC_ATTR_NETMASK});
  const auto full = wire::add_service_request({}, service_);
  const auto nest = wire::IpvsRequest::parse(wire::view_message(full)->attributes)->service;
  for (const auto left_out : kNeeded) {
    const auto partial = request(IPVS_CMD_NEW_SERVICE, [&](auto& writer) {
      nested(writer, IPVS_CMD_ATTR_SERVICE, [&](auto& inner) {
        auto rest = *nest;
        while (const auto attribute = wire::take_attribute(rest)) {
          if (attribute->type != left_out) inner.put_bytes(attribute->type, attribute->data);
        }
      });
    });
    EXPECT_EQ(error(partial), EINVAL) << left_out;
  }
  EXPECT_EQ(own_.director.service_count(), 0U);
}

TEST_F(RequestHandlerTest, FormErrorsOfTheTopLevelComeFirst) {
  // A nest too short for an attribute is ERANGE at the top, EINVAL inside.
  EXPECT_EQ(error(request(
                IPVS_CMD_NEW_SERVICE,
                [](auto& writer) { writer.put_bytes(IPVS_CMD_ATTR_SERVICE, wire::Message(3)); })),
            ERANGE);
  EXPECT_EQ(error(request(IPVS_CMD_SET_CONFIG,
                          [](auto& writer) { writer.put_u16(IPVS_CMD_ATTR_TIMEOUT_TCP, 1); })),
            ERANGE);
  EXPECT_EQ(error(request(IPVS_CMD_NEW_SERVICE,
                          [](auto& writer) {
                            nested(writer, IPVS_CMD_ATTR_SERVICE,
                                   [](auto& inner) { inner.put_u8(IPVS_SVC_ATTR_AF, 2); });
                          })),
            EINVAL);
}

TEST_F(RequestHandlerTest, AddressesMayBeShortAndNestsUnmarked) {
  const auto plain = request(IPVS_CMD_NEW_SERVICE, [](auto& writer) {
    const auto nest = writer.begin_nest(IPVS_CMD_ATTR_SERVICE);
    writer.put_u16(IPVS_SVC_ATTR_AF, AF_INET);
    writer.put_u16(IPVS_SVC_ATTR_PROTOCOL, 6);
    writer.put_be32(IPVS_SVC_ATTR_ADDR, net::Be32::from_host(0xc000020a));
    writer.put_be16(IPVS_SVC_ATTR_PORT, net::Port::from_host(80));
    writer.put_string(IPVS_SVC_ATTR_SCHED_NAME, "rr");
    writer.put_u64(IPVS_SVC_ATTR_FLAGS, ~std::uint64_t{0} << 32);
    writer.put_u32(IPVS_SVC_ATTR_TIMEOUT, 0);
    writer.put_u32(IPVS_SVC_ATTR_NETMASK, ~0U);
    writer.put_u32(31, 5);  // an attribute of the future
    writer.end_nest(nest);
  });
  EXPECT_EQ(error(plain), 0);
  const auto read = wire::read_service(ask(wire::get_service_request({}, service_.key)));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->spec.key, service_.key);
  EXPECT_EQ(read->spec.scheduler.view(), "rr");
  EXPECT_EQ(read->spec.flags, model::kServiceHashed);
}

TEST_F(RequestHandlerTest, DestinationErrors) {
  EXPECT_EQ(error(wire::add_destination_request({}, service_, destination())), ESRCH);
  ASSERT_EQ(error(wire::add_service_request({}, service_)), 0);
  EXPECT_EQ(error(wire::edit_destination_request({}, service_, destination())), ENOENT);
  EXPECT_EQ(error(wire::delete_destination_request({}, service_, destination())), ENOENT);

  const auto add = [&](auto change) {
    auto spec = destination();
    change(spec);
    return error(wire::add_destination_request({}, service_, spec));
  };
  using model::ForwardingMethod, model::TunnelType;
  EXPECT_EQ(add([](auto& spec) { spec.weight = -1; }), ERANGE);
  EXPECT_EQ(add([](auto& spec) { spec.lower_threshold = 1; }), ERANGE);
  EXPECT_EQ(add([](auto& spec) { spec.upper_threshold = INT_MAX + 1U; }), EINVAL);
  EXPECT_EQ(add([](auto& spec) {
              spec.method = ForwardingMethod::kTunnel;
              spec.tunnel.type = TunnelType::kGue;
            }),
            EINVAL);
  EXPECT_EQ(add([](auto& spec) { spec.tunnel.type = static_cast<TunnelType>(9); }), EINVAL);
  EXPECT_EQ(add([](auto& spec) { spec.method = ForwardingMethod::kBypass; }), EINVAL);
  EXPECT_EQ(add([](auto& spec) { spec.address = *net::IpAddress::from_text("224.0.0.1"); }),
            EINVAL);
  const auto v6 = *net::IpAddress::from_text("2001:db8:1::2");
  EXPECT_EQ(add([&](auto& spec) { spec.address = v6; }), EINVAL);
  EXPECT_THAT(destinations(), SizeIs(0));
  EXPECT_EQ(add([&](auto& spec) {
              spec.address = v6;
              spec.method = ForwardingMethod::kTunnel;
            }),
            0);
  EXPECT_EQ(add([](auto&) {}), 0);
  EXPECT_EQ(add([](auto&) {}), EEXIST);
  // The range counts for more than that it exists.
  EXPECT_EQ(add([](auto& spec) { spec.weight = -1; }), ERANGE);
  const auto listed = destinations();
  ASSERT_THAT(listed, SizeIs(2));
  EXPECT_EQ(listed[0].spec, destination());  // newest first
  EXPECT_EQ(listed[1].spec.address, v6);
}

TEST_F(RequestHandlerTest, ADestinationWithoutFamilyHasThatOfItsService) {
  ASSERT_EQ(error(wire::add_service_request({}, service_)), 0);
  const auto add = [&](unsigned command, std::optional<std::uint16_t> family) {
    return request(command, [&](auto& writer) {
      nested(writer, IPVS_CMD_ATTR_SERVICE,
             [&](auto& inner) { wire::put_service_key(inner, service_.key); });
      nested(writer, IPVS_CMD_ATTR_DEST, [&](auto& inner) {
        inner.put_be32(IPVS_DEST_ATTR_ADDR, destination().address.word(0));
        inner.put_be16(IPVS_DEST_ATTR_PORT, destination().port);
        inner.put_u32(IPVS_DEST_ATTR_FWD_METHOD, IP_VS_CONN_F_DROUTE);
        inner.put_u32(IPVS_DEST_ATTR_WEIGHT, 1);
        inner.put_u32(IPVS_DEST_ATTR_U_THRESH, 0);
        inner.put_u32(IPVS_DEST_ATTR_L_THRESH, 0);
        if (family) inner.put_u16(IPVS_DEST_ATTR_ADDR_FAMILY, *family);
      });
    });
  };
  EXPECT_EQ(error(add(IPVS_CMD_NEW_DEST, AF_UNIX)), EAFNOSUPPORT);
  EXPECT_EQ(error(add(IPVS_CMD_NEW_DEST, std::nullopt)), 0);
  ASSERT_THAT(destinations(), SizeIs(1));
  EXPECT_EQ(destinations()[0].spec, destination());
  EXPECT_EQ(error(add(IPVS_CMD_DEL_DEST, 0)), 0);
}

TEST_F(RequestHandlerTest, TimeoutsZeroAndFlush) {
  const auto before = own_.director.timeouts();
  EXPECT_EQ(error(wire::set_timeouts_request({}, {.tcp = 0, .tcp_fin = 7, .udp = 0})), 0);
  const model::Timeouts expected{.tcp = before.tcp, .tcp_fin = 7, .udp = before.udp};
  EXPECT_EQ(wire::read_timeouts(ask(wire::timeouts_request({}))), expected);
  EXPECT_EQ(error(request(IPVS_CMD_SET_CONFIG, nothing)), 0);
  EXPECT_EQ(error(wire::set_timeouts_request({}, {.tcp = 0x80000000})), EINVAL);
  EXPECT_EQ(wire::read_timeouts(ask(wire::timeouts_request({}))), expected);
  EXPECT_EQ(error(wire::zero_all_request({})), 0);
  ASSERT_EQ(error(wire::add_service_request({}, service_)), 0);
  EXPECT_EQ(error(wire::zero_request({}, service_)), 0);
  EXPECT_EQ(error(wire::flush_request({})), 0);
  EXPECT_EQ(own_.director.service_count(), 0U);
}

class OpenTransport : public engine::SyncTransport {
 public:
  Result<void> open(const engine::SyncSockets&) noexcept override { return {}; }
  void close(model::SyncRole) noexcept override {}
  void send(unsigned, std::span<const std::byte>) noexcept override {}
};

TEST_F(RequestHandlerTest, SyncDaemons) {
  model::SyncDaemonSpec daemon{.interface = "eth0", .group = {}};
  EXPECT_EQ(error(wire::start_daemon_request({}, daemon)), ENODEV);
  EXPECT_EQ(error(wire::stop_daemon_request({}, daemon)), ESRCH);
  EXPECT_EQ(error(request(IPVS_CMD_DEL_DAEMON, nothing)), EINVAL);
  EXPECT_THAT(*wire::read_daemons(ask(wire::list_daemons_request({}))), SizeIs(0));
  own_.add_interface(1, {"192.0.2.1/24"});
  daemon.interface = "port1";
  EXPECT_EQ(error(wire::start_daemon_request({}, daemon)), EOPNOTSUPP);
  OpenTransport transport;
  own_.director.set_sync_transport(&transport);
  EXPECT_EQ(error(wire::start_daemon_request({}, daemon)), 0);
  EXPECT_EQ(error(wire::start_daemon_request({}, daemon)), EEXIST);
  daemon.role = model::SyncRole::kBackup;
  EXPECT_EQ(error(wire::start_daemon_request({}, daemon)), 0);
  EXPECT_THAT(*wire::read_daemons(ask(wire::list_daemons_request({}))), SizeIs(2));
  EXPECT_EQ(error(wire::stop_daemon_request({}, daemon)), 0);
  EXPECT_THAT(*wire::read_daemons(ask(wire::list_daemons_request({}))), SizeIs(1));
}

TEST_F(RequestHandlerTest, DumpOfDestinationsWithoutServiceIsEmpty) {
  constexpr std::uint16_t kDump = NLM_F_REQUEST | NLM_F_DUMP;
  EXPECT_THAT(ask(request(IPVS_CMD_GET_DEST, nothing, wire::kIpvsFamily, kDump)), SizeIs(1));
  EXPECT_THAT(destinations(), SizeIs(0));
}

TEST_F(RequestHandlerTest, LongDumpsComeInPieces) {
  constexpr std::uint16_t kServices = 300;
  for (std::uint16_t port = 1; port <= kServices; ++port) {
    ASSERT_EQ(error(wire::add_service_request({}, service(port))), 0);
  }
  const auto answer = handler_.handle(wire::list_services_request({}), kPortId);
  std::vector<std::byte> datagram;
  std::size_t services = 0;
  std::size_t datagrams = 0;
  bool is_done = false;
  while (answer->next(datagram)) {
    EXPECT_LE(datagram.size(), Dump::kMaxDatagram);
    EXPECT_FALSE(is_done);
    ++datagrams;
    std::span<const std::byte> rest = datagram;
    while (const auto message = wire::take_message(rest)) {
      EXPECT_EQ(message->header.flags, NLM_F_MULTI);
      EXPECT_EQ(message->header.port_id, kPortId);
      if (message->header.type == NLMSG_DONE) {
        is_done = true;
      } else {
        ++services;
      }
    }
    // Deleted while the dump goes on: left out, nothing worse.
    if (datagrams == 1) own_.director.flush();
  }
  EXPECT_TRUE(is_done);
  EXPECT_GE(datagrams, 2U);
  EXPECT_GT(services, 40U);
  EXPECT_LT(services, kServices);
}

TEST_F(RequestHandlerTest, SeveralRequestsInOneDatagram) {
  auto datagram = wire::add_service_request({.sequence = 1}, service_);
  for (const auto& more :
       {wire::list_services_request({.sequence = 2}), wire::list_services_request({.sequence = 3}),
        wire::info_request({.sequence = 4})}) {
    datagram.insert(datagram.end(), more.begin(), more.end());
  }
  std::vector<std::pair<unsigned, unsigned>> seen;
  for (const auto& message : ask(datagram)) {
    const auto header = wire::view_message(message)->header;
    seen.emplace_back(header.sequence, header.type);
  }
  using Pair = std::pair<unsigned, unsigned>;
  EXPECT_THAT(seen, ElementsAre(Pair(1, NLMSG_ERROR), Pair(2, wire::kIpvsFamily),
                                Pair(2, NLMSG_DONE), Pair(3, NLMSG_ERROR),  // EBUSY
                                Pair(4, wire::kIpvsFamily), Pair(4, NLMSG_ERROR)));
}

// Packets have their turn between the calls.
TEST_F(RequestHandlerTest, ManyRequestsInOneDatagramAreHandledAFewAtATime) {
  constexpr std::uint16_t kServices = 100;
  constexpr std::size_t kMostAtOnce = 8;
  wire::Message datagram;
  for (std::uint16_t port = 1; port <= kServices; ++port) {
    const auto more = wire::add_service_request({.sequence = port}, service(port));
    datagram.insert(datagram.end(), more.begin(), more.end());
  }
  const auto answer = handler_.handle(datagram, kPortId);
  std::ranges::fill(datagram, std::byte{0xff});  // the buffer is the caller's again
  std::size_t acknowledged = 0;
  auto before = own_.director.service_count();
  EXPECT_LE(before, kMostAtOnce);
  while (answer->next(datagram)) {
    const auto now = own_.director.service_count();
    EXPECT_LE(now - before, kMostAtOnce);
    before = now;
    std::span<const std::byte> rest = datagram;
    while (const auto message = wire::take_message(rest)) {
      EXPECT_EQ(now, kServices) << "all is done before the answer says anything";
      EXPECT_EQ(message->header.sequence, ++acknowledged);
    }
  }
  EXPECT_EQ(acknowledged, kServices);
}

TEST_F(RequestHandlerTest, AFlushGoesAFewServicesAtATime) {
  constexpr std::uint16_t kServices = 500;
  constexpr std::size_t kMostAtOnce = 8;
  for (std::uint16_t port = 1; port <= kServices; ++port) {
    ASSERT_EQ(error(wire::add_service_request({}, service(port))), 0);
  }
  auto datagram = wire::flush_request({.sequence = 1});
  const auto info = wire::info_request({.sequence = 2});
  datagram.insert(datagram.end(), info.begin(), info.end());
  const auto answer = handler_.handle(datagram, kPortId);
  auto before = own_.director.service_count();
  EXPECT_GE(before, kServices - kMostAtOnce);
  bool has_other_come = false;
  std::vector<unsigned> answered;
  while (answer->next(datagram)) {
    const auto now = own_.director.service_count();
    EXPECT_LE(before - now, kMostAtOnce);
    // Another client's, made and deleted meanwhile.
    if (now < kServices / 2 && !std::exchange(has_other_come, true)) {
      ASSERT_EQ(error(wire::delete_service_request({}, service(1))), 0);
      ASSERT_EQ(error(wire::add_service_request({}, service(kServices + 1))), 0);
    }
    before = own_.director.service_count();
    std::span<const std::byte> rest = datagram;
    while (const auto message = wire::take_message(rest)) {
      answered.push_back(message->header.sequence);
    }
  }
  EXPECT_THAT(answered, ElementsAre(1, 2, 2));
  EXPECT_TRUE(has_other_come);
  EXPECT_EQ(own_.director.service_keys(), std::vector{service(kServices + 1).key});
}

TEST_F(RequestHandlerTest, ZeroingGoesAFewServicesAtATime) {
  constexpr std::uint16_t kServices = 500;
  constexpr std::size_t kMostAtOnce = 8;
  for (std::uint16_t port = 1; port <= kServices; ++port) {
    ASSERT_EQ(error(wire::add_service_request({}, service(port))), 0);
  }
  const auto answer = handler_.handle(wire::zero_all_request({.sequence = 1}), kPortId);
  std::vector<std::byte> datagram;
  std::size_t calls = 0;
  while (answer->next(datagram) && datagram.empty()) ++calls;
  EXPECT_GE(calls, kServices / kMostAtOnce - 1);
  EXPECT_FALSE(datagram.empty()) << "the acknowledgement";
}

TEST_F(RequestHandlerTest, AServiceWithManyDestinationsIsListedInPieces) {
  constexpr unsigned kDestinations = 1000;
  ASSERT_EQ(error(wire::add_service_request({}, service_)), 0);
  for (unsigned i = 0; i < kDestinations; ++i) {
    auto spec = destination();
    spec.port = net::Port::from_host(static_cast<std::uint16_t>(i + 1));
    ASSERT_TRUE(own_.director.add_destination(service_.key, spec));
  }
  const auto listed = destinations();
  ASSERT_THAT(listed, SizeIs(kDestinations));
  for (unsigned i = 0; i < kDestinations; ++i) {
    EXPECT_EQ(listed[i].spec.port.to_host(), kDestinations - i);  // newest first
  }
  const auto answer = handler_.handle(wire::list_destinations_request({}, service_.key), kPortId);
  for (std::vector<std::byte> datagram; answer->next(datagram);) {
    EXPECT_LE(datagram.size(), Dump::kMaxDatagram);
  }
}

TEST_F(RequestHandlerTest, Settings) {
  constexpr wire::RequestContext kContext{.family = wire::kSluiceFamily};
  const auto set = [&](const char* name, const char* value) {
    return error(wire::set_setting_request(kContext, {.name = name, .value = value}));
  };
  EXPECT_EQ(set("net.ipv4.vs.drop_entry", "3"), 0);
  EXPECT_EQ(set("net/ipv4/vs/conn_reuse_mode", "-1"), 0);
  EXPECT_EQ(own_.director.settings().drop_entry, 3);
  EXPECT_EQ(own_.director.settings().conn_reuse_mode, -1);
  EXPECT_EQ(set("net.ipv4.vs.drop_entry", "4"), EINVAL);
  EXPECT_EQ(set("net.ipv4.vs.drop_entry", ""), EINVAL);
  EXPECT_EQ(set("net.ipv4.vs.drop_entry", "1x"), EINVAL);
  EXPECT_EQ(set("net.ipv4.vs.drop_entry", "99999999999"), EINVAL);
  EXPECT_EQ(set("net.ipv4.vs.nosuch", "1"), ENOENT);
  EXPECT_EQ(set("", "1"), ENOENT);
  const auto read =
      wire::read_settings(ask(wire::get_setting_request(kContext, "net.ipv4.vs.drop_entry")));
  const wire::Setting expected{.name = "net.ipv4.vs.drop_entry", .value = "3"};
  ASSERT_TRUE(read.has_value());
  EXPECT_THAT(*read, ElementsAre(expected));
  EXPECT_EQ(error(wire::get_setting_request(kContext, "x")), ENOENT);
  EXPECT_EQ(set("net.ipv4.vs.sync_threshold", " 2\t4 "), 0);
  EXPECT_EQ(own_.director.settings().sync_threshold, 2);
  EXPECT_EQ(own_.director.settings().sync_period, 4);
  const auto two =
      wire::read_settings(ask(wire::get_setting_request(kContext, "net.ipv4.vs.sync_threshold")));
  ASSERT_TRUE(two.has_value());
  EXPECT_EQ(two->at(0).value, "2\t4");
  EXPECT_EQ(set("net.ipv4.vs.sync_threshold", "3"), 0);
  EXPECT_EQ(own_.director.settings().sync_period, 4);
  EXPECT_EQ(set("net.ipv4.vs.sync_threshold", "4"), EINVAL);  // never reached modulo 4
  EXPECT_EQ(set("net.ipv4.vs.sync_threshold", "1 2 3"), EINVAL);
  EXPECT_EQ(set("net.ipv4.vs.sync_ports", "3"), EINVAL);
  EXPECT_THAT(*wire::read_settings(ask(wire::list_settings_request(kContext))),
              SizeIs(setting_names().size()));
}

class KnownStatus : public StatusSource {
 public:
  std::string version() const override { return "1.2.3"; }
  Duration uptime() const override { return std::chrono::seconds(5); }
  std::string health() const override { return "degraded: eth1 is slow"; }
  std::vector<wire::InterfaceStatus> interfaces() const override {
    return {{.name = "eth0", .xdp_mode = "native", .note = "", .counters = {}},
            {.name = "eth1", .xdp_mode = "generic", .note = "slow", .counters = {{"rx", 3}}}};
  }
  std::vector<wire::NamedCounter> counters() const override { return {{"punted", 9}}; }
};

TEST_F(RequestHandlerTest, Status) {
  const KnownStatus known;
  const RequestHandler handler(own_.director, &known);
  DirectTransport transport(handler);
  own_.director.count_drop(engine::DropReason::kNoNeighbour);
  const auto status =
      wire::read_status(*transport.exchange(wire::status_request({.family = wire::kSluiceFamily})));
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->director.version, "1.2.3");
  EXPECT_EQ(status->director.uptime_seconds, 5U);
  EXPECT_EQ(status->director.connection_capacity, own_.director.connection_capacity());
  EXPECT_THAT(status->director.drops, SizeIs(engine::kDropReasonCount));
  EXPECT_THAT(status->director.drops,
              testing::Contains(wire::NamedCounter{.name = "no_neighbour", .value = 1}));
  EXPECT_THAT(status->director.counters,
              testing::Contains(wire::NamedCounter{.name = "punted", .value = 9}));
  EXPECT_EQ(status->director.health, known.health());
  EXPECT_EQ(status->interfaces, known.interfaces());
}

class KnownDaemon : public DaemonControl {
 public:
  Result<void> stop(wire::StopMode mode) override {
    if (mode == wire::StopMode::kKeepForwarding) return failure(ENOTSUP);
    asked.push_back(mode);
    return {};
  }
  std::vector<wire::StopMode> asked;
};

TEST_F(RequestHandlerTest, Stop) {
  using enum wire::StopMode;
  const wire::RequestContext context{.family = wire::kSluiceFamily};
  EXPECT_EQ(error(wire::stop_request(context, kRemove)), EOPNOTSUPP);  // there is no daemon
  KnownDaemon daemon;
  const RequestHandler handler(own_.director, nullptr, &daemon);
  DirectTransport transport(handler);
  const auto outcome = [&](wire::StopMode mode) {
    const auto result = wire::outcome(*transport.exchange(wire::stop_request(context, mode)));
    return result ? 0 : result.error().code;
  };
  EXPECT_EQ(outcome(kAsConfigured), 0);
  EXPECT_EQ(outcome(kRemove), 0);
  EXPECT_EQ(outcome(kKeepForwarding), ENOTSUP);
  EXPECT_EQ(outcome(static_cast<wire::StopMode>(3)), EINVAL);
  EXPECT_THAT(daemon.asked, ElementsAre(kAsConfigured, kRemove));
}

TEST_F(RequestHandlerTest, ConnectionsOfAnEmptyTable) {
  const auto request = wire::list_connections_request({.family = wire::kSluiceFamily});
  EXPECT_THAT(*wire::read_connections(ask(request)), SizeIs(0));
}

TEST_F(RequestHandlerTest, ConnectionsAreListedOnce) {
  ASSERT_EQ(error(wire::add_service_request({}, service_)), 0);
  ASSERT_EQ(error(wire::add_destination_request({}, service_, destination())), 0);
  own_.network.set_neighbour(engine::InterfaceId{1}, destination().address,
                             {.bytes = {2, 0, 0, 0, 2, 2}});
  constexpr std::uint16_t kFirst = 40000;
  constexpr std::uint16_t kConnections = 500;
  engine::Outputs outputs;
  for (std::uint16_t i = 0; i < kConnections; ++i) {
    auto frame = syn_from(static_cast<std::uint16_t>(kFirst + i));
    net::Packet packet(frame, 0, frame.size());
    const auto verdict = own_.director.process(packet, engine::InterfaceId{1}, {}, outputs);
    ASSERT_EQ(verdict.kind, engine::Verdict::Kind::kSend) << static_cast<int>(verdict.kind);
  }
  const auto connections =
      wire::read_connections(ask(wire::list_connections_request({.family = wire::kSluiceFamily})));
  ASSERT_TRUE(connections.has_value());
  ASSERT_THAT(*connections, SizeIs(kConnections));
  std::set<std::uint16_t> ports;
  for (const auto& connection : *connections) {
    EXPECT_EQ(connection.client.address.to_text(), "198.51.100.7");
    EXPECT_EQ(connection.virtual_end.address, service_.key.address);
    EXPECT_EQ(connection.destination.address, destination().address);
    EXPECT_EQ(connection.state.view(), "SYN_RECV");
    ports.insert(connection.client.port.to_host());
  }
  EXPECT_THAT(ports, SizeIs(kConnections));
}

}  // namespace
}  // namespace lb::control
