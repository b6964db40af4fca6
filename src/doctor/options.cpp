// SPDX-License-Identifier: Apache-2.0
#include "doctor/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "host/long_options.hpp"
#include "realserver/option_values.hpp"

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
};

std::optional<std::vector<net::IpAddress>> addresses_of(std::string_view list) {
  std::vector<net::IpAddress> addresses;
  for (std::size_t start = 0; start <= list.size();) {
    const auto end = std::min(list.find(',', start), list.size());
    const auto address = net::IpAddress::from_text(list.substr(start, end - start));
    if (!address) return std::nullopt;
    addresses.push_back(*address);
    start = end + 1;
  }
  return addresses;
}

}  // namespace

tl::expected<Options, std::string> parse_options(std::vector<std::string> words) {
  Options options;
  host::LongOptions reader(std::move(words), kOptions);
  while (const auto letter = reader.next()) {
    const auto value = reader.value();
    switch (*letter) {
      case 'V':
        if (const auto vips = addresses_of(value)) {
          options.vips.insert(options.vips.end(), vips->begin(), vips->end());
          break;
        }
        return tl::unexpected(fmt::format("'{}' is not a list of addresses", value));
      case 'm': {
        const auto mode = realserver::parse_mode(value);
        if (!mode) return tl::unexpected(mode.error());
        options.mode = *mode;
        break;
      }
      case 'i':
        options.interfaces.push_back(value);
        break;
      case 'D': {
        const auto director = realserver::parse_address(value);
        if (!director) return tl::unexpected(director.error());
        options.director = *director;
        break;
      }
      case 's':
        options.state = value;
        break;
      case 'j':
        options.is_json = true;
        break;
      case 'l':
        options.is_list = true;
        break;
      default:
        options.is_help = true;
        return options;
    }
  }
  if (reader.fault()) return tl::unexpected(*reader.fault());
  return options;
}

}  // namespace lb::doctor
