// SPDX-License-Identifier: Apache-2.0
// ipvsadm with any arguments: a command a line, its words separated by blanks ("\0" in a word
// stands for itself). The commands go to one director, one after the other.
#include <sstream>
#include <string>
#include <vector>

#include "fuzz/command_world.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr int kMaxCommands = 40;
  lb::fuzz::CommandWorld world;
  std::istringstream text(std::string(data, data + size));
  int commands = 0;
  for (std::string line; commands < kMaxCommands && std::getline(text, line); ++commands) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; std::getline(stream, word, ' ');) words.push_back(word);
    world.run(words, "-A -t 192.0.2.1:1\n-a -t 192.0.2.1:1 -r 10.0.0.103:2 -m\n");
  }
  lb::fuzz::check_that_save_and_restore_agree(world);
  return 0;
}
