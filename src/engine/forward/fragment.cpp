// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/fragment.hpp"

#include <algorithm>
#include <numeric>

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using net::Be16;
using net::Be32;
using net::Protocol;

constexpr std::size_t kIpv4Size = 20;
constexpr std::size_t kIpv6Size = 40;
constexpr std::size_t kIpv6LeastMtu = 1280;
constexpr std::size_t kFragmentHeaderSize = 8;
constexpr std::uint16_t kIpv4MoreFragments = 0x2000;

std::ptrdiff_t distance(std::size_t count) noexcept { return static_cast<std::ptrdiff_t>(count); }

/// Options that RFC 791 does not want in every fragment become "no operation" in place, so that
/// the header keeps its length.
void keep_copied_options(std::span<std::byte> options) noexcept {
  constexpr std::size_t kCopied = 0x80;
  constexpr std::size_t kEnd = 0;
  constexpr std::size_t kNoOperation = 1;
  for (std::size_t at = 0; at < options.size();) {
    const auto kind = std::to_integer<std::size_t>(options[at]);
    if (kind == kEnd) return;
    if (kind == kNoOperation) {
      ++at;
      continue;
    }
    if (at + 2 > options.size()) return;
    const auto size = std::to_integer<std::size_t>(options[at + 1]);
    if (size < 2 || size > options.size() - at) return;
    if ((kind & kCopied) == 0) {
      std::fill_n(options.begin() + distance(at), size, std::byte{kNoOperation});
    }
    at += size;
  }
}

std::size_t bytes_of(const FragmentShape& shape) noexcept {
  return std::accumulate(shape.payloads.begin(), shape.payloads.end(), std::size_t{0});
}

/// True if `data` bytes can be cut as they came: the first piece takes what was added in front.
bool keeps_shape(const FragmentShape& shape, std::size_t data, std::size_t most) noexcept {
  if (shape.payloads.size() < 2) return false;
  const std::size_t came = bytes_of(shape);
  if (came > data) return false;
  const std::size_t added = data - came;
  for (std::size_t i = 0; i < shape.payloads.size(); ++i) {
    const std::size_t size = shape.payloads[i] + (i == 0 ? added : 0);
    const bool is_last = i + 1 == shape.payloads.size();
    if (size > most || (!is_last && size % 8 != 0)) return false;
  }
  return true;
}

}  // namespace

bool fragment_ipv4(std::span<const std::byte> frame, const net::Headers& headers, std::uint32_t mtu,
                   const FragmentShape& shape, const Verdict& verdict, Outputs& outputs) noexcept {
  const std::size_t limit = shape.largest == 0 ? mtu : std::min<std::size_t>(mtu, shape.largest);
  const std::size_t head_size = headers.transport_offset;  // link and IP header
  const std::size_t ip_header = head_size - headers.ip_offset;
  if (limit < ip_header + 8) return false;
  const std::size_t most = (limit - ip_header) & ~std::size_t{7};
  const auto data = frame.subspan(head_size, headers.end - head_size);
  const bool as_it_came = keeps_shape(shape, data.size(), limit - ip_header);
  const std::size_t came = bytes_of(shape);

  std::size_t number = 0;
  for (std::size_t at = 0; at < data.size(); ++number) {
    const std::size_t size = as_it_came
                                 ? shape.payloads[number] + (number == 0 ? data.size() - came : 0)
                                 : std::min(most, data.size() - at);
    const auto piece = outputs.reserve(head_size + size);
    if (piece.empty()) return false;
    std::copy_n(frame.begin(), head_size, piece.begin());
    std::copy_n(data.begin() + distance(at), size, piece.begin() + distance(head_size));

    const auto ip = piece.subspan(headers.ip_offset);
    const std::size_t offset = headers.fragment_offset + at;
    const bool is_last = at + size == data.size() && !headers.more_fragments;
    const unsigned flags = (net::load<Be16>(ip, 6).to_host() & 0xc000U) |
                           (is_last ? 0U : unsigned{kIpv4MoreFragments});
    net::store(ip, 2, Be16::from_host(static_cast<std::uint16_t>(ip_header + size)));
    net::store(ip, 6, Be16::from_host(static_cast<std::uint16_t>(flags | (offset / 8))));
    if (offset != 0) keep_copied_options(ip.subspan(kIpv4Size, ip_header - kIpv4Size));
    net::store(ip, 10, Be16());
    net::store(ip, 10, net::internet_checksum(ip.first(ip_header)));
    outputs.commit(verdict);
    at += size;
  }
  return true;
}

