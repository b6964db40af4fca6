// SPDX-License-Identifier: Apache-2.0
// A BPF program, run by the kernel on one frame.
#pragma once

#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace lb::tests {

template <class Bytes>
struct ProgramRun {
  std::uint32_t action = 0;  // what the program returned
  Bytes frame;               // as the program left it
};

/// `program`: its descriptor. `context`: what the kernel tells it beside the frame, if not the
/// usual.
template <class Bytes>
ProgramRun<Bytes> run_program(int program, const Bytes& frame,
                              std::span<const std::byte> context = {}) {
  constexpr std::size_t kMostInFront = 512;  // of headers that programs add
  ProgramRun<Bytes> result{.action = 0, .frame = Bytes(frame.size() + kMostInFront)};
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = frame.data();
  options.data_size_in = static_cast<std::uint32_t>(frame.size());
  options.data_out = result.frame.data();
  options.data_size_out = static_cast<std::uint32_t>(result.frame.size());
  options.ctx_in = context.empty() ? nullptr : context.data();
  options.ctx_size_in = static_cast<std::uint32_t>(context.size());
  const int error = ::bpf_prog_test_run_opts(program, &options);
  EXPECT_EQ(error, 0) << std::strerror(-error);
  result.action = options.retval;
  result.frame.resize(options.data_size_out);
  return result;
}

}  // namespace lb::tests
