// SPDX-License-Identifier: Apache-2.0
#include "cli/ipvsadm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/error_text.hpp"
#include "cli/ipvs_client.hpp"
#include "cli/listing.hpp"
#include "cli/options.hpp"
#include "cli/rules.hpp"
#include "cli/stop.hpp"
#include "cli/usage.hpp"

namespace lb::cli {
namespace {

constexpr std::uint32_t kMinimumVersion = 0x010104;
/// Exit status of a listing that fails.
constexpr int kListFailed = 1;
/// Commands of a restore that are sent before their answers are awaited.
constexpr std::size_t kMaxPending = 256;
/// Services whose servers are asked for before the answers are read.
constexpr std::size_t kServicesAtOnce = 64;

Asked asked_by(CommandKind kind) noexcept {
  switch (kind) {
    case CommandKind::kAddService:
      return Asked::kAddService;
    case CommandKind::kEditService:
      return Asked::kEditService;
    case CommandKind::kDeleteService:
      return Asked::kDeleteService;
    case CommandKind::kAddServer:
      return Asked::kAddServer;
    case CommandKind::kEditServer:
      return Asked::kEditServer;
    case CommandKind::kDeleteServer:
      return Asked::kDeleteServer;
    case CommandKind::kZero:
      return Asked::kZero;
    case CommandKind::kSetTimeouts:
      return Asked::kTimeouts;
    case CommandKind::kStartDaemon:
      return Asked::kStartDaemon;
    case CommandKind::kStopDaemon:
      return Asked::kStopDaemon;
    case CommandKind::kFlush:
    case CommandKind::kList:
    case CommandKind::kSave:
    case CommandKind::kRestore:
      break;
  }
  return Asked::kFlush;
}

bool is_change(CommandKind kind) noexcept {
  return kind != CommandKind::kList && kind != CommandKind::kSave && kind != CommandKind::kRestore;
}

/// One run of the program: the command line, and with -R every line of the input.
class Run {
 public:
  Run(const std::string& program, const std::string& input, wire::Transport& transport)
      : program_(program), input_(input), client_(transport) {}

  ProgramResult run(std::span<const std::string> arguments);

 private:
  bool open();
  void execute(std::span<const std::string> arguments, bool restoring);
  void restore();
  void apply(const Command& command);
  /// Carries out what a restore has read so far.
  void apply_pending();
  void report(CommandKind kind, const Result<void>& done);
  void list(const Command& command);
  void list_all(const Format& format);
  void list_service(const model::ServiceKey& key, const Format& format);
  void print_service(const model::ServiceInfo& service,
                     std::vector<model::DestinationInfo> destinations, const Format& format);
  void finish(int status) {
    result_.exit_status = status;
    finished_ = true;
  }
  /// A failed listing ends the program, also in the middle of a restore.
  void fail_listing(const std::string& text) {
    result_.err += text;
    finish(kListFailed);
  }
  void fail_listing(Asked asked, Error error) { fail_listing(error_text(asked, error) + '\n'); }

