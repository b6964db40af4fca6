// SPDX-License-Identifier: Apache-2.0
// ipvsadm -R with any text.
#include <string>

#include "fuzz/command_world.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lb::fuzz::CommandWorld world;
  world.run({"-R"}, std::string(data, data + size));
  lb::fuzz::check_that_save_and_restore_agree(world);
  return 0;
}
