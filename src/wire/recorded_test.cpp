// SPDX-License-Identifier: Apache-2.0
// The codec against the recorded bytes of ipvsadm and the kernel. Each half is checked with the
// other: requests are read by the director's half and built again by the client's, answers are
// read by the client's and built again by the director's. A few are built from literals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>

#include "net/bytes.hpp"
#include "wire/family.hpp"
#include "wire/ipvs_attributes.hpp"
#include "wire/ipvs_client.hpp"
#include "wire/ipvs_server.hpp"
#include "wire/recorded_messages.hpp"

namespace lb::wire {
namespace {

using testing::ElementsAre;

constexpr RequestContext kContext{.family = kRecordedIpvsFamily};

Message with_type(Message message, std::uint16_t type) {
  net::store(message, offsetof(nlmsghdr, nlmsg_type), type);
  return message;
}

Message done_message() {
  Message done;
  encode_done(done, {}, 0);
  return done;
}

std::optional<model::DestinationSpec> destination_spec(const IpvsRequest& asked,
                                                       net::Family family) {
  const auto parsed = parse_destination(asked.destination, Detail::kFull);
  if (!parsed) return std::nullopt;
  auto spec = parsed->spec;
  EXPECT_EQ(parsed->family, static_cast<unsigned>(family));
  spec.address = make_address(family, parsed->address);
  return spec;
}

/// Builds the request again that `view` shows.
Message build_service_request(const MessageView& view, const IpvsRequest& asked) {
  const bool is_dump = (view.header.flags & NLM_F_DUMP) == NLM_F_DUMP;
  const unsigned command = view.header.command;
  if (command == IPVS_CMD_GET_SERVICE && is_dump) return list_services_request(kContext);
  if (command == IPVS_CMD_ZERO && !asked.service) return zero_all_request(kContext);
  const auto key = parse_service(asked.service, Detail::kIdentity)->key;
  if (command == IPVS_CMD_GET_DEST) return list_destinations_request(kContext, key);
  if (command == IPVS_CMD_GET_SERVICE) return get_service_request(kContext, key);
  if (command == IPVS_CMD_DEL_SERVICE) return delete_service_request(kContext, identity(key));
  if (command == IPVS_CMD_ZERO) return zero_request(kContext, identity(key));
  const auto spec = *parse_service(asked.service, Detail::kFull);
  return command == IPVS_CMD_NEW_SERVICE ? add_service_request(kContext, spec)
                                         : edit_service_request(kContext, spec);
}

Message build_destination_request(const MessageView& view, const IpvsRequest& asked) {
  const auto service = identity(parse_service(asked.service, Detail::kIdentity)->key);
  const auto family =
      static_cast<net::Family>(parse_destination(asked.destination, Detail::kIdentity)->family);
  const auto destination = *destination_spec(asked, family);
  switch (view.header.command) {
    case IPVS_CMD_NEW_DEST:
      return add_destination_request(kContext, service, destination);
    case IPVS_CMD_SET_DEST:
      return edit_destination_request(kContext, service, destination);
    default:
      return delete_destination_request(kContext, service, destination);
  }
}

Message build_request(const MessageView& view) {
  if (view.header.type == kControllerFamily) return family_request(kIpvsName);
  const auto asked = *IpvsRequest::parse(view.attributes);
  switch (view.header.command) {
    case IPVS_CMD_GET_INFO:
      return info_request(kContext);
    case IPVS_CMD_GET_CONFIG:
      return timeouts_request(kContext);
    case IPVS_CMD_SET_CONFIG:
      return set_timeouts_request(kContext, asked.timeouts);
    case IPVS_CMD_FLUSH:
      return flush_request(kContext);
    case IPVS_CMD_GET_DAEMON:
      return list_daemons_request(kContext);
    case IPVS_CMD_NEW_DAEMON:
      return start_daemon_request(kContext, *parse_daemon(asked.daemon, Detail::kFull));
    case IPVS_CMD_DEL_DAEMON:
      return stop_daemon_request(kContext, *parse_daemon(asked.daemon, Detail::kIdentity));
    case IPVS_CMD_NEW_DEST:
    case IPVS_CMD_SET_DEST:
    case IPVS_CMD_DEL_DEST:
      return build_destination_request(view, asked);
    default:
      return build_service_request(view, asked);
  }
}

/// Builds the answer again that `view` shows.
Message build_answer(const MessageView& view, const Message& bytes) {
  const std::vector<Message> answer{bytes, done_message()};
  Message built;
  const auto flags = view.header.flags;
  switch (view.header.command) {
    case IPVS_CMD_NEW_SERVICE:
      encode_service(built, view, 0, flags, *read_service(answer));
      break;
    case IPVS_CMD_NEW_DEST:
      encode_destination(built, view, 0, flags, read_destinations(answer)->at(0));
      break;
    case IPVS_CMD_NEW_DAEMON:
      encode_daemon(built, view, 0, flags, read_daemons(answer)->at(0));
      break;
    case IPVS_CMD_SET_CONFIG:
      encode_timeouts(built, view, 0, *read_timeouts(answer));
      break;
    case IPVS_CMD_SET_INFO:
      EXPECT_EQ(read_info(answer)->version, 0x010201U);
      encode_info(built, view, 0, read_info(answer)->table_size);
      break;
    default:
      ADD_FAILURE() << "unexpected command " << unsigned{view.header.command};
  }
  return with_type(built, kRecordedIpvsFamily);
}

/// Clears what ipvsadm leaves behind an IPv4 address in a destination: of the service's IPv6
/// address, which it parsed into the same buffer before. Nobody reads it.
Message without_leftovers(Message message) {
  const auto view = *view_message(message);
  const auto asked = IpvsRequest::parse(view.attributes);
  if (view.header.type == kControllerFamily || !asked || !asked->destination) return message;
  const auto table = *AttributeTable::parse(*asked->destination, kDestinationRules);
  if (table.u16(IPVS_DEST_ATTR_ADDR_FAMILY) != AF_INET) return message;
  const auto offset = table.bytes(IPVS_DEST_ATTR_ADDR).data() - message.data();
  std::fill_n(message.begin() + offset + 4, 12, std::byte{0});
  return message;
}

TEST(Recorded, RequestsAreBuiltAsIpvsadmBuildsThem) {
  int count = 0;
  for (const auto& message : distinct_recorded_messages()) {
    if (!message.to_kernel) continue;
    SCOPED_TRACE(message.where);
    const auto view = view_message(message.bytes);
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(build_request(*view), without_leftovers(message.bytes));
    ++count;
  }
  EXPECT_GT(count, 150);
}

TEST(Recorded, AnswersAreBuiltAsTheKernelBuildsThem) {
  int count = 0;
  for (const auto& message : distinct_recorded_messages()) {
    const auto view = view_message(message.bytes);
    ASSERT_TRUE(view.has_value());
    if (message.to_kernel || view->header.type != kRecordedIpvsFamily) continue;
    SCOPED_TRACE(message.where);
    EXPECT_EQ(build_answer(*view, message.bytes), message.bytes);
    ++count;
  }
  EXPECT_GT(count, 90);
}

TEST(Recorded, AcknowledgementsErrorsAndEndsAreTheKernels) {
  Message request;
  int count = 0;
  for (const auto& message : recorded_messages()) {
    if (message.to_kernel) {
      request = message.bytes;
      continue;
    }
    const auto view = *view_message(message.bytes);
    if (view.header.type != NLMSG_ERROR && view.header.type != NLMSG_DONE) continue;
    SCOPED_TRACE(message.where);
    Message built;
    if (view.header.type == NLMSG_DONE) {
      encode_done(built, *view_message(request), 0);
    } else {
      const auto result = outcome(std::span(&message.bytes, 1));
      encode_error(built, *view_message(request), result ? 0 : result.error().code, 0);
    }
    EXPECT_EQ(built, message.bytes);
    ++count;
  }
  EXPECT_GT(count, 500);
}

TEST(Recorded, FamilyIsDescribedAsTheKernelDescribesIt) {
  for (const auto& message : distinct_recorded_messages()) {
    const auto view = *view_message(message.bytes);
    if (message.to_kernel || view.header.type != kControllerFamily) continue;
    auto family = families()[0];
    family.id = kRecordedIpvsFamily;
    Message built;
    encode_family(built, view, family, 0);
    EXPECT_EQ(built, message.bytes);
    const std::vector<Message> answer{message.bytes, done_message()};
    EXPECT_EQ(read_family_id(answer), kRecordedIpvsFamily);
    return;
  }
  FAIL() << "no look-up was recorded";
}

TEST(Recorded, ServiceOfLiterals) {
  // ipvsadm -A -t 192.0.2.37:0 -p 20 (persistence.jsonl)
  model::ServiceSpec spec;
  spec.key.address = *net::IpAddress::from_text("192.0.2.37");
  spec.flags = model::kServicePersistent;
  spec.timeout = 20;
  EXPECT_EQ(add_service_request(kContext, spec),
            from_hex("680000001c000500000000000000000001010000540001800600010002000000060002000600"
                     "000014000300c0000225000000000000000000000000060004000000000008000600776c6300"
                     "0c00070001000000ffffffff080008001400000008000900ffffffff"));
}

TEST(Recorded, DestinationOfLiterals) {
  // ipvsadm -d -t [2001:db8:10:1::125]:80 -r [2001:db8:10:2::70]:80 (ipv6.jsonl)
  model::ServiceKey key;
  key.family = net::Family::kIpv6;
  key.address = *net::IpAddress::from_text("2001:db8:10:1::125");
  key.port = net::Port::from_host(80);
  model::DestinationSpec destination;
  destination.address = *net::IpAddress::from_text("2001:db8:10:2::70");
  destination.port = net::Port::from_host(80);
  EXPECT_EQ(
      delete_destination_request(kContext, identity(key), destination),
      from_hex("c80000001c00050000000000000000000701000054000180060001000a0000000600020006000000"
               "1400030020010db8001000010000000000000125060004000050000005000600000000000c000700"
               "00000000ffffffff08000800000000000800090080000000600002800"
               "6000b000a0000001400010020010db80010000200000000000000700600020000500000080003000"
               "3000000080004000100000005000d000000000006000e000000000006000f0000000000080005000"
               "00000000800060000000000"));
}

TEST(Recorded, NumbersOfAListedService) {
  // The dump of `ipvsadm -Ln` after `-A -t 192.0.2.37:80 -s wrr -p 120 -M 255.255.255.0`.
  for (const auto& message : distinct_recorded_messages()) {
    if (message.to_kernel || message.where != "service-tcp.jsonl: ipvsadm -Ln") continue;
    const auto services = read_services(std::vector<Message>{message.bytes, done_message()});
    if (!services || services->empty() || services->front().spec.timeout != 120) continue;
    const auto& spec = services->front().spec;
    EXPECT_EQ(spec.key.address.to_text(), "192.0.2.37");
    EXPECT_EQ(spec.key.port.to_host(), 80);
    EXPECT_EQ(spec.key.protocol, net::Protocol::kTcp);
    EXPECT_EQ(spec.scheduler.view(), "wrr");
    EXPECT_EQ(spec.flags, model::kServicePersistent | model::kServiceHashed);
    EXPECT_EQ(spec.netmask, net::Be32::from_host(0xffffff00).to_network());
    return;
  }
  FAIL() << "that listing was not found";
}

}  // namespace
}  // namespace lb::wire
