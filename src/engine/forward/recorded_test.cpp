// SPDX-License-Identifier: Apache-2.0
// Replays the frames recorded from kernel IPVS through the forwarding steps. Which step applies,
// and with which addresses, is read off the recorded output; the bytes must then be the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/forward/ethernet.hpp"
#include "engine/forward/fragment.hpp"
#include "engine/forward/icmp_error.hpp"
#include "engine/forward/icmp_related.hpp"
#include "engine/forward/masquerade.hpp"
#include "engine/forward/reassembler.hpp"
#include "engine/forward/ttl.hpp"
#include "engine/forward/tunnel.hpp"
#include "engine/network_view.hpp"
#include "net/bytes.hpp"
#include "net/checksum.hpp"
#include "net/packet.hpp"
#include "net/parse.hpp"

namespace lb::engine {
namespace {

using nlohmann::json;
using Frame = std::vector<std::byte>;
using net::IpAddress;
using net::Protocol;

constexpr std::size_t kHeadroom = 128;

Frame from_hex(const std::string& text) {
  Frame frame;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    frame.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return frame;
}

std::string to_hex(std::span<const std::byte> frame) {
  std::string text;
  for (const std::byte byte : frame) {
    text += "0123456789abcdef"[std::to_integer<unsigned>(byte >> 4U)];
    text += "0123456789abcdef"[std::to_integer<unsigned>(byte & std::byte{0xf})];
  }
  return text;
}

IpAddress address_of(const std::string& text) { return IpAddress::from_text(text).value(); }

struct Prefix {
  IpAddress address;
  std::uint8_t length;
};

Prefix prefix_of(const std::string& text) {
  const auto slash = text.find('/');
  const auto address = address_of(text.substr(0, slash));
  if (slash == std::string::npos) {
    return {address, static_cast<std::uint8_t>(address.size() * 8)};
  }
  return {address, static_cast<std::uint8_t>(std::stoi(text.substr(slash + 1)))};
}

InterfaceId id_of(const std::string& port) {
  return static_cast<InterfaceId>(port == "ext" ? 1 : 2);
}

/// The director of the recordings: its interfaces, routes and neighbours.
class Lab {
 public:
  explicit Lab(const json& meta) {
    for (const auto& [name, port] : meta.at("ports").items()) {
      view.set_interface({id_of(name), name,
                          net::Mac::from_text(port.at("mac").get<std::string>()).value(),
                          port.at("mtu").get<std::uint32_t>()});
      for (const auto& text : port.at("addrs")) {
        const auto prefix = prefix_of(text.get<std::string>());
        view.add_address(id_of(name), prefix.address, prefix.length);
      }
    }
    for (const auto& route : meta.at("routes")) {
      RouteEntry entry;
      entry.via = address_of(route.at("via").get<std::string>());
      entry.destination = IpAddress::any(entry.via->family());
      if (route.at("dst") != "default") {
        const auto prefix = prefix_of(route.at("dst").get<std::string>());
        entry.destination = prefix.address;
        entry.prefix_length = prefix.length;
      }
      entry.out = id_of(route.at("dev").get<std::string>());
      view.add_route(entry);
    }
    for (const auto& neighbour : meta.at("neigh")) {
      const auto mac = net::Mac::from_text(neighbour.at("mac").get<std::string>()).value();
      const auto ip = address_of(neighbour.at("ip").get<std::string>());
      view.set_neighbour(id_of(neighbour.at("dev").get<std::string>()), ip, mac);
      macs.emplace_back(mac, ip);
    }
  }

  /// The next hop that a recorded frame was sent to.
  [[nodiscard]] NextHop hop_of(const Frame& sent, net::Family family) const {
    const net::Mac mac{net::load<std::array<std::uint8_t, 6>>(sent)};
    for (const auto& [known, ip] : macs) {
      if (known == mac && ip.family() == family) return view.route(ip).value();
    }
    return {};
  }

  NetworkView view;
  std::vector<std::pair<net::Mac, IpAddress>> macs;
};

struct Sent {
  Frame frame;
  std::vector<std::pair<std::size_t, std::size_t>> any;
};

void blank(Frame& frame, const Sent& as) {
  for (const auto& [offset, length] : as.any) {
    for (std::size_t i = offset; i < offset + length && i < frame.size(); ++i) {
      frame[i] = std::byte{0};
    }
  }
}

/// Every checksum of a frame that was made here must be right, also where the recording's differs.
void expect_right_checksums(std::span<const std::byte> frame) {
  const auto headers = net::parse_frame(frame);  // checks the IPv4 header
  ASSERT_TRUE(headers);
  const auto rest =
      frame.subspan(headers->transport_offset, headers->end - headers->transport_offset);
  if (headers->is_fragment()) return;
  if (headers->protocol == Protocol::kUdp && net::load<net::Be16>(rest, 6) != net::Be16()) {
    EXPECT_EQ(net::transport_checksum(headers->source, headers->destination, Protocol::kUdp, rest),
              net::Be16());
  }
}

class Replay {
 public:
  explicit Replay(const std::filesystem::path& file) : name_(file.stem().string()) {
    std::ifstream stream(file);
    std::string line;
    std::getline(stream, line);
    const json meta = json::parse(line);
    lab_ = std::make_unique<Lab>(meta);
    while (std::getline(stream, line)) {
      const json step = json::parse(line);
      if (step.at("op") == "rx" && !step.value("loose", false) && !step.contains("host")) {
        receive(step);
      }
    }
  }
  [[nodiscard]] std::size_t compared() const { return compared_; }

