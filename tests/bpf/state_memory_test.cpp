// SPDX-License-Identifier: Apache-2.0
// The memory that outlives a director, in a network namespace of its own: what one leaves there the
// next one finds, and endpoints get memory as they need it.
#include "datapath/state_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

namespace lb::tests {
namespace {

using datapath::EndpointPieces;
using datapath::Pins;
using datapath::StateMemory;
using engine::DirectorMemory;
using engine::EndpointTable;

constexpr std::size_t kConnections = 300000;

EndpointTable::Entry entry(std::uint32_t number) {
  return {.address = net::IpAddress::v4(net::Be32::from_host(number)),
          .port = net::Port::from_host(80),
          .protocol = net::Protocol::kTcp,
          .references = number};
}

class KeptState : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: a network namespace of its own";
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << std::strerror(errno);
    open_pins();
  }
  void open_pins() {
    auto pins = Pins::open();
    ASSERT_TRUE(pins) << pins.error();
    pins_ = std::move(*pins);
  }
  /// As if a process ended and the next one began.
  void restart(std::size_t connections = kConnections) {
    memory_.reset();
    pins_->keep(true);
    pins_.reset();
    open_pins();
    open(connections);
  }
  void open(std::size_t connections = kConnections) {
    auto opened =
        StateMemory::open(*pins_, connections, [](datapath::LogLevel, std::string_view) {});
    ASSERT_TRUE(opened) << opened.error();
    memory_ = std::move(*opened);
  }
  void fill() {
    auto& globals = *memory_->memory().globals;
    globals.connections = kConnections;
    globals.layout = DirectorMemory::kLayout;
    for (const auto number : {std::size_t{1}, std::size_t{65535}, std::size_t{65536}, last()}) {
      memory_->memory().real_ends[number] = entry(static_cast<std::uint32_t>(number));
    }
    memory_->memory().records[kConnections].packets_in = 17;
  }
  [[nodiscard]] std::size_t last() const { return memory_->memory().real_room->entries() - 1; }
  [[nodiscard]] std::size_t pinned() const {
    const std::filesystem::directory_iterator all(pins_->path(""));
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

  std::unique_ptr<Pins> pins_;
  std::unique_ptr<StateMemory> memory_;
};

TEST_F(KeptState, BeginsWithRoomForWhatIsConfigured) {
  open();
  EXPECT_FALSE(memory_->has_discarded());
  EXPECT_FALSE(memory_->memory().is_adoptable());
  for (const auto* room : {memory_->memory().virtual_room, memory_->memory().real_room}) {
    EXPECT_EQ(room->entries(), DirectorMemory::kConfiguredEndpoints);
  }
  EXPECT_EQ(memory_->memory().real_ends.size(), DirectorMemory::endpoints_for(kConnections));
  EXPECT_EQ(pinned(), 5U);
}

TEST_F(KeptState, GrowsToTheMostAndNoFurther) {
  open();
  auto& room = *memory_->memory().real_room;
  const auto most = DirectorMemory::endpoints_for(kConnections);
  for (auto before = room.entries(); before < most; before = room.entries()) {
    ASSERT_TRUE(room.extend());
    ASSERT_EQ(room.entries(), std::min(before + EndpointPieces::kEntries, most));
    ASSERT_EQ(memory_->memory().real_ends[room.entries() - 1].references, 0U);
    memory_->memory().real_ends[room.entries() - 1] = entry(5);
  }
  EXPECT_FALSE(room.extend());
  EXPECT_EQ(room.entries(), most);
  EXPECT_EQ(memory_->memory().virtual_room->entries(), DirectorMemory::kConfiguredEndpoints);
}

TEST_F(KeptState, TheNextDirectorFindsWhatWasLeft) {
  open();
  ASSERT_TRUE(memory_->memory().real_room->extend());
  ASSERT_TRUE(memory_->memory().real_room->extend());
  fill();
  const auto entries = memory_->memory().real_room->entries();
  restart();
  EXPECT_FALSE(memory_->has_discarded());
  ASSERT_TRUE(memory_->memory().is_adoptable());
  ASSERT_EQ(memory_->memory().real_room->entries(), entries);
  EXPECT_EQ(memory_->memory().virtual_room->entries(), DirectorMemory::kConfiguredEndpoints);
  for (const auto number : {std::size_t{1}, std::size_t{65535}, std::size_t{65536}, last()}) {
    const auto& found = memory_->memory().real_ends[number];
    EXPECT_EQ(found.references, number);
    EXPECT_EQ(found.address, entry(static_cast<std::uint32_t>(number)).address);
  }
  EXPECT_EQ(memory_->memory().records[kConnections].packets_in, 17U);
  ASSERT_TRUE(memory_->memory().real_room->extend());
  EXPECT_EQ(memory_->memory().real_ends[last()].references, 0U);
}

TEST_F(KeptState, AnotherTableSizeStartsAnew) {
  open();
  fill();
  restart(1000);
  EXPECT_TRUE(memory_->has_discarded());
  EXPECT_FALSE(memory_->memory().is_adoptable());
  EXPECT_EQ(memory_->memory().real_ends[1].references, 0U);
  EXPECT_EQ(pinned(), 5U);
}

TEST_F(KeptState, AnotherBuildStartsAnew) {
  open();
  fill();
  ++memory_->memory().globals->layout;
  restart();
  EXPECT_TRUE(memory_->has_discarded());
  EXPECT_EQ(memory_->memory().real_ends[1].references, 0U);
}

// A piece that lies beyond one that is missing is of no use, and must not be taken for a new one.
TEST_F(KeptState, AMissingPieceEndsWhatIsTakenOver) {
  open();
  ASSERT_TRUE(memory_->memory().real_room->extend());
  ASSERT_TRUE(memory_->memory().real_room->extend());
  fill();
  pins_->remove("state-real-2");
  restart();
  ASSERT_TRUE(memory_->memory().is_adoptable());
  EXPECT_EQ(memory_->memory().real_room->entries(), DirectorMemory::kConfiguredEndpoints);
  ASSERT_TRUE(memory_->memory().real_room->extend());
  ASSERT_TRUE(memory_->memory().real_room->extend());
  EXPECT_EQ(memory_->memory().real_ends[last()].references, 0U);

  pins_->remove("state-real-0");
  restart();
  EXPECT_TRUE(memory_->has_discarded());
  EXPECT_EQ(memory_->memory().real_room->entries(), DirectorMemory::kConfiguredEndpoints);
}

TEST_F(KeptState, NothingIsLeftWithoutTheWishTo) {
  open();
  ASSERT_TRUE(memory_->memory().real_room->extend());
  const auto directory = pins_->path("");
  memory_.reset();
  pins_.reset();
  EXPECT_FALSE(std::filesystem::exists(directory));
}

}  // namespace
}  // namespace lb::tests
