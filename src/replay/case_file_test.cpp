// SPDX-License-Identifier: Apache-2.0
#include "replay/case_file.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "replay/frame_builder.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/frame_text.hpp"

namespace lb::replay {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const std::string kMeta =
    R"({"op":"meta","id":"x/y","about":"a","ports":{"ext":{"mac":"02:00:00:00:01:01","mtu":1400,)"
    R"("addrs":["192.0.2.1/24","2001:db8::1/64"]}},"routes":[{"dst":"default","via":"192.0.2.254",)"
    R"("dev":"ext"}],"neigh":[{"ip":"192.0.2.254","mac":"02:00:00:00:01:fe","dev":"ext"}],)"
    R"("sysctl":{"net.ipv4.vs.sloppy_tcp":1},"marks":["iptables -j MARK"]})"
    "\n";

TEST(CaseFile, ReadsMeta) {
  const auto result = parse_case(kMeta, "f");
  ASSERT_TRUE(result) << result.error().to_text();
  const auto& meta = result->meta;
  EXPECT_EQ(meta.id, "x/y");
  ASSERT_EQ(meta.ports.size(), 1U);
  EXPECT_EQ(meta.ports[0].mtu, 1400U);
  ASSERT_EQ(meta.ports[0].addresses.size(), 2U);
  EXPECT_EQ(meta.ports[0].addresses[1].prefix_length, 64);
  ASSERT_EQ(meta.routes.size(), 1U);
  EXPECT_EQ(meta.routes[0].destination.prefix_length, 0);
  EXPECT_EQ(meta.sysctls[0].second, "1");
  EXPECT_EQ(meta.marks.size(), 1U);
}

TEST(CaseFile, ReadsStepsWithTheirLines) {
  const auto text =
      kMeta +
      R"({"op":"note","text":"n"})"
      "\n\n"
      R"({"op":"rx","t":1.5,"port":"ext","frame":"0a0b","tx":[{"port":"ext","frame":"00ff",)"
      R"("any":[[1,1]],"by":"route"}]})"
      "\n"
      R"({"op":"flow","t":2,"proto":"udp","c":"[2001:db8::2]:5","v":"[2001:db8::3]:6",)"
      R"("flags":"","rs":null,"back":"icmp 1/4"})";
  const auto result = parse_case(text, "f");
  ASSERT_TRUE(result) << result.error().to_text();
  ASSERT_EQ(result->steps.size(), 3U);
  EXPECT_EQ(result->steps[1].line, 4U);
  EXPECT_DOUBLE_EQ(result->steps[1].time, 1.5);
  const auto& receive = std::get<ReceiveStep>(result->steps[1].action);
  EXPECT_EQ(receive.sent[0].by, Maker::kRoute);
  EXPECT_EQ(receive.sent[0].any[0].offset, 1U);
  const auto& flow = std::get<FlowStep>(result->steps[2].action);
  EXPECT_FALSE(flow.server);
  EXPECT_EQ(to_text(flow.client), "[2001:db8::2]:5");
}

struct BadFile {
  const char* line;
  const char* message;
};
class BadCaseFile : public testing::TestWithParam<BadFile> {};

TEST_P(BadCaseFile, IsReportedWithFileAndLine) {
  const auto result = parse_case(kMeta + GetParam().line + "\n", "some/file");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().to_text(), HasSubstr("some/file:2: "));
  EXPECT_THAT(result.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Lines, BadCaseFile,
    testing::Values(
        BadFile{"{", "parse error"}, BadFile{"[]", "cannot use"},
        BadFile{R"({"op":"jump"})", "unknown step"}, BadFile{R"({"op":"rx","t":1})", "port"},
        BadFile{R"({"op":"rx","port":"ext","frame":"0","tx":[]})", "not hexadecimal"},
        BadFile{R"({"op":"rx","port":"ext","frame":"0g","tx":[]})", "not hexadecimal"},
        BadFile{R"({"op":"sleep","s":1,"tx":[{"port":"e","frame":"00","any":[[1,1]]}]})", "beyond"},
        BadFile{R"({"op":"sleep","s":1,"tx":[{"port":"e","frame":"00","by":"me"}]})", "\"by\""},
        BadFile{R"({"op":"cmd","argv":[],"rc":0,"out":"","err":""})", "empty"},
        BadFile{R"({"op":"flow","proto":"tcp","c":"192.0.2.1","v":"192.0.2.1:1","flags":"S",)"
                R"("rs":null})",
                "not an address with a port"},
        BadFile{R"({"op":"flow","proto":"dccp","c":"192.0.2.1:1","v":"192.0.2.1:1",)"
                R"("flags":"S","rs":null})",
                "unknown protocol"}));

TEST(CaseFile, EmptyOrMissingFilesAreErrors) {
  EXPECT_FALSE(parse_case("", "f"));
  EXPECT_FALSE(parse_case("{\"op\":\"note\",\"text\":\"\"}", "f"));
  const auto missing = load_case("no/such/file");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().to_text(), "no/such/file: cannot be opened");
}

TEST(CaseFile, EndpointText) {
  EXPECT_FALSE(endpoint_from_text("192.0.2.1:65536"));
  EXPECT_FALSE(endpoint_from_text("2001:db8::1:80"));
  EXPECT_FALSE(endpoint_from_text("[192.0.2.1]:80"));
  EXPECT_FALSE(endpoint_from_text("[]:80"));
  EXPECT_FALSE(endpoint_from_text(""));
  ASSERT_TRUE(endpoint_from_text("192.0.2.1:80"));
  EXPECT_EQ(to_text(*endpoint_from_text("192.0.2.1:80")), "192.0.2.1:80");
}

// Every recorded file can be read, and each frame made by the kernel is understood: the frames
// of IPVS itself have right checksums unless their case is about wrong ones.
TEST(Corpus, IsReadableAndItsFramesAreUnderstood) {
  std::size_t cases = 0;
  std::size_t frames = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("tests/ipvs-oracle")) {
    if (entry.path().extension() != ".jsonl") continue;
    const auto result = load_case(entry.path().string());
    ASSERT_TRUE(result) << result.error().to_text();
    ++cases;
    for (const auto& step : result->steps) {
      const auto* receive = std::get_if<ReceiveStep>(&step.action);
      if (receive == nullptr || !wrong_checksums(receive->frame).empty()) continue;
      for (const auto& sent : receive->sent) {
        ++frames;
        // Remote checksum offload of GUE: the inner checksum is left to the receiver.
        if (result->meta.id.find("remcsum") != std::string::npos) continue;
        EXPECT_THAT(wrong_checksums(sent.bytes), IsEmpty())
            << result->meta.id << ":" << step.line << " " << describe_frame(sent.bytes);
      }
    }
  }
  std::ifstream index("tests/ipvs-oracle/INDEX.tsv");
  std::size_t lines = 0;
  for (std::string line; std::getline(index, line);) ++lines;
  EXPECT_EQ(cases + 1, lines);
  EXPECT_GT(frames, 2000U);
}

}  // namespace
}  // namespace lb::replay