  const std::string& program_;
  const std::string& input_;
  IpvsClient client_;
  wire::DirectorInfo info_;
  ProgramResult result_;
  bool finished_ = false;
  /// Commands of a restore that go to the director together.
  std::vector<Command> pending_;
};

bool Run::open() {
  const auto info = client_.open();
  if (!info) {
    result_.err =
        fmt::format("Can't initialize ipvs: {}\n", error_text(Asked::kInfo, info.error()));
    result_.err += info.error().code == ECONNREFUSED
                       ? "No director runs in this network namespace. Start one as root with "
                         "`systemctl start sluiced' or `sluiced'.\n"
                       : "Are you sure that IP Virtual Server is built in the kernel or as "
                         "module?\n";
    result_.exit_status = kUsageError;
    return false;
  }
  info_ = *info;
  if (info_.version < kMinimumVersion) {
    result_.err += fmt::format(
        "Warning: IPVS version mismatch: \n"
        "  Kernel compiled with IPVS version {}\n"
        "  ipvsadm v1.31  requires minimum IPVS version {}\n\n",
        version_text(info_.version), version_text(kMinimumVersion));
  }
  return true;
}

ProgramResult Run::run(std::span<const std::string> arguments) {
  if (!open()) return std::move(result_);
  if (arguments.size() <= 1) {
    list_all(Format());
  } else {
    execute(arguments, false);
  }
  return std::move(result_);
}

void Run::execute(std::span<const std::string> arguments, bool restoring) {
  const auto command = parse_command(arguments);
  // What a line says comes behind what the lines before it brought.
  if (!command || !is_change(command->kind)) apply_pending();
  if (!command) {
    const auto& stop = command.error();
    result_.out += stop.out;
    result_.err += stop.err;
    result_.exit_status = stop.exit_status;
    finished_ = stop.ends_program;
    return;
  }
  result_.exit_status = 0;
  switch (command->kind) {
    case CommandKind::kList:
      list(*command);
      return;
    case CommandKind::kSave: {
      auto format = format_of(command->options);
      format.kind = TableKind::kRules;
      list_all(format);
      return;
    }
    case CommandKind::kRestore:
      if (restoring) {  // a restore inside a restore would never end
        result_.err += ipvsadm_hint_text(program_);
        finish(kFailed);
        return;
      }
      restore();
      return;
    default:
      if (!restoring) return apply(*command);
      pending_.push_back(*command);
      if (pending_.size() == kMaxPending) apply_pending();
  }
}

void Run::restore() {
  std::string_view rest = input_;
  while (!rest.empty() && !finished_) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    auto words = rule_words(line);
    if (words.empty()) continue;  // keeps the status of the line before
    words.insert(words.begin(), program_);
    execute(words, true);
  }
  apply_pending();
}

void Run::apply(const Command& command) { report(command.kind, client_.apply(command)); }

void Run::apply_pending() {
  const auto results = client_.apply_all(pending_);
  for (std::size_t i = 0; i < pending_.size(); ++i) report(pending_[i].kind, results[i]);
  pending_.clear();
}

void Run::report(CommandKind kind, const Result<void>& done) {
  result_.exit_status = done ? 0 : kFailed;
  if (!done) result_.err += error_text(asked_by(kind), done.error()) + '\n';
}

void Run::list(const Command& command) {
  const auto& options = command.options;
  const bool other_list = options.has(Option::kTimeout) || options.has(Option::kDaemon);
  const bool table_option =
      options.has(Option::kStats) || options.has(Option::kRate) || options.has(Option::kThresholds);
  if (((options.has(Option::kConnection) || other_list) && table_option) ||
      (other_list && options.has(Option::kPersistentConn))) {
    result_.err += "options conflicts in the list command\n";
    finish(kUsageError);
    return;
  }
  if (options.has(Option::kConnection)) {
    const auto connections = client_.connections();
    if (!connections) {
      fail_listing(fmt::format("cannot read the connection table: {}\n",
                               error_text(Asked::kInfo, connections.error())));
      return;
    }
    result_.out += connections_text(*connections, options);
  } else if (options.has(Option::kTimeout)) {
    const auto timeouts = client_.timeouts();
    if (!timeouts) return finish(kListFailed);  // without a word, as the original
    result_.out += timeouts_text(*timeouts);
  } else if (options.has(Option::kDaemon)) {
    const auto daemons = client_.daemons();
    if (!daemons) return finish(kListFailed);
    result_.out += daemons_text(*daemons);
  } else if (options.has(Option::kService)) {
    list_service(command.service.key, format_of(options));
  } else {
    list_all(format_of(options));
  }
}

void Run::print_service(const model::ServiceInfo& service,
                        std::vector<model::DestinationInfo> destinations, const Format& format) {
  if (format.sorted) sort_for_listing(destinations);
  result_.out += service_text(service, format);
  for (const auto& destination : destinations) {
    result_.out += destination_text(service.spec.key, destination, format);
  }
}

void Run::list_service(const model::ServiceKey& key, const Format& format) {
  const auto service = client_.service(key);
  if (!service) return fail_listing(Asked::kGetService, service.error());
  result_.out += header_text(format);
  auto destinations = client_.destinations(service->spec.key);
  if (!destinations) return fail_listing(Asked::kListServers, destinations.error());
  print_service(*service, *std::move(destinations), format);
}

void Run::list_all(const Format& format) {
  if (format.kind != TableKind::kRules) result_.out += banner_text(info_);
  auto services = client_.services();
  if (!services) return fail_listing(Asked::kListServices, services.error());
  if (format.sorted) sort_for_listing(*services);
  result_.out += header_text(format);
  for (std::size_t first = 0; first < services->size(); first += kServicesAtOnce) {
    const auto some = std::span<const model::ServiceInfo>(*services).subspan(
        first, std::min(kServicesAtOnce, services->size() - first));
    auto destinations = client_.destinations_of(some);
    for (std::size_t i = 0; i < some.size(); ++i) {
      if (!destinations[i]) return fail_listing(Asked::kListServers, destinations[i].error());
      print_service(some[i], *std::move(destinations[i]), format);
    }
  }
}

}  // namespace

ProgramResult run_ipvsadm(std::span<const std::string> arguments, const std::string& input,
                          wire::Transport& transport) {
  static const std::string kDefaultProgram = "ipvsadm";
  try {
    return Run(arguments.empty() ? kDefaultProgram : arguments.front(), input, transport)
        .run(arguments);
  } catch (const std::exception& error) {  // out of memory
    return {.exit_status = kFailed, .out = {}, .err = fmt::format("ipvsadm: {}\n", error.what())};
  }
}

}  // namespace lb::cli
