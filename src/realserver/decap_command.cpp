// SPDX-License-Identifier: Apache-2.0
#include "realserver/decap_command.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "host/long_options.hpp"
#include "realserver/decap.hpp"
#include "realserver/option_values.hpp"

namespace lb::realserver {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

constexpr std::string_view kUsage = R"(Usage: sluice realserver decap --interface NAME [OPTION]...
Lets this real server take packets of a director that forwards by tunnel (ipvsadm -i),
without a tunnel device. The virtual address must still be an address of this host, for
example on lo.

  -i, --interface NAME   where the tunnel's packets come in
  -d, --detach           stop, and remove what was attached
  -x, --xdp-mode MODE    auto (default), native or generic
  -g, --gue-port PORT    strip GUE on this UDP port as well
  -h, --help             print this and exit
)";

struct DecapOptions {
  std::string interface;
  XdpMode mode = XdpMode::kAuto;
  std::uint16_t gue_port = 0;
  bool is_detach = false;
  bool is_help = false;
};

/// `words[0]` is the program's name for getopt.
tl::expected<DecapOptions, std::string> parse(std::vector<std::string> words) {
  static constexpr std::array kOptions{
      option{"interface", required_argument, nullptr, 'i'},
      option{"detach", no_argument, nullptr, 'd'},
      option{"xdp-mode", required_argument, nullptr, 'x'},
      option{"gue-port", required_argument, nullptr, 'g'},
      option{"help", no_argument, nullptr, 'h'},
  };
  DecapOptions options;
  host::LongOptions reader(std::move(words), kOptions);
  while (const auto letter = reader.next()) {
    switch (*letter) {
      case 'i':
        options.interface = reader.value();
        break;
      case 'd':
        options.is_detach = true;
        break;
      case 'x': {
        const auto mode = parse_xdp_mode(reader.value());
        if (!mode) return tl::unexpected(mode.error());
        options.mode = *mode;
        break;
      }
      case 'g': {
        const auto port = parse_port(reader.value());
        if (!port) return tl::unexpected(port.error());
        options.gue_port = *port;
        break;
      }
      default:
        options.is_help = true;
        return options;
    }
  }
  if (reader.fault()) return tl::unexpected(*reader.fault());
  if (options.interface.empty()) return tl::unexpected(std::string("--interface is needed"));
  return options;
}

int fail(std::string_view reason, int status) {
  fmt::print(stderr, "sluice realserver: {}\n", reason);
  return status;
}

int run_decap(const DecapOptions& options) {
  if (options.is_detach) {
    const auto detached = detach_decap(options.interface);
    if (!detached) return fail(detached.error(), kExitFailure);
    fmt::print("{}: tunnels are no longer stripped\n", options.interface);
    return 0;
  }
  const auto mode = attach_decap(options.interface, options.mode, options.gue_port);
  if (!mode) return fail(mode.error(), kExitFailure);
  fmt::print("{}: tunnels are stripped ({})\n", options.interface, *mode);
  return 0;
}

}  // namespace

int decap_main(std::span<const std::string> arguments) {
  const auto options = parse({arguments.begin(), arguments.end()});
  if (!options) return fail(options.error() + " (see --help)", kExitUsage);
  if (options->is_help) {
    fmt::print("{}", kUsage);
    return 0;
  }
  return run_decap(*options);
}

}  // namespace lb::realserver
