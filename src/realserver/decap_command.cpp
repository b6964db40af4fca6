// SPDX-License-Identifier: Apache-2.0
#include "realserver/decap_command.hpp"

#include <fmt/format.h>
#include <getopt.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "realserver/decap.hpp"

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

std::optional<XdpMode> parse_mode(std::string_view text) {
  if (text == "auto") return XdpMode::kAuto;
  if (text == "native") return XdpMode::kNative;
  if (text == "generic") return XdpMode::kGeneric;
  return {};
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failed != std::errc{} || end != text.data() + text.size() || port == 0) return {};
  return port;
}

/// `words[0]` is the program's name for getopt.
tl::expected<DecapOptions, std::string> parse(std::vector<std::string> words) {
  static constexpr std::array kOptions{
      option{"interface", required_argument, nullptr, 'i'},
      option{"detach", no_argument, nullptr, 'd'},
      option{"xdp-mode", required_argument, nullptr, 'x'},
      option{"gue-port", required_argument, nullptr, 'g'},
      option{"help", no_argument, nullptr, 'h'},
      option{nullptr, 0, nullptr, 0},
  };
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto argc = static_cast<int>(words.size());
  const auto refuse = [](std::string reason) { return tl::unexpected(std::move(reason)); };

  DecapOptions options;
  optind = 0;  // glibc: start anew
  opterr = 0;
  int flag = 0;
  while ((flag = getopt_long(argc, argv.data(), ":i:dx:g:h", kOptions.data(), nullptr)) != -1) {
    switch (flag) {
      case 'i':
        options.interface = optarg;
        break;
      case 'd':
        options.is_detach = true;
        break;
      case 'x':
        if (const auto mode = parse_mode(optarg)) {
          options.mode = *mode;
          break;
        }
        return refuse(fmt::format("unknown XDP mode '{}' (known: auto, native, generic)", optarg));
      case 'g':
        if (const auto port = parse_port(optarg)) {
          options.gue_port = *port;
          break;
        }
        return refuse(fmt::format("'{}' is not a port", optarg));
      case 'h':
        options.is_help = true;
        return options;
      case ':':
        return refuse(fmt::format("{} needs a value", argv[static_cast<std::size_t>(optind - 1)]));
      default:
        return refuse(fmt::format("unknown option {}", argv[static_cast<std::size_t>(optind - 1)]));
    }
  }
  if (optind < argc) {
    return refuse(fmt::format("unexpected argument '{}'", argv[static_cast<std::size_t>(optind)]));
  }
  if (options.interface.empty()) return refuse("--interface is needed");
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
