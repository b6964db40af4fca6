// SPDX-License-Identifier: Apache-2.0
#include "engine/defence.hpp"

namespace lb::engine {

void Defence::update(Settings& settings) noexcept {
  const bool short_of_memory = available_pages_ < settings.amemthresh;

  switch (settings.drop_packet) {
    case 1:
    case 2:
      drop_rate_ = 0;
      if (short_of_memory) {
        drop_rate_ = static_cast<std::int32_t>(settings.amemthresh /
                                               (settings.amemthresh - available_pages_));
        drop_counter_ = drop_rate_;
      }
      settings.drop_packet = short_of_memory ? 2 : 1;
      break;
    case 3:
      drop_rate_ = settings.am_droprate;
      break;
    default:
      drop_rate_ = 0;
      break;
  }

  switch (settings.secure_tcp) {
    case 1:
    case 2:
      secure_tcp_ = short_of_memory;
      settings.secure_tcp = short_of_memory ? 2 : 1;
      break;
    default:
      secure_tcp_ = settings.secure_tcp >= 3;
      break;
  }
}

bool Defence::drops_packet() noexcept {
  if (drop_rate_ == 0) return false;
  if (--drop_counter_ > 0) return false;
  drop_counter_ = drop_rate_;
  return true;
}

}  // namespace lb::engine
