// SPDX-License-Identifier: Apache-2.0
#include "realserver/journal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace lb::realserver {
namespace {

using ::testing::HasSubstr;

net::IpAddress ip(const char* text) { return *net::IpAddress::from_text(text); }

class JournalTest : public ::testing::Test {
 protected:
  JournalTest() { std::filesystem::remove_all(folder_); }
  ~JournalTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) /
                                  ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::filesystem::path path_ = folder_ / "deeper" / "1.journal";
  Journal::Origin origin_{.boot = "b-1", .network_namespace = 7};
  realserver::Setup setup_{.mode = Mode::kTunnel,
                           .vips = {ip("192.0.2.10"), ip("2001:db8::10")},
                           .interfaces = {"eth0", "eth1.7"},
                           .director = ip("10.0.0.1"),
                           .xdp_mode = XdpMode::kGeneric,
                           .gue_port = 6080};
  std::vector<Change> changes_{{.kind = Change::Kind::kSysctl,
                                .what = "net/ipv4/conf/eth1.7/rp_filter",
                                .before = "1",
                                .after = "2"},
                               {.kind = Change::Kind::kDecap, .what = "eth0"},
                               {.kind = Change::Kind::kAddress, .what = "192.0.2.10/32"}};

  Journal write_all() {
    auto journal = Journal::create(path_, origin_, setup_);
    EXPECT_TRUE(journal) << journal.error();
    for (const auto& change : changes_) EXPECT_TRUE(journal->append(change));
    EXPECT_TRUE(journal->complete());
    return *journal;
  }
};

TEST_F(JournalTest, WhatIsWrittenIsRead) {
  write_all();
  const auto read = Journal::load(path_);
  ASSERT_TRUE(read) << read.error();
  ASSERT_TRUE(*read);
  EXPECT_EQ((*read)->origin(), origin_);
  EXPECT_EQ((*read)->setup(), setup_);
  EXPECT_EQ((*read)->changes(), changes_);
  EXPECT_TRUE((*read)->is_complete());
}

TEST_F(JournalTest, NothingIsNoError) {
  const auto read = Journal::load(path_);
  ASSERT_TRUE(read);
  EXPECT_FALSE(*read);
}

// A kill can cut the file off anywhere behind what was on the disk already.
TEST_F(JournalTest, CutOffAnywhereTheWholeLinesCount) {
  write_all();
  const auto whole = text();
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    // Around the ends of lines, and some places within.
    const auto end = whole.find('\n', size == 0 ? 0 : size - 1);
    if (size % 7 != 0 && end != std::string::npos && end > size + 1) continue;
    write(whole.substr(0, size));
    auto read = Journal::load(path_);
    ASSERT_TRUE(read) << size << ": " << read.error();
    const auto lines = static_cast<std::size_t>(
        std::count(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size), '\n'));
    ASSERT_EQ(read->has_value(), lines > 0) << size;
    if (lines == 0) continue;
    EXPECT_EQ((*read)->changes().size(), std::min(lines - 1, changes_.size())) << size;
    EXPECT_EQ((*read)->is_complete(), lines == changes_.size() + 2) << size;
    // Going on leaves a file that is whole.
    const Change next{.kind = Change::Kind::kAddress, .what = "192.0.2.11/32"};
    ASSERT_TRUE((*read)->append(next));
    const auto again = Journal::load(path_);
    ASSERT_TRUE(again && *again) << size;
    EXPECT_EQ((*again)->changes().back(), next);
    EXPECT_FALSE((*again)->is_complete());
  }
}

TEST_F(JournalTest, DamageIsNamedAndNothingIsGuessed) {
  write_all();
  const auto whole = text();
  const auto second = whole.find('\n') + 1;
  for (const auto& [what, line] : std::vector<std::pair<std::string, std::string>>{
           {"garbage", "\xff\xfe{\n"},
           {"not an object", "17\n"},
           {"a kind that is not known", R"({"change":"route","what":"x","before":"","after":""})"
                                        "\n"},
           {"a missing field", R"({"change":"sysctl","what":"x"})"
                               "\n"}}) {
    write(whole.substr(0, second) + line + whole.substr(second));
    const auto read = Journal::load(path_);
    ASSERT_FALSE(read) << what;
    EXPECT_THAT(read.error(), HasSubstr("1.journal:2: not what sluice has written")) << what;
  }
  write(R"({"version":2})"
        "\n");
  EXPECT_THAT(Journal::load(path_).error(), HasSubstr("another version"));
}

TEST_F(JournalTest, RemovedIsGone) {
  const auto journal = write_all();
  ASSERT_TRUE(journal.remove());
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_TRUE(journal.remove());  // twice is fine
}

TEST_F(JournalTest, AFolderThatCannotBeMadeIsAnError) {
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ / "deeper") << "a file";
  const auto journal = Journal::create(path_, origin_, setup_);
  ASSERT_FALSE(journal);
  EXPECT_THAT(journal.error(), HasSubstr("cannot make"));
}

}  // namespace
}  // namespace lb::realserver
