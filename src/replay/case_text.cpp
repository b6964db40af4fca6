// SPDX-License-Identifier: Apache-2.0
#include "replay/case_text.hpp"

#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "replay/byte_writer.hpp"
#include "replay/packet_text.hpp"

namespace lb::replay {
namespace {

using Error = std::optional<std::string>;  // null: all is well

constexpr int kServers = 9;  // 10.0.0.1 and ...::1 are the director itself
constexpr std::uint8_t kErrorTos = 0xc0;

/// The words of a line that has no quotes.
std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

net::IpAddress address(const std::string& text) {
  return net::IpAddress::from_text(text).value_or(net::IpAddress{});
}

net::Mac mac(unsigned port, unsigned number) {
  return {{2, 0, 0, 0, static_cast<std::uint8_t>(port), static_cast<std::uint8_t>(number)}};
}

/// Clients are behind 192.0.2.254, servers 10.0.0.2 to .9, virtual addresses 192.0.2.10 and .11;
/// and the same for IPv6.
CaseMeta surroundings() {
  CaseMeta meta;
  meta.ports = {{.name = "ext",
                 .mac = mac(1, 1),
                 .addresses = {{address("192.0.2.1"), 24},
                               {address("2001:db8:1::1"), 64},
                               {address("192.0.2.10"), 32},
                               {address("192.0.2.11"), 32},
                               {address("2001:db8:1::10"), 128},
                               {address("2001:db8:1::11"), 128}}},
                {.name = "int",
                 .mac = mac(2, 1),
                 .addresses = {{address("10.0.0.1"), 24}, {address("2001:db8:2::1"), 64}}}};
  for (const bool is_v4 : {true, false}) {
    const auto gateway = address(is_v4 ? "192.0.2.254" : "2001:db8:1::fe");
    meta.neighbours.push_back({gateway, mac(1, 0xfe), "ext"});
    for (unsigned i = 2; i <= kServers; ++i) {
      const auto server = (is_v4 ? "10.0.0." : "2001:db8:2::") + std::to_string(i);
      meta.neighbours.push_back({address(server), mac(2, i), "int"});
    }
    meta.routes.push_back({{net::IpAddress::any(gateway.family()), 0}, gateway, "ext"});
  }
  return meta;
}

class CaseReader {
 public:
  explicit CaseReader(const std::string& name) {
    const auto slash = name.rfind('/');
    case_.meta = surroundings();
    case_.meta.id = name.substr(slash == std::string::npos ? 0 : slash + 1);
  }

  Error line(std::string_view text) {
    ++number_;
    const auto start = text.find_first_not_of(" \t");
    if (start == std::string_view::npos) return std::nullopt;
    auto rest = text.substr(start);
    if (rest.front() == '#') {
      if (case_.meta.about.empty() && rest.size() > 2) case_.meta.about = rest.substr(2);
      return std::nullopt;
    }
    if (rest.front() == '>') return expected_packet(rest.substr(1));
    if (rest.front() == '|') return output_line(rest.substr(1));
    if (start != 0) return more(rest);
    listing_ = Listing::kNone;
    if (rest.starts_with("ipvsadm ") || rest.starts_with("snat ")) return command(rest);
    if (rest.starts_with("connections:")) return connections(rest.substr(12));
    if (rest.starts_with("dropped:")) return dropped(rest.substr(8));
    if (rest.front() >= '0' && rest.front() <= '9') return packet(rest);
    return setting(rest);
  }

  tl::expected<Case, std::string> finish() {
    if (case_.meta.about.empty()) {
      return tl::unexpected(std::string("the first line does not tell what the case proves"));
    }
    return std::move(case_);
  }
  [[nodiscard]] std::size_t number() const noexcept { return number_; }

 private:
  enum class Listing : std::uint8_t { kNone, kConnections };

  Step& add(decltype(Step::action) action) {
    Step step;
    step.line = number_;
    step.time = time_;
    step.action = std::move(action);
    case_.steps.push_back(std::move(step));
    return case_.steps.back();
  }

  Error command(std::string_view text) {
    CommandStep step;
    step.arguments = words_of(std::string(text));
    add(std::move(step));
    return std::nullopt;
  }

  /// `| text`: a line that the command above prints; `|! text`: on standard error, and it fails.
  Error output_line(std::string_view text) {
    auto* step =
        case_.steps.empty() ? nullptr : std::get_if<CommandStep>(&case_.steps.back().action);
    if (step == nullptr) return "output without a command above it";
    const bool is_error = text.starts_with('!');
    if (is_error) text.remove_prefix(1);
    if (text.starts_with(' ')) text.remove_prefix(1);
    (is_error ? step->err : step->out) += std::string(text) + "\n";
    if (is_error) step->exit_status = 255;
    return std::nullopt;
  }

