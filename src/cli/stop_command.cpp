// SPDX-License-Identifier: Apache-2.0
#include "cli/stop_command.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <chrono>

#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"

namespace lb::cli {
namespace {

constexpr std::chrono::seconds kPatience{30};

ProgramResult fail(int status, std::string_view reason) {
  return {.exit_status = status, .out = {}, .err = fmt::format("sluice stop: {}\n", reason)};
}

std::string reason(Error error) {
  if (error.code == ENOTSUP) {
    return "this director can't leave its connections to XDP (its log says why, from when it "
           "started); it goes on. Without --keep-forwarding it would end, and they with it";
  }
  return unanswered_text(error);
}

}  // namespace

ProgramResult run_stop(std::span<const std::string> options, SocketTransport& transport) {
  auto mode = wire::StopMode::kAsConfigured;
  for (const auto& option : options) {
    const bool keeps = option == "--keep-forwarding";
    if (!keeps && option != "--remove") {
      return fail(
          2, fmt::format("unknown option `{}'; there are --keep-forwarding and --remove", option));
    }
    const auto asked = keeps ? wire::StopMode::kKeepForwarding : wire::StopMode::kRemove;
    if (mode != wire::StopMode::kAsConfigured && mode != asked) {
      return fail(2, "--keep-forwarding and --remove exclude each other");
    }
    mode = asked;
  }
  if (const auto found = transport.watch_peer(); !found) return fail(1, reason(found.error()));
  if (const auto asked = IpvsClient(transport).stop(mode); !asked) {
    return fail(1, reason(asked.error()));
  }
  if (const auto ended = transport.wait_for_end(kPatience); !ended) {
    return fail(1, fmt::format("the director has said that it ends, but still runs after {} s",
                               kPatience.count()));
  }
  return {};
}

}  // namespace lb::cli
