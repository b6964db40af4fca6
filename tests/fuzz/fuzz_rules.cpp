// SPDX-License-Identifier: Apache-2.0
// ipvsadm -R with any text.
#include <string>

#include "fuzz/command_world.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto& world = lb::fuzz::serve<lb::fuzz::CommandWorld>();
  world.run({"-R"}, std::string(data, data + size));
  // As dear as the rules themselves: not for every input.
  if (size % 4 == 0) lb::fuzz::check_that_save_and_restore_agree(world);
  world.clear();
  return 0;
}