 private:
  void receive(const json& step) {
    buffer_.assign(kHeadroom + Reassembler::kMaxFrame, std::byte{0});
    Frame frame = from_hex(step.at("frame").get<std::string>());
    auto headers = net::parse_frame(frame);
    FragmentShape shape;
    if (headers && headers->is_fragment()) {
      const auto outcome =
          reassembler_.add(frame, *headers, Timestamp{}, std::span(buffer_).subspan(kHeadroom));
      if (outcome.kind != Reassembler::Outcome::Kind::kComplete) {
        EXPECT_TRUE(step.at("tx").empty()) << name_;
        return;
      }
      shape = outcome.shape;
      frame.assign(buffer_.begin() + kHeadroom,
                   buffer_.begin() + static_cast<std::ptrdiff_t>(kHeadroom + outcome.size));
      headers = net::parse_frame(frame);
    }
    std::vector<Sent> sent;
    for (const auto& out : step.at("tx")) {
      if (out.contains("by")) return;  // the host's, not IPVS's
      Sent entry{from_hex(out.at("frame").get<std::string>()), {}};
      for (const auto& range : out.value("any", json::array())) {
        entry.any.emplace_back(range[0].get<std::size_t>(), range[1].get<std::size_t>());
      }
      sent.push_back(std::move(entry));
    }
    if (sent.empty()) return;
    ASSERT_TRUE(headers) << name_;
    SCOPED_TRACE(name_ + " t=" + std::to_string(step.at("t").get<double>()) + " " +
                 step.value("note", ""));
    std::copy(frame.begin(), frame.end(), buffer_.begin() + kHeadroom);
    net::Packet packet(buffer_, kHeadroom, frame.size());
    ASSERT_TRUE(packet.resize(headers->end));
    outputs_.clear();
    sent_first_ = sent[0].frame;
    forward(packet, *headers, shape, sent);
  }

  void forward(net::Packet& packet, net::Headers headers, const FragmentShape& shape,
               const std::vector<Sent>& sent) {
    const auto like = net::parse_frame(sent[0].frame);
    ASSERT_TRUE(like);
    const auto first = std::span<const std::byte>(sent[0].frame);
    const bool is_icmp = like->protocol == Protocol::kIcmp || like->protocol == Protocol::kIcmpv6;
    if (is_icmp && headers.protocol != like->protocol) {
      answer(packet, headers, *like, sent);
      return;
    }
    if (lab_->view.is_local(headers.destination)) {
      record_ipv4_options(packet.bytes(), headers, headers.destination);
    }
    ASSERT_TRUE(decrement_ttl(packet.bytes(), headers));
    if (like->source == headers.source && like->destination == headers.destination) {
      complete_checksum(packet.bytes(), headers);
    } else if (like->source != headers.source && like->destination != headers.destination) {
      Tunnel tunnel;
      tunnel.source = lab_->view.source_for(like->destination).value();
      tunnel.destination = like->destination;
      tunnel.copy_dont_fragment = name_ != "tun-pmtu_disc0";
      if (like->protocol == Protocol::kGre) {
        tunnel.spec.type = model::TunnelType::kGre;
        if (first[like->transport_offset] != std::byte{0})
          tunnel.spec.flags = model::kTunnelChecksum;
      } else if (like->protocol == Protocol::kUdp) {
        tunnel.spec.type = model::TunnelType::kGue;
        tunnel.spec.port = like->destination_port;
        const bool checked =
            net::load<net::Be16>(first, like->transport_offset + std::size_t{6}) != net::Be16();
        if (checked) {
          tunnel.spec.flags = name_.find("remcsum") != std::string::npos
                                  ? model::kTunnelRemoteChecksum
                                  : model::kTunnelChecksum;
        }
      }
      ASSERT_TRUE(encapsulate(packet, headers, tunnel));
    } else {
      translate(packet, headers, *like);
    }
    const NextHop hop = lab_->hop_of(sent[0].frame, headers.family());
    ASSERT_TRUE(hop.resolved);
    write_ethernet(packet.bytes(), headers.ip_offset, headers.family(), hop);
    const Verdict verdict = Verdict::send(hop);
    if (shape.largest != 0 || headers.ip_size() > hop.mtu) {
      ASSERT_TRUE(headers.family() == net::Family::kIpv4
                      ? fragment_ipv4(packet.bytes(), headers, hop.mtu, shape, verdict, outputs_)
                      : fragment_ipv6(packet.bytes(), headers, hop.mtu, shape,
                                      net::Be32::from_host(1), verdict, outputs_));
    } else {
      const auto room = outputs_.reserve(packet.size());
      std::copy(packet.bytes().begin(), packet.bytes().end(), room.begin());
      outputs_.commit(verdict);
    }
    compare(sent);
  }