  /// `sysctl NAME=VALUE`, `mtu PORT N`, `iptables ...`: before the first packet, of the set-up.
  Error setting(std::string_view text) {
    const auto words = words_of(std::string(text));
    if (words[0] == "iptables" || words[0] == "ip6tables") {
      case_.meta.marks.emplace_back(text);
      return std::nullopt;
    }
    if (words[0] == "mtu" && words.size() == 3) {
      for (auto& port : case_.meta.ports) {
        if (port.name != (words[1] == "client" ? "ext" : "int")) continue;
        port.mtu = static_cast<std::uint32_t>(std::strtoul(words[2].c_str(), nullptr, 10));
      }
      return std::nullopt;
    }
    const auto equals = words.size() == 2 ? words[1].find('=') : std::string::npos;
    if (words[0] != "sysctl" || equals == std::string::npos) return "not understood: " + words[0];
    add(SysctlStep{words[1].substr(0, equals), words[1].substr(equals + 1)});
    return std::nullopt;
  }

  Error more(std::string_view text) {
    if (listing_ == Listing::kConnections) return connection(text);
    return "not understood: " + std::string(text);
  }

  Error packet(std::string_view text) {
    const auto space = std::min(text.find(' '), text.size());
    double time = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + space, time);
    if (error != std::errc{} || end != text.data() + space || time < time_) {
      return "times are seconds and do not go back";
    }
    time_ = time;
    const auto words = words_of(std::string(text.substr(space)));
    if (words.size() < 3 || words[0] != "<" || (words[1] != "client" && words[1] != "real")) {
      return std::string("a packet that arrives starts with \"< client\" or \"< real\"");
    }
    const bool from_client = words[1] == "client";
    const auto what = text.substr(text.find(words[1]) + words[1].size());
    auto parsed = parse_packet_text(what);
    if (!parsed) return parsed.error();
    came_ = *std::move(parsed);
    if (!came_.ttl) came_.ttl = from_client ? 63 : 64;
    const auto bytes = build_packet(came_);
    if (!bytes) return bytes.error();
    const auto sender = came_.via.value_or(came_.source.address);
    const auto from = from_client ? mac(1, 0xfe) : mac_of(sender);
    ReceiveStep step{.port = from_client ? "ext" : "int", .frame = {}, .sent = {}};
    step.frame = frame(from_client ? mac(1, 1) : mac(2, 1), from, *bytes);
    add(std::move(step));
    return std::nullopt;
  }

  [[nodiscard]] net::Mac mac_of(const net::IpAddress& at) const {
    for (const auto& neighbour : case_.meta.neighbours) {
      if (neighbour.address == at) return neighbour.mac;
    }
    return {};
  }

  static Bytes frame(const net::Mac& to, const net::Mac& from, const Bytes& packet) {
    Bytes bytes;
    put_mac(bytes, to);
    put_mac(bytes, from);
    put16(bytes, (std::to_integer<unsigned>(packet.front()) >> 4) == 6 ? 0x86dd : 0x0800);
    put_bytes(bytes, packet);
    return bytes;
  }

  Error expected_packet(std::string_view text) {
    auto* step =
        case_.steps.empty() ? nullptr : std::get_if<ReceiveStep>(&case_.steps.back().action);
    if (step == nullptr) return "a packet that leaves without one that arrives above it";
    const auto words = words_of(std::string(text));
    if (words.size() == 1 && words[0] == "nothing") return std::nullopt;
    if (words.size() == 1 && words[0] == "host") {
      step->to_host = true;
      return std::nullopt;
    }
    if (words.size() < 2 || (words[0] != "client" && words[0] != "real")) {
      return std::string("what leaves is told by \"> client\", \"> real\" or \"> host\"");
    }
    auto parsed = parse_packet_text(text.substr(text.find(words[0]) + words[0].size()));
    if (!parsed) return parsed.error();
    return add_expected(*step, *parsed, words[0] == "client");
  }

