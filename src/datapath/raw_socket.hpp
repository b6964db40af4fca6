// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "datapath/file_descriptor.hpp"
#include "datapath/outcome.hpp"
#include "engine/network_view.hpp"

namespace lb::datapath {

/// Sends frames out of interfaces that are not served: a packet socket, which receives nothing.
class RawSocket {
 public:
  [[nodiscard]] static Outcome<RawSocket> open();
  /// Returns 0 or the errno.
  [[nodiscard]] int send(engine::InterfaceId out, std::span<const std::byte> frame) const noexcept;

 private:
  FileDescriptor socket_;
};

}  // namespace lb::datapath
