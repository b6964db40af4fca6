// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "daemon/configuration.hpp"
#include "wire/transport.hpp"

namespace lb::daemon {

/// Applies the text of a rules file through `transport`; the error is "LINE: reason" of
/// the first line that is wrong. Given by the program, since the reader belongs to the command
/// line.
using RuleLoader =
    std::function<tl::expected<void, std::string>(const std::string& text, wire::Transport&)>;

/// Reads the configuration again as it was read for the start: file and command line.
using ConfigurationReader = std::function<tl::expected<Configuration, std::string>()>;

/// What the program lends the daemon.
struct DaemonHooks {
  RuleLoader load_rules;
  ConfigurationReader read_configuration;
};

/// One director at work: engine, data path and control socket in one event loop.
///
/// One thread owns everything, so there are no locks; a long listing is answered in pieces, so
/// packets never wait for it.
class Daemon {
 public:
  /// Takes the control socket, loads the rules, then attaches to the interfaces: a second daemon
  /// or a wrong rule is refused before any packet is touched. The error is a sentence for an
  /// operator. What was attached is removed when this fails or the daemon is destroyed.
  [[nodiscard]] static tl::expected<std::unique_ptr<Daemon>, std::string> create(
      const Configuration& configuration, std::string_view version, DaemonHooks hooks);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// Works until SIGTERM, SIGINT, SIGUSR2 or a client's wish. SIGHUP: reads the configuration again
  /// and applies what can be changed; a wrong one changes nothing. False: the event loop failed.
  [[nodiscard]] bool run();

 private:
  struct State;
  explicit Daemon(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lb::daemon