  Error add_expected(ReceiveStep& step, PacketText& packet, bool to_client) {
    // An error about a tunnel packet ends here, and the director makes one about what was inside.
    const bool is_relayed = came_.is_icmp_error() && came_.inner && came_.inner->is_tunnel();
    const bool is_own_error = packet.is_icmp_error() && (!packet.inner || is_relayed);
    if (is_own_error) {
      if (!packet.tos && packet.source.address.is_v4()) packet.tos = kErrorTos;
      if (!packet.ttl) packet.ttl = 64;
      packet.dont_fragment = false;
    }
    if (is_own_error && !packet.inner) {
      // It quotes as much of what came as fits 576 bytes (RFC 1812), or 1280 of IPv6.
      packet.inner = std::make_shared<PacketText>(came_);
      // The size is looked at after the hop is counted, all else before.
      const bool is_v4 = packet.source.address.is_v4();
      const bool too_big =
          packet.icmp_type == (is_v4 ? 3 : 2) && packet.icmp_code == (is_v4 ? 4 : 0);
      if (too_big) packet.inner->ttl = static_cast<std::uint8_t>(came_.ttl.value_or(63) - 1);
      packet.length = is_v4 ? 576 - 28 : 1280 - 48;
    } else if (is_own_error) {
      // As the case has it.
    } else if (packet.is_tunnel() && packet.inner) {
      inherit(*packet.inner, came_, true);
      const auto hop = packet.inner->ttl;
      if (!packet.ttl) packet.ttl = hop;
      if (!packet.tos) packet.tos = packet.inner->tos;
      if (!packet.dont_fragment) {
        packet.dont_fragment = packet.inner->dont_fragment.value_or(true) && !packet.piece;
      }
    } else {
      inherit(packet, came_, true);
    }
    const auto bytes = build_packet(packet);
    if (!bytes) return bytes.error();
    const auto next = packet.via.value_or(packet.destination.address);
    const auto to = to_client ? mac(1, 0xfe) : mac_of(next);
    ExpectedFrame expected{.port = to_client ? "ext" : "int",
                           .bytes = frame(to, to_client ? mac(1, 1) : mac(2, 1), *bytes)};
    expected.any = chosen_at_random(packet, is_own_error);
    step.sent.push_back(std::move(expected));
    return std::nullopt;
  }

  /// What Linux chooses at random: identifications, IPv6 flow labels, the source port of GUE.
  static std::vector<AnyBytes> chosen_at_random(const PacketText& packet, bool is_own_error) {
    const bool is_v4 = packet.source.address.is_v4();
    const std::size_t transport = is_v4 ? 34 : 54;
    std::vector<AnyBytes> any;
    const bool has_id = is_own_error || (packet.is_tunnel() && packet.dont_fragment == false);
    if (is_v4 && has_id) any = {{18, 2}, {24, 2}};
    if (!is_v4 && is_own_error) any.push_back({14, 4});
    if (!is_v4 && packet.piece) any.push_back({58, 4});
    const bool is_start = !packet.piece || packet.piece->first == 0;
    if (packet.kind == PacketText::Kind::kGue && is_start) {
      any.push_back({transport, 2});
      if (packet.with_checksum) any.push_back({transport + 6, 2});
    }
    return any;
  }

  Error connections(std::string_view text) {
    add(ConnectionsStep{.ignore_expiry = true});
    listing_ = Listing::kConnections;
    const auto words = words_of(std::string(text));
    return words.empty() || words[0] == "none" ? std::nullopt : connection(text);
  }

  /// `PROTOCOL STATE CLIENT VIRTUAL DESTINATION`, as `ipvsadm -Lcn` shows them.
  Error connection(std::string_view text) {
    const auto words = words_of(std::string(text));
    if (words.size() != 5) return "a connection is PROTOCOL STATE CLIENT VIRTUAL DESTINATION";
    auto& step = std::get<ConnectionsStep>(case_.steps.back().action);
    step.connections.push_back({.protocol = words[0],
                                .expires_in = 1,
                                .state = words[1],
                                .client = words[2],
                                .virtual_end = words[3],
                                .destination = words[4]});
    return std::nullopt;
  }

  /// `none`, or reasons, each with how many packets if that is not one.
  Error dropped(std::string_view text) {
    DroppedStep step;
    for (const auto& word : words_of(std::string(text))) {
      if (word == "none") continue;
      if (word.front() >= '0' && word.front() <= '9') {
        if (step.reasons.empty()) return "a number without a reason before it";
        step.reasons.back().second = std::strtoull(word.c_str(), nullptr, 10);
      } else {
        step.reasons.emplace_back(word, 1);
      }
    }
    add(std::move(step));
    return std::nullopt;
  }

  Case case_;
  std::size_t number_ = 0;
  double time_ = 0;
  PacketText came_;
  Listing listing_ = Listing::kNone;
};

}  // namespace

tl::expected<Case, FileError> parse_text_case(std::string_view text, const std::string& name) {
  CaseReader reader(name);
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    if (auto error = reader.line(text.substr(0, end))) {
      return tl::unexpected(FileError{name, reader.number(), *std::move(error)});
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  auto result = reader.finish();
  if (!result) return tl::unexpected(FileError{name, 0, result.error()});
  return *std::move(result);
}

tl::expected<Case, FileError> load_text_case(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return tl::unexpected(FileError{path, 0, "cannot be read"});
  const std::string text(std::istreambuf_iterator<char>(file), {});
  return parse_text_case(text, path);
}

}  // namespace lb::replay