  void translate(net::Packet& packet, net::Headers& headers, const net::Headers& like) {
    const bool to_server = like.destination != headers.destination;
    const auto bytes = packet.bytes();
    if (is_related_icmp(headers)) {
      EXPECT_TRUE(icmp_checksum_holds(bytes, headers));
      const auto embedded = net::parse_embedded(bytes.first(headers.end), embedded_offset(headers));
      ASSERT_TRUE(embedded);
      // The port is in the recorded quote.
      const auto quoted = net::parse_embedded(sent_first_, embedded_offset(like));
      ASSERT_TRUE(quoted);
      ASSERT_TRUE(to_server ? translate_icmp_to_server(bytes, headers, *embedded,
                                                       {like.destination, quoted->source_port})
                            : translate_icmp_to_client(bytes, headers, *embedded,
                                                       {like.source, quoted->destination_port}));
      return;
    }
    ASSERT_TRUE(to_server
                    ? rewrite_destination(bytes, headers, {like.destination, like.destination_port})
                    : rewrite_source(bytes, headers, {like.source, like.source_port}));
  }

  void answer(net::Packet& packet, net::Headers headers, const net::Headers& like,
              const std::vector<Sent>& sent) {
    const auto icmp = std::span<const std::byte>(sent[0].frame).subspan(like.transport_offset);
    IcmpError error{like.icmp_type, like.icmp_code, net::load<net::Be32>(icmp, 4).to_host()};
    const bool is_too_big = error.rest != 0;
    const auto family = headers.family();
    const IcmpError expected = is_too_big
                                   ? IcmpError::too_big(family, error.rest)
                                   : (headers.ttl <= 1 ? IcmpError::time_exceeded(family)
                                                       : IcmpError::port_unreachable(family));
    EXPECT_EQ(expected.type, error.type);
    EXPECT_EQ(expected.code, error.code);
    // The kernel's router has taken from the TTL before "too big", and before "port unreachable"
    // about an answer that no connection expects (nat_icmp_send).
    const auto quoted = net::parse_embedded(sent[0].frame, embedded_offset(like));
    ASSERT_TRUE(quoted);
    EXPECT_TRUE(is_too_big || quoted->ttl == headers.ttl ||
                !lab_->view.is_local(headers.destination));
    if (quoted->ttl + 1 == headers.ttl) {
      ASSERT_TRUE(decrement_ttl(packet.bytes(), headers));
    }
    ASSERT_TRUE(send_icmp_error(packet.bytes(), headers, expected, net::Be16::from_host(1),
                                lab_->view, outputs_));
    EXPECT_EQ(outputs_.frames()[0].verdict.kind, Verdict::Kind::kSend);
    compare(sent);
  }

  void compare(const std::vector<Sent>& sent) {
    ASSERT_EQ(outputs_.frames().size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
      Frame made(outputs_.frames()[i].frame.begin(), outputs_.frames()[i].frame.end());
      if (!sent[i].any.empty()) expect_right_checksums(made);
      Frame recorded = sent[i].frame;
      blank(made, sent[i]);
      blank(recorded, sent[i]);
      EXPECT_EQ(to_hex(made), to_hex(recorded));
      ++compared_;
    }
  }

  std::string name_;
  Frame sent_first_;
  std::unique_ptr<Lab> lab_;
  Reassembler reassembler_;
  Outputs outputs_;
  std::vector<std::byte> buffer_;
  std::size_t compared_ = 0;
};

TEST(Recorded, EveryForwardedFrameIsTheKernels) {
  const std::filesystem::path folder = "tests/ipvs-oracle/fwd";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no recorded cases in " << folder;
  // What these frames need is not in the forwarding steps: changed payload, or ICMP about tunnels.
  const std::vector<std::string> others{"ftp-nat", "ftp-nat-s1", "tun-icmp-relay"};
  std::size_t compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".jsonl") continue;
    const auto name = entry.path().stem().string();
    if (std::find(others.begin(), others.end(), name) != others.end()) continue;
    compared += Replay(entry.path()).compared();
  }
  EXPECT_GT(compared, 1500U);
  RecordProperty("frames", static_cast<int>(compared));
}

}  // namespace
}  // namespace lb::engine
