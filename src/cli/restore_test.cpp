// SPDX-License-Identifier: Apache-2.0
#include "cli/restore.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/ip_vs.h>

#include <cerrno>
#include <string>
#include <vector>

#include "cli/rule_file.hpp"
#include "cli/test_director.hpp"
#include "wire/transaction_messages.hpp"

namespace lb::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using wire::SluiceCommand;
using Words = std::vector<std::string>;

constexpr auto kBegin = static_cast<std::uint8_t>(SluiceCommand::kBeginTransaction);
constexpr auto kCommit = static_cast<std::uint8_t>(SluiceCommand::kCommitTransaction);

constexpr const char* kRules =
    "# two servers\n"
    "-A -t 192.0.2.10:80 -s rr\n"
    "\n"
    "-a -t 192.0.2.10:80 -r 10.0.0.1:80 -m\n"
    "mark add -p tcp --dport 80 -j MARK --set-mark 7\n";

class RestoreTest : public testing::Test {
 protected:
  ProgramResult restore(const Words& options, const std::string& text) {
    return run_restore(options, "rules", text, director_);
  }
  void fail_commit(const wire::TransactionFailure& failure) {
    director_.handlers[kCommit] = [failure](wire::Message& out, const wire::MessageView& request) {
      wire::encode_transaction_result(out, request, 0, failure);
    };
  }
  TestDirector director_;
};

/// Counts how often a director is waited for.
class CountingTransport final : public wire::Transport {
 public:
  explicit CountingTransport(wire::Transport& director) : director_(director) {}
  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override {
    ++waits;
    return director_.exchange(request);
  }
  [[nodiscard]] std::vector<Result<std::vector<wire::Message>>> exchange_all(
      std::span<const wire::Message> requests) override {
    ++waits;
    return director_.exchange_all(requests);
  }
  std::size_t waits = 0;

 private:
  wire::Transport& director_;
};

TEST_F(RestoreTest, ALongFileIsNotAWaitALine) {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "-a -t 192.0.2.10:80 -r 10.0.0.1:80 -m\n";
  CountingTransport counting(director_);
  const auto result = run_ipvsadm(Words{"ipvsadm", "-R"}, text, counting);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(director_.commands.size(), 10000U);
  EXPECT_LT(counting.waits, 100U);
}

// What the lines bring comes in their order, as if each had been awaited.
TEST_F(RestoreTest, OrderOfErrorsAndStatus) {
  director_.errors[IPVS_CMD_NEW_SERVICE] = EEXIST;
  const auto run = [&](const std::string& text) {
    return run_ipvsadm(Words{"ipvsadm", "-R"}, text, director_);
  };
  std::string whole;
  std::string err;
  for (const std::string line : {"-A -t 192.0.2.10:80\n", "-A -t 192.0.2.1:1 --nonsense\n",
                                 "-A -t 192.0.2.10:81\n", "-L\n", "-D -t 192.0.2.10:82\n"}) {
    whole += line;
    err += run(line).err;
  }
  const auto result = run(whole);
  EXPECT_EQ(result.err, err);
  EXPECT_EQ(result.exit_status, 0) << "that of the last line";
  // A line that makes no sense ends it; what stands before has been done.
  director_.commands.clear();
  EXPECT_EQ(run("-A -t 192.0.2.10:80\n-A -r 10.0.0.1\n-D -t 192.0.2.10:82\n").exit_status, 2);
  EXPECT_THAT(director_.commands, ElementsAre(IPVS_CMD_NEW_SERVICE));
}

TEST_F(RestoreTest, AtomicSendsOneTransaction) {
  director_.handlers[kCommit] = [](wire::Message& out, const wire::MessageView& request) {
    wire::encode_transaction_result(out, request, 0, {});
  };
  const auto result = restore({"--atomic"}, kRules);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_THAT(director_.commands,
              ElementsAre(kBegin, IPVS_CMD_NEW_SERVICE, IPVS_CMD_NEW_DEST,
                          static_cast<unsigned>(SluiceCommand::kAddMarkRule), kCommit));
}

