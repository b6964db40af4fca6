// SPDX-License-Identifier: Apache-2.0
#include "cli/ipvsadm.hpp"

#include <gtest/gtest.h>
#include <linux/ip_vs.h>

#include <random>

#include "cli/listing.hpp"
#include "cli/rules.hpp"
#include "cli/sluice.hpp"
#include "cli/test_director.hpp"

namespace lb::cli {
namespace {

using Words = std::vector<std::string>;

ProgramResult run(TestDirector& director, Words words, const std::string& input = "") {
  words.insert(words.begin(), "ipvsadm");
  return run_ipvsadm(words, input, director);
}

model::ServiceInfo tcp_service(const char* address, std::uint16_t port) {
  model::ServiceInfo service;
  service.spec.key.address = *net::IpAddress::from_text(address);
  service.spec.key.family = service.spec.key.address.family();
  service.spec.key.port = net::Port::from_host(port);
  return service;
}

model::DestinationInfo server(const char* address) {
  model::DestinationInfo destination;
  destination.spec.address = *net::IpAddress::from_text(address);
  destination.spec.port = net::Port::from_host(80);
  return destination;
}

void list(TestDirector& director, std::vector<model::ServiceInfo> services,
          std::vector<model::DestinationInfo> destinations = {}) {
  director.handlers[IPVS_CMD_GET_SERVICE] = [services](auto& out, const auto& request) {
    for (const auto& service : services) {
      wire::encode_service(out, request, 0, 2, service);
    }
  };
  director.handlers[IPVS_CMD_GET_DEST] = [destinations](auto& out, const auto& request) {
    for (const auto& destination : destinations) {
      wire::encode_destination(out, request, 0, 2, destination);
    }
  };
}

std::string line_with(const std::string& text, const std::string& part) {
  const auto found = text.find(part);
  if (found == std::string::npos) return "no line with " + part;
  const auto start = text.rfind('\n', found) + 1;
  return text.substr(start, text.find('\n', found) - start);
}

TEST(Ipvsadm, SaysHowToStartADirectorIfThereIsNone) {
  TestDirector director;
  director.unreachable = ECONNREFUSED;
  const auto result = run(director, {"-Ln"});
  EXPECT_EQ(result.exit_status, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("Can't initialize ipvs: Connection refused"), std::string::npos);
  EXPECT_NE(result.err.find("systemctl start sluiced"), std::string::npos);
}

TEST(Ipvsadm, ShortensLargeCounters) {
  TestDirector director;
  auto service = tcp_service("192.0.2.10", 80);
  service.statistics.counters = {99999999, 100000000, 1000000000, 100000000000, 100000000000000};
  auto destination = server("10.0.0.2");
  destination.statistics.rates = {100000000, 4000000000, 999999999, 100000000, 1};
  list(director, {service}, {destination});
  EXPECT_EQ(line_with(run(director, {"-Ln", "--stats"}).out, "TCP"),
            "TCP  192.0.2.10:80                99999999  100000K    1000M     100G     100T");
  EXPECT_EQ(line_with(run(director, {"-Ln", "--stats", "--exact"}).out, "TCP"),
            "TCP  192.0.2.10:80                99999999 100000000 1000000000 100000000000 "
            "100000000000000");
  EXPECT_EQ(line_with(run(director, {"-Ln", "--rate"}).out, "10.0.0.2"),
            "  -> 10.0.0.2:80                  100000000 4000000000 999999999  100000K        1");
}

// The order is that of differences of 32-bit numbers taken as signed; found out with the
// original.
TEST(Ipvsadm, SortsAsTheOriginal) {
  TestDirector director;
  list(director,
       {tcp_service("127.0.0.1", 80), tcp_service("129.0.0.1", 80), tcp_service("1.1.1.1", 80),
        tcp_service("200.0.0.1", 80), tcp_service("10.0.0.1", 80), tcp_service("0.0.0.0", 80)});
  const auto text = run(director, {"-Sn"}).out;
  EXPECT_EQ(text,
            "-A -t 200.0.0.1:80 -s wlc\n-A -t 0.0.0.0:80 -s wlc\n-A -t 1.1.1.1:80 -s wlc\n"
            "-A -t 10.0.0.1:80 -s wlc\n-A -t 127.0.0.1:80 -s wlc\n-A -t 129.0.0.1:80 -s wlc\n");
  const auto unsorted = run(director, {"-Ln", "--nosort"}).out;
  EXPECT_LT(unsorted.find("127.0.0.1"), unsorted.find("200.0.0.1"));
}

TEST(Ipvsadm, ListsConnections) {
  TestDirector director;
  director.handlers[static_cast<std::uint8_t>(
      wire::SluiceCommand::kGetConnections)] = [](auto& out, const auto& request) {
    model::ConnectionInfo connection;
    connection.client = {*net::IpAddress::from_text("198.51.100.7"), net::Port::from_host(40000)};
    connection.virtual_end = {*net::IpAddress::from_text("192.0.2.10"), net::Port::from_host(80)};
    connection.destination = {*net::IpAddress::from_text("2001:db8::2"),
                              net::Port::from_host(8080)};
    connection.state = "ESTABLISHED";
    connection.expires_in = 899;
    wire::encode_connection(out, request, 0, 2, connection);
    connection.protocol = net::Protocol::kIp;
    connection.state = "ASSURED";
    connection.expires_in = 36000;
    wire::encode_connection(out, request, 0, 2, connection);
  };
  EXPECT_EQ(run(director, {"-Lnc"}).out,
            "IPVS connection entries\n"
            "pro expire state       source             virtual            destination\n"
            "TCP 14:59  ESTABLISHED 198.51.100.7:40000 192.0.2.10:80      [2001:db8::2]:8080\n"
            "IP  600:00 ASSURED     198.51.100.7:40000 192.0.2.10:80      [2001:db8::2]:8080\n");
}

TEST(Ipvsadm, ListsWhatAPersistenceEngineKnows) {
  model::ConnectionInfo connection;
  connection.protocol = net::Protocol::kUdp;
  connection.client.address = *net::IpAddress::from_text("198.51.100.7");
  connection.virtual_end = {*net::IpAddress::from_text("192.0.2.10"), net::Port::from_host(5060)};
  connection.destination = {*net::IpAddress::from_text("10.0.0.2"), net::Port::from_host(8080)};
  connection.state = "ASSURED";
  connection.expires_in = 59;
  connection.persistence_engine = "sip";
  connection.persistence_data = "abc-def@192.0.2.1";
  OptionSet options;
  options.insert(Option::kNumeric);
  const std::string line =
      "UDP 00:59  ASSURED     198.51.100.7:0     192.0.2.10:5060    10.0.0.2:8080";
  EXPECT_EQ(line_with(connections_text({&connection, 1}, options), "ASSURED"), line);
  options.insert(Option::kPersistentConn);
  EXPECT_EQ(line_with(connections_text({&connection, 1}, options), "ASSURED"),
            line + "    sip                abc-def@192.0.2.1");
}

struct ErrorCase {
  Words words;
  std::uint8_t command;
  int code;
  const char* text;
  int status = 255;
};

TEST(Ipvsadm, NamesErrorsByWhatWasAsked) {
  const Words add_server = {"-a", "-t", "192.0.2.1:80", "-r", "10.0.0.2"};
  const std::vector<ErrorCase> cases = {
      {{"-A", "-t", "192.0.2.1:80"}, IPVS_CMD_NEW_SERVICE, EEXIST, "Service already exists"},
      {{"-A", "-t", "192.0.2.1:80"}, IPVS_CMD_NEW_SERVICE, ESRCH, "No such process"},
      {{"-D", "-t", "192.0.2.1:80"}, IPVS_CMD_DEL_SERVICE, ESRCH, "No such service"},
      {add_server, IPVS_CMD_NEW_DEST, ESRCH, "Service not defined"},
      {add_server, IPVS_CMD_NEW_DEST, EPERM, "Permission denied (you must be root)"},
      {{"--stop-daemon", "master"}, IPVS_CMD_DEL_DAEMON, ESRCH, "No daemon is running"},
      {{"-L", "-t", "192.0.2.1:80"}, IPVS_CMD_GET_SERVICE, ESRCH, "No such service", 1},
      {{"-C"}, IPVS_CMD_FLUSH, EOPNOTSUPP, "Operation not supported with IPv6"},
  };
  for (const auto& entry : cases) {
    TestDirector director;
    director.errors[entry.command] = entry.code;
    const auto result = run(director, entry.words);
    EXPECT_EQ(result.err, std::string(entry.text) + '\n');
    EXPECT_EQ(result.exit_status, entry.status);
  }
}

TEST(Ipvsadm, RestoresLineByLine) {
  TestDirector director;
  director.errors[IPVS_CMD_ZERO] = ESRCH;
  // A rule that fails, or that popt rejects, does not end the restore ...
  auto result = run(director, {"-R"}, "-Z\r\n\nipvsadm -A -t\n  -C");
  EXPECT_EQ(result.err, "No such service\n-t: missing argument\n");
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(director.commands, (std::vector<unsigned>{IPVS_CMD_ZERO, IPVS_CMD_FLUSH}));
  // ... one that makes no sense does.
  director.commands.clear();
  result = run(director, {"-R"}, "-C\n-C -n\n-C\n");
  EXPECT_EQ(result.err, "Illegal 'numeric' option with the 'flush' command\n");
  EXPECT_EQ(result.exit_status, 2);
  EXPECT_EQ(director.commands, (std::vector<unsigned>{IPVS_CMD_FLUSH}));
  // Nor is there a restore inside a restore.
  EXPECT_EQ(run(director, {"-R"}, "-R\n").exit_status, 255);
}

TEST(Ipvsadm, SplitsRulesAtBlanksOnly) {
  EXPECT_EQ(rule_words("ipvsadm -A\t-s \"r r\" ipvsadm\r"), (Words{"-A", "-s", "\"r", "r\""}));
  EXPECT_TRUE(rule_words(" \t\r").empty());
}

// Any words are answered with an exit status and text, in bounded time, and leave no state.
TEST(Ipvsadm, SurvivesHostileArguments) {
  const Words pieces = {"-A",
                        "-a",
                        "-L",
                        "-R",
                        "-S",
                        "-t",
                        "-f",
                        "-p",
                        "-M",
                        "-r",
                        "-b",
                        "-w",
                        "--set",
                        "--",
                        "-",
                        "",
                        "%s%n",
                        "\xff\xfe",
                        std::string(100000, 'x'),
                        "[",
                        "[]:",
                        ":",
                        "[::1]:",
                        "4294967295",
                        "-1",
                        "é",
                        ",,,",
                        "--pe",
                        "--mcast-group",
                        "ff02::1",
                        "-AAAAAAAA",
                        "192.0.2.1:80",
                        "--tun-type",
                        "-n=",
                        "--list=",
                        std::string(5000, '-')};
  std::mt19937 random(1);
  TestDirector director;
  for (int round = 0; round < 5000; ++round) {
    Words words;
    for (auto left = random() % 6; left > 0; --left)
      words.push_back(pieces[random() % pieces.size()]);
    const auto result = run(director, words, "-C\n");
    EXPECT_GE(result.exit_status, 0);
    EXPECT_LE(result.exit_status, 255);
    EXPECT_TRUE(result.exit_status == 0 || !result.err.empty());
  }
  EXPECT_EQ(run_ipvsadm({}, "", director).exit_status, 0);
  EXPECT_EQ(run(director, {"-C", "-n"}).err, "Illegal 'numeric' option with the 'flush' command\n");
}

TEST(Sluice, ShowsStatusAndRejectsNonsense) {
  TestDirector director;
  director.handlers[static_cast<std::uint8_t>(wire::SluiceCommand::kGetStatus)] =
      [](auto& out, const auto& request) {
        wire::DirectorStatus status;
        status.version = "0.1.0";
        status.uptime_seconds = 90061;
        status.connections = 5;
        status.drops = {{"table_full", 3}, {"no_destination", 0}};
        wire::encode_status(out, request, 0, 2, status);
        wire::InterfaceStatus interface;
        interface.name = "eth0";
        interface.xdp_mode = "native";
        wire::encode_interface(out, request, 0, 2, interface);
      };
  const auto sluice = [&](Words words) {
    words.insert(words.begin(), "sluice");
    return run_sluice(words, "0.1.0", director);
  };
  const auto status = sluice({"status"});
  EXPECT_EQ(status.exit_status, 0) << status.err;
  EXPECT_NE(status.out.find("up 1d 01:01:01"), std::string::npos);
  EXPECT_NE(status.out.find("table_full"), std::string::npos);
  EXPECT_EQ(status.out.find("no_destination"), std::string::npos);
  EXPECT_NE(status.out.find("interface eth0, XDP native"), std::string::npos);
  EXPECT_EQ(sluice({"version"}).out, "sluice 0.1.0\n");
  EXPECT_EQ(sluice({}).exit_status, 2);
  EXPECT_EQ(sluice({"nonsense"}).exit_status, 2);
  EXPECT_EQ(sluice({"status", "x"}).exit_status, 3);
  director.unreachable = ECONNREFUSED;
  EXPECT_EQ(sluice({"status"}).exit_status, 2);
  director.unreachable = EPERM;
  EXPECT_EQ(sluice({"status"}).exit_status, 3);
}

}  // namespace
}  // namespace lb::cli
