// SPDX-License-Identifier: Apache-2.0
#include "cli/mark.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cerrno>

#include "cli/mark_text.hpp"
#include "cli/rule_file.hpp"
#include "cli/sluice.hpp"
#include "cli/test_director.hpp"
#include "wire/mark_messages.hpp"

namespace lb::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint8_t number(wire::SluiceCommand command) {
  return static_cast<std::uint8_t>(command);
}

class MarkCommand : public testing::Test {
 protected:
  MarkCommand() {
    using enum wire::SluiceCommand;
    director.handlers[number(kAddMarkRule)] = [this](auto&, const auto& request) {
      const auto asked = wire::parse_mark_rule_request(request);
      const auto position = asked->position == 0 ? rules.size() : asked->position - 1;
      rules.insert(rules.begin() + static_cast<std::ptrdiff_t>(position), *asked->rule);
    };
    director.handlers[number(kDeleteMarkRule)] = [this](auto&, const auto& request) {
      const auto asked = wire::parse_mark_rule_request(request);
      deleted.push_back(asked->rule ? mark_rule_text(*asked->rule)
                                    : std::to_string(asked->position));
      if (asked->position != 0 && asked->position <= rules.size()) {
        rules.erase(rules.begin() + static_cast<std::ptrdiff_t>(asked->position - 1));
      }
    };
    director.handlers[number(kFlushMarkRules)] = [this](auto&, const auto&) { rules.clear(); };
    director.handlers[number(kGetMarkRules)] = [this](auto& out, const auto& request) {
      std::uint32_t position = 0;
      for (const auto& rule : rules) {
        wire::encode_mark_rule(out, request, 0, NLM_F_MULTI, ++position,
                               {.rule = rule, .packets = 12, .bytes = 720});
      }
    };
  }

  ProgramResult run(std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.begin(), "mark");
    arguments.insert(arguments.begin(), "sluice");
    return run_sluice(arguments, "1", director, input);
  }
  std::vector<std::string> texts() {
    std::vector<std::string> result;
    for (const auto& rule : rules) result.push_back(mark_rule_text(rule));
    return result;
  }

  TestDirector director;
  std::vector<model::MarkRule> rules;
  std::vector<std::string> deleted;
};

TEST_F(MarkCommand, AddInsertAndList) {
  EXPECT_EQ(run({"add", "-p", "tcp", "--dport", "80", "--set-mark", "2"}).exit_status, 0);
  EXPECT_EQ(run({"insert", "-p", "udp", "--set-mark", "1"}).exit_status, 0);
  EXPECT_EQ(run({"insert", "2", "-6", "-p", "udp", "--set-mark", "3"}).exit_status, 0);
  const auto list = run({"list"});
  EXPECT_EQ(list.out,
            "  num      packets          bytes  rule\n"
            "    1           12            720  -4 -p udp -j MARK --set-mark 0x1\n"
            "    2           12            720  -6 -p udp -j MARK --set-mark 0x3\n"
            "    3           12            720  -4 -p tcp --dport 80 -j MARK --set-mark 0x2\n");
}

TEST_F(MarkCommand, SaveAndRestore) {
  run({"add", "-d", "192.0.2.10", "--set-mark", "2"});
  run({"add", "-s", "2001:db8::/32", "-j", "RETURN"});
  const auto before = texts();
  const auto saved = run({"save"}).out;
  EXPECT_EQ(run({"restore"}, "# a comment\n\n" + saved).exit_status, 0);
  EXPECT_EQ(texts(), before);
  const auto wrong = run({"restore"}, saved + "-d nowhere --set-mark 1\n");
  EXPECT_EQ(wrong.exit_status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("line 3: `-d nowhere'"));
  EXPECT_EQ(texts(), before) << "nothing was changed";
  EXPECT_EQ(run({"restore"}, "").exit_status, 0);
  EXPECT_THAT(rules, IsEmpty());
}

TEST_F(MarkCommand, RestoreThatFailsChangesNothing) {
  run({"add", "-p", "udp", "--set-mark", "9"});
  const auto before = texts();
  using enum wire::SluiceCommand;
  const auto add = director.handlers[number(kAddMarkRule)];
  director.handlers[number(kAddMarkRule)] = [&](auto& out, const auto& request) {
    add(out, request);
    if (rules.size() == 3) director.errors[number(kAddMarkRule)] = ENOSPC;  // from the next on
  };
  EXPECT_EQ(run({"restore"}, "--set-mark 1\n--set-mark 2\n--set-mark 3\n").exit_status, 1);
  EXPECT_EQ(texts(), before);
}

TEST_F(MarkCommand, DeleteByPositionOrRule) {
  run({"delete", "3"});
  run({"delete", "-p", "tcp", "--set-mark", "2"});
  EXPECT_THAT(deleted, ElementsAre("3", "-4 -p tcp -j MARK --set-mark 0x2"));
  EXPECT_EQ(run({"delete"}).exit_status, 2);
  EXPECT_EQ(run({"delete", "0"}).exit_status, 2);
  EXPECT_EQ(deleted.size(), 2U);
}

