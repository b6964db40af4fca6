// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "wire/family.hpp"
#include "wire/ipvs_server.hpp"
#include "wire/sluice_messages.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// A director for tests: knows its families and its version, and answers what a test tells it
/// to. It notes the commands of all other requests.
class TestDirector final : public wire::Transport {
 public:
  /// Writes the answer to a request, without its end.
  using Handler = std::function<void(wire::Message& out, const wire::MessageView& request)>;

  /// IPVS commands by number; those without a handler are acknowledged.
  std::map<std::uint8_t, Handler> handlers;
  /// The errno that a command gets instead.
  std::map<std::uint8_t, int> errors;
  /// The errno with which nobody can be reached; 0: fine.
  int unreachable = 0;
  std::vector<unsigned> commands;

  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override {
    if (unreachable != 0) return failure(unreachable);
    const auto view = wire::view_message(request);
    if (!view) return failure(EINVAL);
    wire::Message out;
    constexpr std::uint16_t kDump = 0x300;  // NLM_F_DUMP
    constexpr std::uint8_t kGetInfo = 15;   // IPVS_CMD_GET_INFO
    if (view->header.type == wire::kControllerFamily) {
      const auto family = wire::parse_family_request(*view);
      if (!family) return failure(family.error().code);
      wire::encode_family(out, *view, **family, 0);
      wire::encode_error(out, *view, 0, 0);
      return split(out);
    }
    const auto command = view->header.command;
    const bool is_info = command == kGetInfo && view->header.type == wire::kIpvsFamily;
    if (!is_info) commands.push_back(command);
    if (const auto error = errors.find(command); error != errors.end()) {
      wire::encode_error(out, *view, error->second, 0);
      return split(out);
    }
    if (is_info) wire::encode_info(out, *view, 0, 4096);
    if (const auto handler = handlers.find(command); handler != handlers.end()) {
      handler->second(out, *view);
    }
    if ((view->header.flags & kDump) == kDump) {
      wire::encode_done(out, *view, 0);
    } else {
      wire::encode_error(out, *view, 0, 0);
    }
    return split(out);
  }

 private:
  static std::vector<wire::Message> split(const wire::Message& bytes) {
    std::vector<wire::Message> messages;
    std::span<const std::byte> rest(bytes);
    while (const auto message = wire::take_message(rest)) {
      messages.emplace_back(message->bytes.begin(), message->bytes.end());
    }
    return messages;
  }
};

}  // namespace lb::cli
