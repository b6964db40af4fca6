// SPDX-License-Identifier: Apache-2.0
// Plays recorded runs of the real ipvsadm to ours, without a director.

#include <gtest/gtest.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/ipvsadm.hpp"
#include "cli/test_director.hpp"
#include "wire/netlink.hpp"

namespace lb::cli {
namespace {

using nlohmann::json;

wire::Message from_hex(const std::string& hex) {
  wire::Message bytes(hex.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    unsigned value = 0;
    std::from_chars(&hex[i * 2], &hex[i * 2] + 2, value, 16);
    bytes[i] = static_cast<std::byte>(value);
  }
  return bytes;
}

/// The recordings have no sequence number and no port id.
wire::Message anonymous(std::span<const std::byte> message) {
  wire::Message bytes(message.begin(), message.end());
  for (std::size_t i = 8; i < 16 && i < bytes.size(); ++i) bytes[i] = std::byte{0};
  return bytes;
}

/// Answers with what the kernel answered, if the request is the one that it got.
class RecordedKernel final : public wire::Transport {
 public:
  /// The conversation of the next command.
  void load(const json& conversation) {
    messages_.clear();
    for (const auto& entry : conversation) {
      messages_.push_back({entry.at("dir") == "to-kernel", from_hex(entry.at("msg"))});
    }
    next_ = 0;
    mismatch_.clear();
    ran_out_ = false;
  }
  /// Whether more was asked than was recorded: long conversations were not recorded whole.
  [[nodiscard]] bool ran_out() const { return ran_out_; }
  /// Whether all of the conversation took place.
  [[nodiscard]] bool complete() {
    skip_family_look_up();
    return next_ == messages_.size();
  }
  [[nodiscard]] const std::string& mismatch() const { return mismatch_; }

  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override {
    const auto view = wire::view_message(request);
    if (!view) return failure(EINVAL);
    if (view->header.type == wire::kControllerFamily) return look_up();
    skip_family_look_up();
    if (next_ == messages_.size()) {
      ran_out_ = true;
      return failure(EBADMSG);
    }
    if (messages_[next_].bytes != anonymous(request)) {
      mismatch_ = "another request than recorded: command " + std::to_string(view->header.command);
      return failure(EBADMSG);
    }
    return take_answer();
  }

 private:
  struct Recorded {
    bool to_kernel;
    wire::Message bytes;
  };

  std::vector<wire::Message> take_answer() {
    std::vector<wire::Message> answer;
    for (++next_; next_ < messages_.size() && !messages_[next_].to_kernel; ++next_) {
      answer.push_back(messages_[next_].bytes);
    }
    if (!wire::outcome(answer) && wire::outcome(answer).error().code == EBADMSG) ran_out_ = true;
    return answer;
  }

  [[nodiscard]] bool at_family_look_up() const {
    return next_ < messages_.size() &&
           wire::view_message(messages_[next_].bytes)->header.type == wire::kControllerFamily;
  }
  // ipvsadm looks the family up before each request, and only the first command shows it.
  void skip_family_look_up() {
    while (at_family_look_up()) family_answer_ = take_answer();
  }
  Result<std::vector<wire::Message>> look_up() {
    skip_family_look_up();
    if (family_answer_.empty()) return failure(ENOENT);
    return family_answer_;
  }

