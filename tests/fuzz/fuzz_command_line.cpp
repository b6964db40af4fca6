// SPDX-License-Identifier: Apache-2.0
// ipvsadm with any arguments: a command a line, its words separated by blanks ("\0" in a word
// stands for itself). The commands go to one director, one after the other.
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/command_world.hpp"
#include "fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr int kMaxCommands = 20;
  const std::string rules = "-A -t 192.0.2.1:1\n-a -t 192.0.2.1:1 -r 10.0.0.103:2 -m\n";
  auto& world = lb::fuzz::serve<lb::fuzz::CommandWorld>();
  const std::string text(data, data + size);
  std::string_view rest = text;
  for (int i = 0; i < kMaxCommands; ++i) {
    auto line = lb::fuzz::take_until(rest, '\n');
    if (!line) break;
    std::vector<std::string> words;
    while (const auto word = lb::fuzz::take_until(*line, ' ')) words.emplace_back(*word);
    world.run(words, rules);
  }
  // As dear as the commands themselves: not for every input.
  if (size % 4 == 0) lb::fuzz::check_that_save_and_restore_agree(world);
  world.clear();
  return 0;
}
