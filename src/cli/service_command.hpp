// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <tl/expected.hpp>

#include "cli/ipvsadm.hpp"
#include "model/service_options.hpp"
#include "wire/removal_messages.hpp"
#include "wire/transport.hpp"

/// `sluice service` and `sluice connections delete`: what services have beyond IPVS.
namespace lb::cli {

/// `arguments[0]` is `list`, `set` or `help`. Exit status as of `run_sluice`.
[[nodiscard]] ProgramResult run_service(std::span<const std::string> arguments,
                                        wire::Transport& transport);
/// The words behind `connections delete`.
[[nodiscard]] ProgramResult run_delete_connections(std::span<const std::string> arguments,
                                                   wire::Transport& transport);

/// The line that `run_service` reads: "service set -t 192.0.2.1:80 --drain 30", with line end.
[[nodiscard]] std::string service_options_rule(const wire::NamedServiceOptions& service);
/// Why the director refused one.
[[nodiscard]] std::string service_refusal_text(Error error);

/// Takes "-t 192.0.2.1:80", "-f 7 -6" and the like off the front of `words`. The error is a
/// sentence.
[[nodiscard]] tl::expected<model::ServiceKey, std::string> take_service(
    std::span<const std::string>& words);
/// The words that `take_service` reads.
[[nodiscard]] std::string service_key_text(const model::ServiceKey& key);

}  // namespace lb::cli