  std::vector<Recorded> messages_;
  std::vector<wire::Message> family_answer_;
  std::size_t next_ = 0;
  std::string mismatch_;
  bool ran_out_ = false;
};

std::string without_lines(const std::string& text, const std::vector<std::size_t>& skipped) {
  std::string kept;
  std::size_t start = 0;
  for (std::size_t line = 0; start < text.size(); ++line) {
    const auto end = std::min(text.find('\n', start), text.size() - 1) + 1;
    if (std::find(skipped.begin(), skipped.end(), line) == skipped.end()) {
      kept += text.substr(start, end - start);
    }
    start = end;
  }
  return kept;
}

/// Calls `visit` with every command of the recordings in `folder`.
template <class Visit>
void for_each_command(const std::string& folder, Visit visit) {
  for (const auto& entry : std::filesystem::directory_iterator("tests/ipvs-oracle/" + folder)) {
    std::ifstream file(entry.path());
    std::string line;
    while (std::getline(file, line)) {
      const auto step = json::parse(line);
      if (step.at("op") == "cmd" && step.at("argv").at(0) == "ipvsadm") {
        SCOPED_TRACE(entry.path().string() + ": " + step.at("argv").dump());
        visit(step);
      }
    }
  }
}

/// Whether an IPv4 server is added to an IPv6 service: behind its address ipvsadm sends what is
/// left of the service's address, which nobody reads.
bool mixes_families(const std::vector<std::string>& arguments) {
  bool ipv6_service = false;
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
    const bool ipv6 = arguments[i + 1].front() == '[';
    if (arguments[i] == "-t" || arguments[i] == "-u") ipv6_service = ipv6;
    if (arguments[i] == "-r" && ipv6_service && !ipv6) return true;
  }
  return false;
}

TEST(Recorded, SendsAndPrintsWhatIpvsadmDoes) {
  RecordedKernel kernel;
  std::size_t played = 0;
  for_each_command("genl", [&](const json& step) {
    const std::vector<std::string> arguments = step.at("argv");
    const std::string expected = step.at("out");
    kernel.load(step.at("nl"));
    // The connection table came from a file of /proc.
    if (expected.rfind("IPVS connection entries", 0) == 0) return;
    if (step.value("nl_loose", false) || mixes_families(arguments)) return;
    const auto result = run_ipvsadm(arguments, step.value("stdin", ""), kernel);
    ASSERT_EQ(kernel.mismatch(), "");
    if (kernel.ran_out()) return;
    ++played;
    EXPECT_TRUE(kernel.complete()) << "not all requests were sent";
    const auto skipped = step.value("skip_lines", std::vector<std::size_t>());
    EXPECT_EQ(without_lines(result.out, skipped), without_lines(expected, skipped));
    EXPECT_EQ(result.err, step.at("err").get<std::string>());
    EXPECT_EQ(result.exit_status, step.at("rc").get<int>());
  });
  EXPECT_GT(played, 300U);
}

/// Whether ipvsadm gave up on the command line itself.
bool is_usage_error(const json& step) {
  const std::string error = step.at("err");
  const int status = step.at("rc");
  return status == 2 || (status == 255 && (error.rfind("Try `", 0) == 0 ||
                                           error.find(": missing argument") != std::string::npos ||
                                           error.find(": unknown option") != std::string::npos));
}

TEST(Recorded, RejectsTheSameCommandLines) {
  std::size_t rejected = 0;
  for_each_command("cli", [&](const json& step) {
    const std::vector<std::string> arguments = step.at("argv");
    if (!is_usage_error(step) || arguments.at(1) == "-R") return;
    ++rejected;
    TestDirector director;
    const auto result = run_ipvsadm(arguments, "", director);
    EXPECT_EQ(result.out, step.at("out").get<std::string>());
    EXPECT_EQ(result.err, step.at("err").get<std::string>());
    EXPECT_EQ(result.exit_status, step.at("rc").get<int>());
    EXPECT_TRUE(director.commands.empty()) << "the director was asked";
  });
  EXPECT_GT(rejected, 200U);
}

TEST(Recorded, PrintsHelp) {
  std::size_t helps = 0;
  for_each_command("cli", [&](const json& step) {
    const std::vector<std::string> arguments = step.at("argv");
    if (arguments.size() != 2 || (arguments[1] != "-h" && arguments[1] != "--help" &&
                                  arguments[1] != "-v" && arguments[1] != "--version")) {
      return;
    }
    ++helps;
    TestDirector director;
    const auto result = run_ipvsadm(arguments, "", director);
    EXPECT_EQ(result.out, step.at("out").get<std::string>());
    EXPECT_EQ(result.err, "");
    EXPECT_EQ(result.exit_status, 0);
  });
  EXPECT_EQ(helps, 4U);
}

}  // namespace
}  // namespace lb::cli
