// SPDX-License-Identifier: Apache-2.0
#include "realserver/up_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "host/long_options.hpp"
#include "realserver/option_values.hpp"

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

/// Puts a value that could be read into `member`.
template <class Value, class Member>
Failure set(const tl::expected<Value, std::string>& read, Member& member) {
  if (!read) return refuse(read.error());
  member = *read;
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
};

/// Takes one option.
Failure take(char letter, const std::string& value, UpOptions& options, bool& has_mode) {
  auto& setup = options.setup;
  switch (letter) {
    case 'V':
      return add_vips(value, setup.vips);
    case 'm':
      has_mode = true;
      return set(parse_mode(value), setup.mode);
    case 'i':
      setup.interfaces.push_back(value);
      return {};
    case 'D':
      return set(parse_address(value), setup.director);
    case 'x':
      return set(parse_xdp_mode(value), setup.xdp_mode);
    case 'g':
      return set(parse_port(value), setup.gue_port);
    case 's':
      options.state = value;
      return {};
    case 'f':
      options.is_forced = true;
      return {};
    case 'j':
      options.is_json = true;
      return {};
    default:
      options.is_help = true;
      return {};
  }
}

}  // namespace

tl::expected<UpOptions, std::string> parse_up_options(std::vector<std::string> words) {
  const auto command = words.front();
  const bool is_up = command == "up";
  UpOptions options;
  bool has_mode = false;
  host::LongOptions reader(std::move(words), kOptions);
  while (const auto letter = reader.next()) {
    constexpr std::string_view kOfUp = "VmiDxgf";
    if (!is_up && kOfUp.find(*letter) != std::string_view::npos) {
      return tl::unexpected(fmt::format("'{}' does not take {}", command, reader.word()));
    }
    if (const auto done = take(*letter, reader.value(), options, has_mode); !done) {
      return tl::unexpected(done.error());
    }
    if (options.is_help) return options;
  }
  if (reader.fault()) return tl::unexpected(*reader.fault());
  if (is_up) {
    if (auto done = check_up(options.setup, has_mode); !done) return tl::unexpected(done.error());
  }
  return options;
}

}  // namespace lb::realserver
