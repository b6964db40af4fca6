// SPDX-License-Identifier: Apache-2.0
#include "realserver/up_options.hpp"

#include <fmt/format.h>
#include <getopt.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

namespace lb::realserver {
namespace {

using Failure = tl::expected<void, std::string>;

constexpr std::size_t kMaxVips = 256;

Failure refuse(std::string reason) { return tl::unexpected(std::move(reason)); }

Failure add_vips(std::string_view list, std::vector<net::IpAddress>& vips) {
  while (true) {
    const auto end = std::min(list.find(','), list.size());
    const auto word = list.substr(0, end);
    const auto vip = net::IpAddress::from_text(word);
    if (!vip) return refuse(fmt::format("'{}' is not an address", word));
    if (vip->is_unspecified() || vip->is_multicast() || vip->is_broadcast() || vip->is_loopback() ||
        vip->is_link_local_v6()) {
      return refuse(fmt::format("{} can't be a virtual address", word));
    }
    vips.push_back(*vip);
    if (end == list.size()) break;
    list.remove_prefix(end + 1);
  }
  std::sort(vips.begin(), vips.end());
  vips.erase(std::unique(vips.begin(), vips.end()), vips.end());
  if (vips.size() > kMaxVips) {
    return refuse(fmt::format("more than {} virtual addresses", kMaxVips));
  }
  return {};
}

Failure set_mode(std::string_view word, Setup& setup, bool& has_mode) {
  const auto mode = mode_of(word);
  if (!mode) return refuse(fmt::format("unknown mode '{}' (known: dr, tun, nat)", word));
  setup.mode = *mode;
  has_mode = true;
  return {};
}

Failure set_xdp_mode(std::string_view word, Setup& setup) {
  if (word == "auto") {
    setup.xdp_mode = XdpMode::kAuto;
  } else if (word == "native") {
    setup.xdp_mode = XdpMode::kNative;
  } else if (word == "generic") {
    setup.xdp_mode = XdpMode::kGeneric;
  } else {
    return refuse(fmt::format("unknown XDP mode '{}' (known: auto, native, generic)", word));
  }
  return {};
}

Failure set_port(std::string_view word, Setup& setup) {
  const auto* last = word.data() + word.size();
  const auto [end, failed] = std::from_chars(word.data(), last, setup.gue_port);
  if (failed != std::errc{} || end != last || setup.gue_port == 0) {
    return refuse(fmt::format("'{}' is not a port", word));
  }
  return {};
}

Failure set_director(std::string_view word, Setup& setup) {
  setup.director = net::IpAddress::from_text(word);
  if (!setup.director) return refuse(fmt::format("'{}' is not an address", word));
  return {};
}

/// What `up` cannot do without, and what contradicts itself.
Failure check_up(const Setup& setup, bool has_mode) {
  if (setup.vips.empty()) return refuse("--vip is needed");
  if (!has_mode) return refuse("--mode is needed");
  if (setup.director &&
      std::find(setup.vips.begin(), setup.vips.end(), *setup.director) != setup.vips.end()) {
    return refuse("--director is the director's own address, not a virtual one");
  }
  if (setup.gue_port != 0 && setup.mode != Mode::kTunnel) {
    return refuse("--gue-port goes with --mode tun");
  }
  return {};
}

constexpr std::array kOptions{
    option{"vip", required_argument, nullptr, 'V'},
    option{"mode", required_argument, nullptr, 'm'},
    option{"interface", required_argument, nullptr, 'i'},
    option{"director", required_argument, nullptr, 'D'},
    option{"xdp-mode", required_argument, nullptr, 'x'},
    option{"gue-port", required_argument, nullptr, 'g'},
    option{"state", required_argument, nullptr, 's'},
    option{"force", no_argument, nullptr, 'f'},
    option{"json", no_argument, nullptr, 'j'},
    option{"help", no_argument, nullptr, 'h'},
    option{nullptr, 0, nullptr, 0},
};

/// Takes one option; `word` is as it was written.
Failure take(int flag, std::string_view word, UpOptions& options, bool& has_mode) {
  auto& setup = options.setup;
  switch (flag) {
    case 'V':
      return add_vips(optarg, setup.vips);
    case 'm':
      return set_mode(optarg, setup, has_mode);
    case 'i':
      setup.interfaces.emplace_back(optarg);
      return {};
    case 'D':
      return set_director(optarg, setup);
    case 'x':
      return set_xdp_mode(optarg, setup);
    case 'g':
      return set_port(optarg, setup);
    case 's':
      options.state = optarg;
      return {};
    case 'f':
      options.is_forced = true;
      return {};
    case 'j':
      options.is_json = true;
      return {};
    case 'h':
      options.is_help = true;
      return {};
    case ':':
      return refuse(fmt::format("{} needs a value", word));
    default:
      return refuse(fmt::format("unknown option {}", word));
  }
}

}  // namespace

tl::expected<UpOptions, std::string> parse_up_options(std::vector<std::string> words) {
  const bool is_up = words.front() == "up";
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto argc = static_cast<int>(words.size());
  UpOptions options;
  bool has_mode = false;
  optind = 0;  // glibc: start anew
  opterr = 0;
  int flag = 0;
  while ((flag = getopt_long(argc, argv.data(), ":V:m:i:D:x:g:s:fjh", kOptions.data(), nullptr)) !=
         -1) {
    const std::string_view word = argv[static_cast<std::size_t>(optind - 1)];
    constexpr std::string_view kOfUp = "VmiDxgf";
    if (!is_up && kOfUp.find(static_cast<char>(flag)) != std::string_view::npos) {
      return tl::unexpected(fmt::format("'{}' does not take {}", words.front(), word));
    }
    if (const auto done = take(flag, word, options, has_mode); !done) {
      return tl::unexpected(done.error());
    }
    if (options.is_help) return options;
  }
  if (optind < argc) {
    return tl::unexpected(
        fmt::format("unexpected argument '{}'", argv[static_cast<std::size_t>(optind)]));
  }
  if (is_up) {
    if (auto done = check_up(options.setup, has_mode); !done) return tl::unexpected(done.error());
  }
  return options;
}

}  // namespace lb::realserver
