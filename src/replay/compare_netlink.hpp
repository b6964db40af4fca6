// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "replay/case_file.hpp"
#include "replay/compare.hpp"

namespace lb::replay {

/// Compares the generic-netlink messages of commands with the recorded ones.
///
/// Family ids are given out anew at every boot: each side's id is learnt from its own answer to
/// the look-up and replaced by one number. Sequence numbers and port ids are cleared. The
/// look-ups themselves are compared once a case, the first with the first, since the original asks
/// again for every request and the recording shows only some. Messages of families that the
/// original does not have are left out, and the services of a dump are compared in any order.
class NetlinkComparison {
 public:
  [[nodiscard]] std::optional<Mismatch> compare(std::vector<NetlinkRecord> expected,
                                                std::vector<NetlinkRecord> got);

 private:
  struct Side {
    std::uint16_t family = 0;
    std::vector<NetlinkRecord> lookup;  ///< the first question about IPVS and its answer
    void learn(std::span<const NetlinkRecord> records);
    void normalise(std::vector<NetlinkRecord>& records) const;
  };
  [[nodiscard]] std::optional<Mismatch> compare_lookups();

  Side expected_;
  Side got_;
  bool lookup_compared_ = false;
};

}  // namespace lb::replay
