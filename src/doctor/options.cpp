// SPDX-License-Identifier: Apache-2.0
#include "doctor/options.hpp"

#include <fmt/format.h>
#include <getopt.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace lb::doctor {
namespace {

constexpr std::array kOptions{
    option{"vip", required_argument, nullptr, 'V'},
    option{"mode", required_argument, nullptr, 'm'},
    option{"interface", required_argument, nullptr, 'i'},
    option{"director", required_argument, nullptr, 'D'},
    option{"state", required_argument, nullptr, 's'},
    option{"json", no_argument, nullptr, 'j'},
    option{"list", no_argument, nullptr, 'l'},
    option{"help", no_argument, nullptr, 'h'},
    option{nullptr, 0, nullptr, 0},
};

tl::unexpected<std::string> refuse(std::string reason) { return tl::unexpected(std::move(reason)); }

}  // namespace

tl::expected<Options, std::string> parse_options(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto argc = static_cast<int>(words.size());
  Options options;
  optind = 0;  // glibc: start anew
  opterr = 0;
  int flag = 0;
  while ((flag = getopt_long(argc, argv.data(), ":V:m:i:D:s:jlh", kOptions.data(), nullptr)) !=
         -1) {
    const std::string_view value = optarg == nullptr ? "" : optarg;
    switch (flag) {
      case 'V':
        for (std::size_t start = 0; start <= value.size();) {
          const auto end = std::min(value.find(',', start), value.size());
          const auto vip = net::IpAddress::from_text(value.substr(start, end - start));
          if (!vip) return refuse(fmt::format("'{}' is not a list of addresses", value));
          options.vips.push_back(*vip);
          start = end + 1;
        }
        break;
      case 'm':
        options.mode = realserver::mode_of(value);
        if (!options.mode) {
          return refuse(fmt::format("unknown mode '{}' (known: dr, tun, nat)", value));
        }
        break;
      case 'i':
        options.interfaces.emplace_back(value);
        break;
      case 'D':
        options.director = net::IpAddress::from_text(value);
        if (!options.director) return refuse(fmt::format("'{}' is not an address", value));
        break;
      case 's':
        options.state = value;
        break;
      case 'j':
        options.is_json = true;
        break;
      case 'l':
        options.is_list = true;
        break;
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
  return options;
}

}  // namespace lb::doctor
