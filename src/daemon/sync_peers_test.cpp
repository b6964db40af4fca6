// SPDX-License-Identifier: Apache-2.0
#include "daemon/sync_peers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>

namespace lb::daemon {
namespace {

using testing::HasSubstr;

class SyncKey : public testing::Test {
 protected:
  std::string write(std::string_view text, mode_t mode = 0600) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << text;
    EXPECT_EQ(::chmod(path_.c_str(), mode), 0);
    const auto key = read_table_key(path_);
    return key ? std::string() : key.error();
  }
  ~SyncKey() override { std::remove(path_.c_str()); }
  std::string path_ = testing::TempDir() + "sync-key-" + std::to_string(::getpid());
};

TEST_F(SyncKey, WhiteSpaceAtTheEndIsLeftOut) {
  EXPECT_EQ(write("0123456789abcdef"), "");
  const auto plain = read_table_key(path_);
  EXPECT_EQ(write("0123456789abcdef \r\n"), "");
  const auto with_end = read_table_key(path_);
  EXPECT_EQ(plain->tag({}), with_end->tag({}));
  EXPECT_EQ(write("0123456789abcdeF"), "");
  EXPECT_NE(read_table_key(path_)->tag({}), plain->tag({}));
}

TEST_F(SyncKey, OthersMayNotReadIt) {
  EXPECT_THAT(write("0123456789abcdef", 0640), HasSubstr("only its owner"));
  EXPECT_THAT(write("0123456789abcdef", 0604), HasSubstr("only its owner"));
}

TEST_F(SyncKey, ShortAndLongOnesAreRefused) {
  EXPECT_THAT(write("0123456789abcde\n"), HasSubstr("16 to 1024 bytes"));
  EXPECT_THAT(write(""), HasSubstr("16 to 1024 bytes"));
  EXPECT_THAT(write(std::string(1025, 'x')), HasSubstr("16 to 1024 bytes"));
  EXPECT_EQ(write(std::string(1024, 'x')), "");
}

TEST_F(SyncKey, NoFileNoKey) {
  EXPECT_THAT(read_table_key(path_ + "-not").error(), HasSubstr("No such file"));
  EXPECT_THAT(read_table_key("/dev/zero").error(), HasSubstr("only its owner"));
}

}  // namespace
}  // namespace lb::daemon
