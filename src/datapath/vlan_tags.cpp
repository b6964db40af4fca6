// SPDX-License-Identifier: Apache-2.0
#include "datapath/vlan_tags.hpp"

#include <cstring>

#include "net/byte_order.hpp"
#include "net/bytes.hpp"

namespace lb::datapath {
namespace {

constexpr std::size_t kAddresses = 12;  // the MACs of an Ethernet header
constexpr std::size_t kEthernet = 14;

bool is_tag(std::span<const std::byte> frame, std::size_t offset) noexcept {
  const auto type = net::Be16::from_network(net::load<std::uint16_t>(frame, offset)).to_host();
  return type == 0x8100 || type == 0x88a8;
}

}  // namespace

VlanTags::VlanTags(std::span<const std::byte> frame) noexcept {
  while (size_ < bytes_.size() && frame.size() >= kEthernet + size_ + kSize &&
         is_tag(frame, kAddresses + size_)) {
    std::memcpy(bytes_.data() + size_, frame.data() + kAddresses + size_, kSize);
    size_ += kSize;
  }
}

void VlanTags::remove(net::Packet& frame) noexcept {
  const VlanTags tags(frame.bytes());
  if (tags.empty()) return;
  const auto bytes = frame.bytes();
  std::memmove(bytes.data() + tags.size_, bytes.data(), kAddresses);
  frame.pull_front(tags.size_);
}

bool VlanTags::add_to(net::Packet& frame) const noexcept {
  if (frame.size() < kEthernet || !frame.push_front(size_)) return false;
  const auto bytes = frame.bytes();
  std::memmove(bytes.data(), bytes.data() + size_, kAddresses);
  std::memcpy(bytes.data() + kAddresses, bytes_.data(), size_);
  return true;
}

}  // namespace lb::datapath
