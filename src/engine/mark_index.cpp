// SPDX-License-Identifier: Apache-2.0
#include "engine/mark_index.hpp"

#include <algorithm>
#include <bit>

namespace lb::engine {
namespace {

using Words = std::array<std::uint64_t, 2>;

Words words_of(const net::IpAddress& address) noexcept {
  return std::bit_cast<Words>(address.bytes());
}

// The first `length` bits of an address set, in the order of its bytes.
Words address_mask(unsigned length) noexcept {
  std::array<std::uint8_t, 16> bytes{};
  for (unsigned i = 0; i < bytes.size() && length > i * 8; ++i) {
    const unsigned bits = std::min(8U, length - i * 8);
    bytes[i] = static_cast<std::uint8_t>(0xff00U >> bits);
  }
  return std::bit_cast<Words>(bytes);
}

// A number of the shape that no other shape of either family has.
std::uint32_t shape_number(net::Family family, unsigned source, unsigned destination,
                           bool has_protocol, unsigned port_bits) noexcept {
  return (family == net::Family::kIpv4 ? 0U : 1U) | (has_protocol ? 2U : 0U) | port_bits << 2U |
         source << 8U | destination << 16U;
}

struct PortPrefix {
  std::uint16_t port = 0;
  std::uint16_t mask = 0;
};

// The ranges in order, those that touch or overlap joined: no port is then covered twice.
std::vector<model::PortRange> joined(const model::PortMatch& ports) {
  std::vector<model::PortRange> ranges(ports.ranges.begin(), ports.ranges.begin() + ports.count);
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<model::PortRange> result;
  for (const auto& range : ranges) {
    if (!result.empty() && range.first <= std::uint32_t{result.back().last} + 1) {
      result.back().last = std::max(result.back().last, range.last);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

// The prefixes that make up the ports, the largest possible first.
std::vector<PortPrefix> prefixes_of(const model::PortMatch& ports) {
  std::vector<PortPrefix> result;
  for (const auto& range : joined(ports)) {
    std::uint32_t at = range.first;
    while (at <= range.last) {
      std::uint32_t size = at == 0 ? 0x10000 : at & (~at + 1);
      while (at + size - 1 > range.last) size /= 2;
      result.push_back({static_cast<std::uint16_t>(at), static_cast<std::uint16_t>(~(size - 1))});
      at += size;
    }
  }
  return result;
}

std::uint64_t mix(std::uint64_t value) noexcept {
  // The finalizer of SplitMix64. Not keyed: what is in the table is the administrator's choice,
  // packets only look things up, and none can make its look-up longer than the table has it.
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

}  // namespace

std::size_t MarkIndex::KeyHash::operator()(const Key& key) const noexcept {
  const std::uint64_t rest =
      std::uint64_t{key.shape} << 24U | std::uint64_t{key.port} << 8U | key.protocol;
  auto hash = mix(key.destination[0] ^ rest);
  // Both words of IPv4 that are left out are zero.
  if (key.source[0] != 0) hash = mix(hash + key.source[0]);
  const auto low = key.destination[1] ^ std::rotl(key.source[1], 32);
  return low == 0 ? hash : mix(hash + low);
}

MarkIndex::Key MarkIndex::key_of(const net::Headers& headers) noexcept {
  return {.source = words_of(headers.source),
          .destination = words_of(headers.destination),
          .shape = 0,
          .port = headers.destination_port.to_host(),
          .protocol = static_cast<std::uint8_t>(headers.protocol)};
}

MarkIndex::Key MarkIndex::masked(const Key& key, const Shape& shape) noexcept {
  const auto& mask = shape.mask;
  return {.source = {key.source[0] & mask.source[0], key.source[1] & mask.source[1]},
          .destination = {key.destination[0] & mask.destination[0],
                          key.destination[1] & mask.destination[1]},
          .shape = mask.shape,
          .port = static_cast<std::uint16_t>(key.port & mask.port),
          .protocol = static_cast<std::uint8_t>(key.protocol & mask.protocol)};
}

// Calls `visit(key, shape)` for each key that the rule is filed under.
template <class Visit>
void MarkIndex::visit_keys(const model::MarkRule& rule, Visit visit) {
  const unsigned source = rule.source.is_negated ? 0 : rule.source.length;
  const unsigned destination = rule.destination.is_negated ? 0 : rule.destination.length;
  const bool has_protocol = rule.protocol != 0 && !rule.is_protocol_negated;
  std::vector<PortPrefix> ports;
  if (rule.destination_ports.is_asked() && !rule.destination_ports.is_negated) {
    ports = prefixes_of(rule.destination_ports);
  }
  if (ports.empty() || ports.size() > kMaxPortPrefixes) ports.assign(1, {});
  const Key whole{.source = words_of(rule.source.address),
                  .destination = words_of(rule.destination.address),
                  .shape = 0,
                  .port = 0,
                  .protocol = rule.protocol};
  for (const auto& prefix : ports) {
    const auto port_bits = static_cast<unsigned>(std::popcount(prefix.mask));
    const Shape shape{
        .mask = {.source = address_mask(source),
                 .destination = address_mask(destination),
                 .shape = shape_number(rule.family, source, destination, has_protocol, port_bits),
                 .port = prefix.mask,
                 .protocol = static_cast<std::uint8_t>(has_protocol ? 0xff : 0)}};
    auto key = whole;
    key.port = prefix.port;
    visit(masked(key, shape), shape);
  }
}

void MarkIndex::add(std::uint32_t number, const model::MarkRule& rule) {
  auto& shapes = shapes_[index_of(rule.family)];
  visit_keys(rule, [&](const Key& key, const Shape& shape) {
    auto known = std::find_if(shapes.begin(), shapes.end(), [&](const Shape& other) {
      return other.mask.shape == shape.mask.shape;
    });
    if (known == shapes.end()) known = shapes.insert(known, shape);
    ++known->rules;
    buckets_[key].push_back(number);
  });
}

void MarkIndex::remove(std::uint32_t number, const model::MarkRule& rule) {
  auto& shapes = shapes_[index_of(rule.family)];
  visit_keys(rule, [&](const Key& key, const Shape& shape) {
    const auto bucket = buckets_.find(key);
    if (bucket == buckets_.end()) return;
    std::erase(bucket.value(), number);
    if (bucket.value().empty()) buckets_.erase(bucket);
    const auto known = std::find_if(shapes.begin(), shapes.end(), [&](const Shape& other) {
      return other.mask.shape == shape.mask.shape;
    });
    if (known != shapes.end() && --known->rules == 0) shapes.erase(known);
  });
}

void MarkIndex::clear() noexcept {
  for (auto& shapes : shapes_) shapes.clear();
  buckets_.clear();
}

}  // namespace lb::engine
