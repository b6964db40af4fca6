// SPDX-License-Identifier: Apache-2.0
#include "shim/proc_files.hpp"

#include <gtest/gtest.h>

#include <array>

#include "shim/module_loader.hpp"

namespace lb::shim {
namespace {

TEST(ProcPath, OneFileByThreePaths) {
  for (const auto* path :
       {"/proc/net/ip_vs_conn", "/proc/self/net/ip_vs_conn", "/proc/thread-self/net/ip_vs_conn"}) {
    const auto file = proc_path(path);
    ASSERT_TRUE(file.has_value()) << path;
    EXPECT_EQ(file->path, "/proc/net/ip_vs_conn");
    EXPECT_EQ(file->kind, ProcKind::kReadOnly);
  }
}

TEST(ProcPath, Settings) {
  const auto file = proc_path("/proc/sys/net/ipv4/vs/drop_entry");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->path, "/proc/sys/net/ipv4/vs/drop_entry");
  EXPECT_EQ(file->kind, ProcKind::kSetting);
  for (const auto* path : {"/proc/sys/net/ipv4/vs", "/proc/sys/net/ipv4/vs/"}) {
    ASSERT_TRUE(proc_path(path).has_value()) << path;
    EXPECT_EQ(proc_path(path)->kind, ProcKind::kFolder);
  }
}

TEST(ProcPath, OthersAreTheKernels) {
  for (const auto* path :
       {"", "/", "/proc", "/proc/", "/proc/net/tcp", "/proc/net/ip_v", "/proc/net/ip_vs/../tcp",
        "proc/net/ip_vs", "/proc/sys/net/ipv4/vsx", "/proc/sys/net/ipv4/ip_forward", "/etc/hosts",
        "/proc/sys/net/ipv4/vs/a_name_that_is_too_long_to_be_that_of_a_setting"}) {
    EXPECT_FALSE(proc_path(path).has_value()) << path;
  }
  EXPECT_FALSE(proc_path(nullptr).has_value());
}

Execution judge(const char* path, std::array<const char*, 4> words) {
  std::array<char*, 5> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = const_cast<char*>(words[i]);
  return judge_execution(path, arguments.data());
}

TEST(ModuleLoader, OnlyModulesOfIpvsMatter) {
  using enum Execution;
  EXPECT_EQ(judge("/sbin/modprobe", {"modprobe", "--", "dummy", nullptr}), kAsAsked);
  EXPECT_EQ(judge("/sbin/modprobe", {"modprobe", "ip_vsx", nullptr, nullptr}), kAsAsked);
  EXPECT_EQ(judge("/bin/cat", {"cat", "ip_vs", nullptr, nullptr}), kAsAsked);
  EXPECT_EQ(judge(nullptr, {"modprobe", "ip_vs", nullptr, nullptr}), kAsAsked);
  EXPECT_EQ(judge_execution("/sbin/modprobe", nullptr), kAsAsked);
  // Whether a director runs here is not known.
  EXPECT_NE(judge("/sbin/modprobe", {"modprobe", "--", "ip_vs", nullptr}), kAsAsked);
  EXPECT_NE(judge("modprobe", {"modprobe", "-va", "ip_vs_rr", nullptr}), kAsAsked);
}

}  // namespace
}  // namespace lb::shim
