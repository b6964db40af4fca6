// SPDX-License-Identifier: Apache-2.0
#include "replay/packet_text.hpp"

#include <array>
#include <charconv>
#include <vector>

#include "replay/frame_builder.hpp"

namespace lb::replay {
namespace {

using Kind = PacketText::Kind;

struct IcmpName {
  std::string_view name;
  std::uint8_t v4_type;
  std::uint8_t v4_code;
  std::uint8_t v6_type;
  std::uint8_t v6_code;
};
constexpr auto kIcmpNames = std::to_array<IcmpName>({
    {"echo", 8, 0, 128, 0},
    {"echo-reply", 0, 0, 129, 0},
    {"host-unreachable", 3, 1, 1, 3},
    {"port-unreachable", 3, 3, 1, 4},
    {"too-big", 3, 4, 2, 0},
    {"ttl-exceeded", 11, 0, 3, 0},
});

template <class Int>
std::optional<Int> number(std::string_view text) {
  Int value{};
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

/// Reads one packet from words; leaves the rest to an enclosing one.
class Reader {
 public:
  explicit Reader(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
      const auto start = text.find_first_not_of(" \t", at);
      if (start == std::string_view::npos) break;
      at = std::min(text.find_first_of(" \t", start), text.size());
      words_.push_back(text.substr(start, at - start));
    }
  }

  tl::expected<PacketText, std::string> packet(int depth) {
    PacketText result;
    if (depth > 3 || !read_kind(result) || !read_ends(result)) return fail();
    if (!read_what(result)) return fail();
    while (at_ < words_.size()) {
      const auto word = next();
      if (word == "about" || word == "carrying") {
        auto inner = packet(depth + 1);
        if (!inner) return inner;
        result.inner = std::make_shared<PacketText>(*std::move(inner));
        result.via = result.inner->via;  // "via" ends the line, and is about the frame
      } else if (!read_attribute(result, word)) {
        return fail();
      }
    }
    return result;
  }

 private:
  std::string_view next() { return at_ < words_.size() ? words_[at_++] : std::string_view{}; }
  tl::expected<PacketText, std::string> fail() {
    const auto word = at_ == 0 || words_.empty() ? std::string_view{} : words_[at_ - 1];
    return tl::unexpected("packet: \"" + std::string(word) + "\" is not understood");
  }

  bool read_kind(PacketText& result) {
    constexpr std::array<std::string_view, 8> kNames{"tcp",   "udp",  "sctp", "icmp",
                                                     "proto", "ipip", "gre",  "gue"};
    const auto word = next();
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      if (kNames[i] == word) {
        result.kind = static_cast<Kind>(i);
        if (result.kind != Kind::kOther) return true;
        const auto protocol = number<std::uint8_t>(next());
        result.protocol = protocol.value_or(0);
        return protocol.has_value();
      }
    }
    return false;
  }

  bool read_end(const PacketText& packet, net::Endpoint& end) {
    const auto word = next();
    if (packet.kind <= Kind::kSctp) {
      const auto both = endpoint_from_text(word);
      end = both.value_or(net::Endpoint{});
      return both.has_value();
    }
    const auto address = net::IpAddress::from_text(word);
    end.address = address.value_or(net::IpAddress{});
    return address.has_value();
  }

  bool read_ends(PacketText& result) {
    return read_end(result, result.source) && next() == ">" &&
           read_end(result, result.destination) &&
           result.source.address.family() == result.destination.address.family();
  }

  bool read_what(PacketText& result) {
    if (result.kind == Kind::kTcp) {
      result.flags = next();
      return result.flags == "." || tcp_flags_from_text(result.flags);
    }
    if (result.kind == Kind::kSctp) {
      result.flags = next();
      return !result.flags.empty();
    }
    return result.kind != Kind::kIcmp || read_icmp(result, next());
  }

  static bool read_icmp(PacketText& result, std::string_view word) {
    const bool is_v4 = result.source.address.is_v4();
    for (const auto& known : kIcmpNames) {
      if (known.name != word) continue;
      result.icmp_type = is_v4 ? known.v4_type : known.v6_type;
      result.icmp_code = is_v4 ? known.v4_code : known.v6_code;
      return true;
    }
    const auto slash = word.find('/');
    if (slash == std::string_view::npos) return false;
    const auto type = number<std::uint8_t>(word.substr(0, slash));
    const auto code = number<std::uint8_t>(word.substr(slash + 1));
    result.icmp_type = type.value_or(0);
    result.icmp_code = code.value_or(0);
    return type && code;
  }

  static bool read_piece(PacketText& result, std::string_view word) {
    PacketText::Piece piece;
    if (word.ends_with('+')) {
      piece.more = true;
      word.remove_suffix(1);
    }
    const auto colon = word.find(':');
    if (colon == std::string_view::npos) return false;
    const auto first = number<std::size_t>(word.substr(0, colon));
    const auto length = number<std::size_t>(word.substr(colon + 1));
    if (!first || !length || *first % 8 != 0) return false;
    piece.first = *first;
    piece.length = *length;
    result.piece = piece;
    return true;
  }

  template <class Int>
  bool read_number(std::optional<Int>& field) {
    field = number<Int>(next());
    return field.has_value();
  }

  bool read_attribute(PacketText& result, std::string_view word) {
    if (word == "seq") return read_number(result.seq);
    if (word == "ack") return read_number(result.ack);
    if (word == "len") return read_number(result.length);
    if (word == "ttl") return read_number(result.ttl);
    if (word == "tos") return read_number(result.tos);
    if (word == "id") return read_number(result.id);
    if (word == "rest") return read_number(result.icmp_rest);
    if (word == "piece") return read_piece(result, next());
    if (word == "no-df") {
      result.dont_fragment = false;
      return true;
    }
    if (word == "csum") {
      result.with_checksum = true;
      return true;
    }
    if (word != "via") return false;
    result.via = net::IpAddress::from_text(next());
    return result.via.has_value();
  }

  std::vector<std::string_view> words_;
  std::size_t at_ = 0;
};

template <class T>
void take(std::optional<T>& value, const std::optional<T>& other) {
  if (!value) value = other;
}

}  // namespace

bool PacketText::is_icmp_error() const noexcept {
  if (kind != Kind::kIcmp) return false;
  if (!source.address.is_v4()) return icmp_type < 128;
  return icmp_type == 3 || icmp_type == 4 || icmp_type == 5 || icmp_type == 11 || icmp_type == 12;
}

tl::expected<PacketText, std::string> parse_packet_text(std::string_view text) {
  return Reader(text).packet(0);
}

void inherit(PacketText& packet, const PacketText& like, bool hop) {
  take(packet.seq, like.seq);
  take(packet.ack, like.ack);
  take(packet.length, like.length);
  take(packet.tos, like.tos);
  take(packet.id, like.id);
  take(packet.icmp_rest, like.icmp_rest);
  take(packet.dont_fragment, like.dont_fragment);
  if (!packet.ttl) {
    packet.ttl = static_cast<std::uint8_t>(like.ttl.value_or(63) - (hop ? 1 : 0));
  }
  if (packet.inner && like.inner && packet.inner->kind == like.inner->kind) {
    inherit(*packet.inner, *like.inner, false);
    if (packet.kind == PacketText::Kind::kIcmp) packet.inner->summed_as = like.inner;
  }
}

}  // namespace lb::replay
