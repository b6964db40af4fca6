// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "datapath/file_descriptor.hpp"
#include "datapath/network_changes.hpp"
#include "datapath/outcome.hpp"

namespace lb::datapath {

/// A tc program on the egress of an interface, as long as this lives.
///
/// By a BPF link (tcx, Linux 6.6), which goes with the process however that ends; on older kernels
/// as a filter of the clsact queueing discipline, of which a killed process leaves the filter
/// behind until the next one replaces it. The queueing discipline stays: it does nothing by itself,
/// and others may have put their filters into it meanwhile.
class EgressHook {
 public:
  enum class Way : std::uint8_t { kLink, kFilter };

  /// Attaches `program` to `link` by a BPF link, or where that is not to be had as a filter.
  [[nodiscard]] static Outcome<std::unique_ptr<EgressHook>> attach(int program,
                                                                   const LinkChange& link,
                                                                   Way best = Way::kLink);
  ~EgressHook();
  EgressHook(const EgressHook&) = delete;
  EgressHook& operator=(const EgressHook&) = delete;

  [[nodiscard]] Way way() const noexcept { return link_.valid() ? Way::kLink : Way::kFilter; }

 private:
  explicit EgressHook(int ifindex) : ifindex_(ifindex) {}
  [[nodiscard]] int attach_filter(int program) noexcept;

  int ifindex_;
  FileDescriptor link_;
  bool has_filter_ = false;
};

}  // namespace lb::datapath
