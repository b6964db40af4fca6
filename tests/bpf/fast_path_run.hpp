// SPDX-License-Identifier: Apache-2.0
// The XDP program and its fast path, run by the kernel on one frame.
#pragma once

#include <cstddef>
#include <utility>

#include "datapath/steer_program.hpp"
#include "engine/testing/packet_builder.hpp"
#include "program_run.hpp"

namespace lb::tests {

using engine::test::Frame;

constexpr std::size_t kIpOffset = 14;

/// What is expected to differ: who makes an IPv4 header without DF (of a tunnel, of an ICMP error)
/// or IPv6 fragments numbers them himself.
inline void forget_identification(Frame& frame) {
  constexpr std::size_t kFragmentIdentification = kIpOffset + 44;
  if (frame.size() > 62 && frame[12] == std::byte{0x86} && frame[20] == std::byte{44}) {
    for (std::size_t i = 0; i < 4; ++i) frame[kFragmentIdentification + i] = std::byte{0};
  }
  if (frame.size() < 34 || frame[12] != std::byte{8} || frame[13] != std::byte{0}) return;
  const bool is_own = frame[23] == std::byte{1} || frame[23] == std::byte{4} ||
                      frame[23] == std::byte{41} || frame[23] == std::byte{47} ||
                      frame[23] == std::byte{17};
  if (!is_own || (frame[20] & std::byte{0x40}) != std::byte{0}) return;
  for (const auto at : {18U, 19U, 24U, 25U}) frame[at] = std::byte{0};
}

struct RunResult : ProgramRun<Frame> {
  bool is_forwarded = false;
};

/// Whether the frame was forwarded is told by the counters: nothing else may count meanwhile.
inline RunResult run(datapath::SteerProgram& program, const Frame& frame) {
  const auto before = program.counters()[STEER_FORWARDED];
  RunResult result{run_program(program.xdp_program(), frame)};
  result.is_forwarded = program.counters()[STEER_FORWARDED] != before;
  return result;
}

}  // namespace lb::tests
