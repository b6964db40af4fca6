// SPDX-License-Identifier: Apache-2.0
#include "datapath/vlan_tags.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace lb::datapath {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kRoom = 16;

Bytes frame(const Bytes& tags) {
  Bytes result;
  for (std::uint8_t i = 0; i < 12; ++i) result.push_back(i);
  for (const auto byte : tags) result.push_back(byte);
  for (const int byte : {0x08, 0x00, 0x45, 0x00}) {
    result.push_back(static_cast<std::uint8_t>(byte));
  }
  return result;
}

struct Buffer {
  explicit Buffer(const Bytes& contents) : bytes(kRoom) {
    for (const auto byte : contents) bytes.push_back(std::byte{byte});
  }
  net::Packet packet() { return {bytes, kRoom, bytes.size() - kRoom}; }
  std::vector<std::byte> bytes;
};

Bytes contents(net::Packet& packet) {
  Bytes result;
  for (const auto byte : packet.bytes()) result.push_back(std::to_integer<std::uint8_t>(byte));
  return result;
}

const Bytes kOne{0x81, 0x00, 0x20, 0x07};
const Bytes kTwo{0x88, 0xa8, 0x00, 0x09, 0x81, 0x00, 0x00, 0x07};

TEST(VlanTags, AreTakenOffAndPutOn) {
  for (const auto& tags : {kOne, kTwo}) {
    Buffer tagged(frame(tags));
    auto packet = tagged.packet();
    const VlanTags seen(packet.bytes());
    EXPECT_FALSE(seen.empty());
    VlanTags::remove(packet);
    EXPECT_EQ(contents(packet), frame({}));
    ASSERT_TRUE(seen.add_to(packet));
    EXPECT_EQ(contents(packet), frame(tags));
  }
}

TEST(VlanTags, AFrameWithoutStaysAsItIs) {
  Buffer plain(frame({}));
  auto packet = plain.packet();
  const VlanTags seen(packet.bytes());
  EXPECT_TRUE(seen.empty());
  VlanTags::remove(packet);
  EXPECT_TRUE(seen.add_to(packet));
  EXPECT_EQ(contents(packet), frame({}));
}

TEST(VlanTags, WithoutRoomTheFrameIsUnchanged) {
  Buffer tagged(frame(kTwo));
  auto source = tagged.packet();
  const VlanTags tags(source.bytes());
  std::vector<std::byte> tight(16);
  net::Packet packet(tight, 0, tight.size());
  EXPECT_FALSE(tags.add_to(packet));
  EXPECT_EQ(packet.size(), tight.size());
}

TEST(VlanTags, FramesThatEndAnywhere) {
  const auto whole = frame(kTwo);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // Exactly as large as its contents, so that a read beyond the end is seen by a sanitizer.
    std::vector<std::byte> bytes(size);
    std::transform(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size), bytes.begin(),
                   [](std::uint8_t byte) { return std::byte{byte}; });
    net::Packet packet(bytes, 0, size);
    const VlanTags tags(packet.bytes());
    EXPECT_EQ(tags.empty(), size < 18) << size;
    VlanTags::remove(packet);
    EXPECT_EQ(packet.size(), size < 18 ? size : size < 22 ? size - 4 : size - 8);
  }
}

}  // namespace
}  // namespace lb::datapath