TEST_F(MarkCommand, ImportsTellWhatTheyLeaveOut) {
  const auto done = run({"import-iptables"},
                        "*mangle\n-A PREROUTING -p tcp -j MARK --set-mark 1\n"
                        "-A PREROUTING -m set --match-set x src -j MARK --set-mark 2\n");
  EXPECT_EQ(done.exit_status, 3);
  EXPECT_EQ(done.out, "1 rules added, 1 not taken\n");
  EXPECT_EQ(done.err,
            "line 3: not taken: `-m set': this match is not known here\n"
            "    -A PREROUTING -m set --match-set x src -j MARK --set-mark 2\n");
  EXPECT_THAT(texts(), ElementsAre("-4 -p tcp -j MARK --set-mark 0x1"));
  EXPECT_EQ(run({"import-iptables", "-6"}, "*mangle\n").exit_status, 0);
  EXPECT_EQ(run({"import-nft"}, R"({"nftables":[]})").exit_status, 0);
  EXPECT_EQ(run({"import-nft"}, "{}").exit_status, 1);
}

TEST_F(MarkCommand, RefusalsOfTheDirector) {
  using enum wire::SluiceCommand;
  director.errors[number(kAddMarkRule)] = ENOSPC;
  const auto added =
      run({"import-iptables"}, "*mangle\n-A PREROUTING -p tcp -j MARK --set-mark 1\n");
  EXPECT_EQ(added.exit_status, 1);
  EXPECT_EQ(added.err, "sluice: there are too many rules; 0 of 1 rules were added\n");
  EXPECT_EQ(run({"restore"}, "--set-mark 1\n").err, "sluice: there are too many rules\n");
  director.errors[number(kDeleteMarkRule)] = E2BIG;
  EXPECT_EQ(run({"delete", "9"}).err, "sluice: there is no such position\n");
  director.unreachable = ECONNREFUSED;
  EXPECT_THAT(run({"list"}).err, HasSubstr("no director runs"));
}

TEST_F(MarkCommand, InTheRulesOfADaemon) {
  for (const auto* line : {"-A -f 7 -s rr", "mark add -d 192.0.2.10 -p tcp --dport 80 --set-mark 7",
                           "-a -f 7 -r 10.0.0.2 -m", "", "  "}) {
    const auto done = load_rule(line, director);
    EXPECT_EQ(done.exit_status, 0) << line << ": " << done.err;
  }
  EXPECT_THAT(texts(), ElementsAre("-4 -d 192.0.2.10/32 -p tcp --dport 80 -j MARK --set-mark 0x7"));
  constexpr unsigned kNewService = 1;
  constexpr unsigned kNewDestination = 5;
  EXPECT_THAT(director.commands, testing::IsSupersetOf({kNewService, kNewDestination}));
  EXPECT_THAT(load_rule("mark add -d x --set-mark 1", director).err, HasSubstr("`-d x'"));
  EXPECT_NE(load_rule("mark flush", director).exit_status, 0);
  EXPECT_EQ(rules.size(), 1U);
}

TEST_F(MarkCommand, WrongUsage) {
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"lsit"},
                                             {"list", "x"},
                                             {"add"},
                                             {"insert", "0", "--set-mark", "1"},
                                             {"import-iptables", "-5"},
                                             {"import-iptables", "-4", "-6"},
                                             {"flush", "now"}}) {
    const auto result = run(arguments);
    EXPECT_EQ(result.exit_status, 2);
    EXPECT_THAT(result.err, HasSubstr("sluice: mark: "));
  }
  EXPECT_THAT(director.commands, IsEmpty());
  EXPECT_EQ(run({"help"}).exit_status, 0);
}

TEST(SysctlCommand, ShowsAndSets) {
  TestDirector director;
  std::string value = "0";
  const auto get = [&](auto& out, const auto& request) {
    wire::encode_setting(out, request, 0, 0, {.name = "net.ipv4.vs.drop_entry", .value = value});
  };
  director.handlers[number(wire::SluiceCommand::kGetSetting)] = get;
  std::string asked;
  director.handlers[number(wire::SluiceCommand::kSetSetting)] = [&](auto&, const auto& request) {
    const auto setting = wire::parse_setting_request(request);
    asked = setting->name;
    value = setting->value;
  };
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"sluice", "sysctl"});
    return run_sluice(arguments, "1", director);
  };
  EXPECT_EQ(run({}).out, "net.ipv4.vs.drop_entry = 0\n");
  EXPECT_EQ(run({"drop_entry=2", "net.ipv4.vs.drop_entry"}).out,
            "net.ipv4.vs.drop_entry = 2\nnet.ipv4.vs.drop_entry = 2\n");
  EXPECT_EQ(asked, "net.ipv4.vs.drop_entry");
  director.errors[number(wire::SluiceCommand::kSetSetting)] = EINVAL;
  const auto wrong = run({"drop_entry=x"});
  EXPECT_EQ(wrong.exit_status, 1);
  EXPECT_EQ(wrong.err, "sluice: net.ipv4.vs.drop_entry cannot be `x'\n");
  director.errors[number(wire::SluiceCommand::kGetSetting)] = ENOENT;
  EXPECT_EQ(run({"nothing"}).err, "sluice: there is no setting `net.ipv4.vs.nothing'\n");
}

}  // namespace
}  // namespace lb::cli
