// SPDX-License-Identifier: Apache-2.0
// Rules of source NAT: each line is what follows `sluice snat`. A rule that is read has no fault
// and is the same after it was written and read; what a director took is saved as it takes it
// again.
#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "cli/mark_text.hpp"
#include "cli/sluice.hpp"
#include "cli/snat_text.hpp"
#include "control/direct_transport.hpp"
#include "control/request_handler.hpp"
#include "engine/snat.hpp"
#include "fuzz/director_world.hpp"
#include "fuzz/input.hpp"

namespace lb::fuzz {
namespace {

class SnatWorld : public DirectorWorld {
 public:
  SnatWorld() : DirectorWorld(16), handler_(director, nullptr), transport_(handler_) {}

  cli::ProgramResult run(std::vector<std::string> words, const std::string& input = {}) {
    words.insert(words.begin(), "sluice");
    auto result = cli::run_sluice(words, "1", transport_, input);
    expect(result.exit_status >= 0 && result.exit_status <= 2, "the exit status is one of three");
    expect(result.exit_status == 0 || !result.err.empty(), "a failure is explained");
    return result;
  }

 private:
  control::RequestHandler handler_;
  control::DirectTransport transport_;
};

void check_rule(std::span<const std::string> words) {
  const auto rule = cli::parse_snat_rule(words);
  if (!rule) return expect(!rule.error().empty(), "an error says what is wrong");
  expect(model::fault_of(*rule) == model::SnatFault::kNone, "a rule that is read has no fault");
  const auto text = cli::snat_rule_text(*rule);
  const auto again_words = cli::split_words(text);
  expect(again_words.has_value(), "a rule can be split into words: " + text);
  const auto again = cli::parse_snat_rule(*again_words);
  expect(again.has_value() && *again == *rule, "a rule is the same again: " + text);
}

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb;  // NOLINT(google-build-using-namespace)
  constexpr int kMaxCommands = 20;
  auto& world = fuzz::serve<fuzz::SnatWorld>();
  const std::string text(data, data + size);
  std::string_view rest = text;
  for (int i = 0; i < kMaxCommands; ++i) {
    const auto line = fuzz::take_until(rest, '\n');
    if (!line) break;
    auto words = cli::split_words(*line);
    if (!words || words->empty()) continue;
    if (words->front() == "add") fuzz::check_rule(std::span(*words).subspan(1));
    words->insert(words->begin(), "snat");
    world.run(*words);
  }
  const auto saved = world.run({"save"}).out;
  const auto restored = world.run({"restore", "--atomic", "--replace"}, saved);
  fuzz::expect(restored.exit_status == 0, "what was saved is restored: " + saved + restored.err);
  fuzz::expect(world.run({"save"}).out == saved, "what was restored is what was saved: " + saved);
  world.clear();
  fuzz::expect(engine::snat_rule_count(world.director) == 0, "no rule is left");
  return 0;
}