TEST_F(RestoreTest, ReplaceClearsFirst) {
  restore({"--replace"}, "");
  EXPECT_THAT(director_.commands,
              ElementsAre(IPVS_CMD_FLUSH, static_cast<unsigned>(SluiceCommand::kFlushMarkRules),
                          static_cast<unsigned>(SluiceCommand::kFlushSnatRules)));
}

TEST_F(RestoreTest, NamesTheLineThatTheDirectorRefuses) {
  fail_commit({.request = 1, .error = EEXIST});
  const auto result = restore({"--atomic"}, kRules);
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_EQ(result.err,
            "rules:4: Destination already exists (-a -t 192.0.2.10:80 -r 10.0.0.1:80 -m); "
            "nothing was changed\n");
  fail_commit({.request = 2, .error = ENOSPC});
  EXPECT_THAT(restore({"--atomic"}, kRules).err, HasSubstr("rules:5: there are too many rules"));
  // Whatever the director says, no line is named that is not there.
  fail_commit({.request = 99, .error = ENOSPC});
  EXPECT_NE(restore({"--atomic"}, kRules).exit_status, 0);
}

TEST_F(RestoreTest, SendsNothingIfALineMakesNoSense) {
  const auto result = restore({"--atomic"}, "-C\n-A -t 192.0.2.10:80 -r 10.0.0.1\n");
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("rules:2: "));
  EXPECT_THAT(result.err, HasSubstr("nothing was changed"));
  EXPECT_TRUE(director_.commands.empty());
  EXPECT_EQ(restore({"--atomic"}, "-L\n").exit_status, 1) << "a listing is no rule";
}

TEST_F(RestoreTest, WithoutAtomicTheFirstErrorEndsIt) {
  director_.errors[IPVS_CMD_NEW_DEST] = ESRCH;
  const auto result = restore({}, kRules);
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("rules:4: Service not defined"));
  EXPECT_THAT(result.err, HasSubstr("the lines before it were applied"));
  EXPECT_THAT(director_.commands, ElementsAre(IPVS_CMD_NEW_SERVICE, IPVS_CMD_NEW_DEST));
}

TEST_F(RestoreTest, WrongUsage) {
  EXPECT_EQ(restore({"--atomically"}, "").exit_status, 2);
  EXPECT_EQ(restore({"a", "b"}, "").exit_status, 2);
  EXPECT_EQ(restore_file(Words{"--atomic", "file"}), "file");
  EXPECT_EQ(restore_file(Words{"--atomic", "-"}), "");
}

TEST_F(RestoreTest, UnreachableDirector) {
  director_.unreachable = ECONNREFUSED;
  EXPECT_EQ(restore({"--atomic"}, kRules).exit_status, 1);
  EXPECT_EQ(run_save({}, director_).exit_status, 1);
}

TEST_F(RestoreTest, DebianSave) {
  EXPECT_EQ(run_ipvsadm_save(Words{"ipvsadm-save"}, director_).exit_status, 0);
  EXPECT_EQ(run_ipvsadm_save(Words{"ipvsadm-save", "-n"}, director_).exit_status, 0);
  EXPECT_THAT(director_.commands, ElementsAre(IPVS_CMD_GET_SERVICE, IPVS_CMD_GET_SERVICE));
  const auto help = run_ipvsadm_save(Words{"ipvsadm-save", "-h"}, director_);
  EXPECT_EQ(help.exit_status, 1);
  EXPECT_THAT(help.err, HasSubstr("-n"));
}

TEST_F(RestoreTest, DebianRestoreClearsFirstAndSkipsComments) {
  const auto result = run_ipvsadm_restore("#-A -t 192.0.2.1:1\n-A -t 192.0.2.10:80\n", director_);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_THAT(director_.commands, ElementsAre(IPVS_CMD_FLUSH, IPVS_CMD_NEW_SERVICE));
}

}  // namespace
}  // namespace lb::cli
