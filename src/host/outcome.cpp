// SPDX-License-Identifier: Apache-2.0
#include "host/outcome.hpp"

#include <cerrno>
#include <cstring>

namespace lb::host {

tl::unexpected<std::string> system_trouble(std::string what, int code) {
  what += ": ";
  what += std::strerror(code);
  if (code == EPERM || code == EACCES) what += " (run as root)";
  return tl::unexpected(std::move(what));
}

}  // namespace lb::host
