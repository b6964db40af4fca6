// SPDX-License-Identifier: Apache-2.0
#include "cli/service_command.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "cli/mark_text.hpp"
#include "cli/rule_file.hpp"
#include "cli/test_director.hpp"

namespace lb::cli {
namespace {

using testing::HasSubstr;
using wire::SluiceCommand;
using Words = std::vector<std::string>;

class ServiceCommand : public testing::Test {
 protected:
  ServiceCommand() {
    director_.handlers[number(SluiceCommand::kSetServiceOptions)] =
        [this](wire::Message&, const wire::MessageView& request) {
          set_ = wire::parse_service_options_request(request).value();
        };
    director_.handlers[number(SluiceCommand::kEndConnections)] =
        [this](wire::Message&, const wire::MessageView& request) {
          ended_ = wire::parse_end_connections_request(request).value();
        };
    director_.handlers[number(SluiceCommand::kGetServiceOptions)] =
        [this](wire::Message& out, const wire::MessageView& request) {
          if (set_) wire::encode_service_options(out, request, 0, 2, *set_);
        };
  }
  static constexpr std::uint8_t number(SluiceCommand command) {
    return static_cast<std::uint8_t>(command);
  }
  ProgramResult service(const std::string& line) {
    return run_service(*split_words(line), director_);
  }
  ProgramResult end(const std::string& line) {
    return run_delete_connections(*split_words(line), director_);
  }

  TestDirector director_;
  std::optional<wire::NamedServiceOptions> set_;
  std::optional<model::ConnectionSelection> ended_;
};

TEST_F(ServiceCommand, SetsEveryOption) {
  const std::string words =
      "-t 192.0.2.10:80 --drain 30 --at-end reset --reuse-ports on --timeout-tcp 60 "
      "--timeout-tcp-fin 20 --timeout-udp 10";
  ASSERT_EQ(service("set " + words).exit_status, 0);
  ASSERT_TRUE(set_);
  EXPECT_EQ(set_->key.port.to_host(), 80);
  EXPECT_EQ(set_->options.drain, 30);
  EXPECT_EQ(set_->options.drain_end, model::DrainEnd::kReset);
  EXPECT_EQ(set_->options.reuse_ports, true);
  EXPECT_EQ(set_->options.timeouts, (model::Timeouts{.tcp = 60, .tcp_fin = 20, .udp = 10}));
  EXPECT_EQ(service("list").out, words + "\n");
  EXPECT_EQ(service_options_rule(*set_), "service set " + words + "\n");
}

TEST_F(ServiceCommand, WhatIsWrittenIsReadAgain) {
  for (const std::string words :
       {"-f 7", "-f 7 -6 --drain off", "-u [2001:db8::1]:53 --at-end reschedule",
        "--sctp-service 192.0.2.1:9 --reuse-ports off", "-t 192.0.2.1:0 --drain 0"}) {
    ASSERT_EQ(service("set " + words).exit_status, 0) << words;
    EXPECT_EQ(service_options_rule(*set_), "service set " + words + "\n");
  }
}

TEST_F(ServiceCommand, SaysWhatIsWrong) {
  const auto wrong = [&](const std::string& line, const char* text) {
    const auto result = service(line);
    EXPECT_EQ(result.exit_status, 2) << line;
    EXPECT_THAT(result.err, HasSubstr(text)) << line;
  };
  wrong("set", "which service?");
  wrong("set -x 192.0.2.1:80", "`-x' names no service");
  wrong("set -t nonsense", "no ADDRESS:PORT");
  wrong("set -f 0", "no firewall mark");
  wrong("set -t 192.0.2.1:80 --drain", "needs a value");
  wrong("set -t 192.0.2.1:80 --drain soon", "needs seconds");
  wrong("set -t 192.0.2.1:80 --drain 99999999", "needs seconds");
  wrong("set -t 192.0.2.1:80 --at-end explode", "keep, reschedule or reset");
  wrong("set -t 192.0.2.1:80 --reuse-ports maybe", "on or off");
  wrong("set -t 192.0.2.1:80 --colour red", "unknown option");
  wrong("list all", "unexpected argument");
  wrong("paint", "unknown command");
  director_.errors[number(SluiceCommand::kSetServiceOptions)] = ESRCH;
  EXPECT_THAT(service("set -t 192.0.2.1:80").err, HasSubstr("no such service"));
}

TEST_F(ServiceCommand, EndsConnections) {
  ASSERT_EQ(end("--server 10.0.0.1:80 --client 198.51.100.7 -t 192.0.2.1:80").exit_status, 0);
  ASSERT_TRUE(ended_);
  EXPECT_EQ(ended_->server, net::IpAddress::from_text("10.0.0.1").value());
  EXPECT_EQ(ended_->server_port->to_host(), 80);
  EXPECT_EQ(ended_->client, net::IpAddress::from_text("198.51.100.7").value());
  ASSERT_TRUE(ended_->service);
  ASSERT_EQ(end("--server 2001:db8::1").exit_status, 0);
  EXPECT_FALSE(ended_->server_port);
  ASSERT_EQ(end("--server [2001:db8::1]:80").exit_status, 0);
  EXPECT_EQ(ended_->server_port->to_host(), 80);
  // Not all of them by mistake.
  EXPECT_EQ(end("").exit_status, 2);
  EXPECT_EQ(end("--server").exit_status, 2);
  EXPECT_EQ(end("--client nobody").exit_status, 2);
}

TEST_F(ServiceCommand, InTheRulesOfADaemon) {
  EXPECT_EQ(load_rule("service set -t 192.0.2.10:80 --drain 5", director_).exit_status, 0);
  EXPECT_EQ(set_->options.drain, 5);
  EXPECT_NE(load_rule("service list", director_).exit_status, 0);
}

}  // namespace
}  // namespace lb::cli