namespace {

/// Where the fragment header goes, and which byte then has to name it.
struct InsertionPoint {
  std::size_t offset;
  std::size_t named_at;
};

/// Behind hop-by-hop and routing headers and the destination options before the latter
/// (RFC 8200, 4.5).
InsertionPoint insertion_point(std::span<const std::byte> frame,
                               const net::Headers& headers) noexcept {
  InsertionPoint point{headers.ip_offset + kIpv6Size, headers.ip_offset + std::size_t{6}};
  bool has_routing = false;
  while (point.offset + 8 <= headers.transport_offset) {
    const auto next = static_cast<Protocol>(frame[point.named_at]);
    const bool is_routing = next == Protocol::kRouting;
    const bool is_options = next == Protocol::kIp || next == Protocol::kDestinationOptions;
    if (!is_routing && !(is_options && !(has_routing && next == Protocol::kDestinationOptions))) {
      break;
    }
    has_routing = has_routing || is_routing;
    point.named_at = point.offset;
    point.offset += (std::to_integer<std::size_t>(frame[point.offset + 1]) + 1) * 8;
  }
  return point;
}

}  // namespace

bool fragment_ipv6(std::span<const std::byte> frame, const net::Headers& headers, std::uint32_t mtu,
                   const FragmentShape& shape, Be32 identification, const Verdict& verdict,
                   Outputs& outputs) noexcept {
  const InsertionPoint point = insertion_point(frame, headers);
  const std::size_t limit =
      shape.largest == 0
          ? mtu
          : std::min<std::size_t>(mtu, std::max<std::size_t>(shape.largest, kIpv6LeastMtu));
  const std::size_t around = point.offset - headers.ip_offset + kFragmentHeaderSize;
  if (limit < around + 8) return false;
  const std::size_t most = limit - around;
  const auto data = frame.subspan(point.offset, headers.end - point.offset);
  const bool as_it_came = keeps_shape(shape, data.size(), most);
  const std::size_t came = bytes_of(shape);

  std::size_t number = 0;
  for (std::size_t at = 0; at < data.size(); ++number) {
    std::size_t size = data.size() - at;
    if (as_it_came) {
      size = shape.payloads[number] + (number == 0 ? data.size() - came : 0);
    } else if (size > most) {
      size = most & ~std::size_t{7};
    }
    const bool is_last = at + size == data.size();
    const auto piece = outputs.reserve(point.offset + kFragmentHeaderSize + size);
    if (piece.empty()) return false;
    std::copy_n(frame.begin(), point.offset, piece.begin());
    const auto fragment_header = piece.subspan(point.offset);
    fragment_header[0] = piece[point.named_at];
    fragment_header[1] = std::byte{0};
    net::store(fragment_header, 2,
               Be16::from_host(static_cast<std::uint16_t>(at | (is_last ? 0U : 1U))));
    net::store(fragment_header, 4, identification);
    piece[point.named_at] = static_cast<std::byte>(Protocol::kFragment);
    std::copy_n(data.begin() + distance(at), size,
                fragment_header.begin() + distance(kFragmentHeaderSize));
    net::store(
        piece, headers.ip_offset + std::size_t{4},
        Be16::from_host(static_cast<std::uint16_t>(piece.size() - headers.ip_offset - kIpv6Size)));
    outputs.commit(verdict);
    at += size;
  }
  return true;
}

}  // namespace lb::engine
