// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "datapath/datapath.hpp"
#include "datapath/outcome.hpp"
#include "datapath/pins.hpp"
#include "engine/endpoint_table.hpp"

namespace lb::datapath {

/// The endpoints of one side, in memory that outlives the process and grows: addresses are reserved
/// for as many as there can be, and pinned BPF arrays of 65,536 entries (1.8 MB) are mapped there,
/// one after the other.
///
/// A piece is pinned before the engine uses it, and stays until all pins go: which numbers are in
/// use tells the connections' records, as ever.
class EndpointPieces : public engine::EndpointRoom {
 public:
  static constexpr std::size_t kEntries = 1U << 16;
  static constexpr std::size_t kSize = kEntries * sizeof(engine::EndpointTable::Entry);

  /// Reserves addresses for `most` entries. The pieces are pinned as `name`-0, `name`-1 and so on;
  /// `pins` must outlive it.
  [[nodiscard]] static Outcome<std::unique_ptr<EndpointPieces>> reserve(const Pins& pins,
                                                                        std::string_view name,
                                                                        std::size_t most, Log log);
  ~EndpointPieces() override;
  EndpointPieces(const EndpointPieces&) = delete;
  EndpointPieces& operator=(const EndpointPieces&) = delete;

  /// Maps the pieces that an earlier director left. False if they are not enough to begin with.
  [[nodiscard]] bool take_over();
  /// Makes the pieces that are there from the start: every service and destination finds room.
  [[nodiscard]] Outcome<void> begin();

  /// As many entries as there can be; only the first `entries()` may be touched.
  [[nodiscard]] std::span<engine::EndpointTable::Entry> all() const noexcept;
  [[nodiscard]] std::size_t entries() const noexcept override;
  bool extend() noexcept override;

 private:
  EndpointPieces(const Pins& pins, std::string_view name, std::size_t most, Log log);
  [[nodiscard]] std::size_t most_pieces() const noexcept;
  [[nodiscard]] std::size_t first_pieces() const noexcept;
  [[nodiscard]] std::string name_of(std::size_t piece) const;
  [[nodiscard]] void* place_of(std::size_t piece) const noexcept;
  [[nodiscard]] Outcome<void> add();

  const Pins& pins_;
  std::string name_;
  std::size_t most_;
  Log log_;
  std::byte* begin_ = nullptr;
  std::size_t pieces_ = 0;
  bool has_complained_ = false;
};

}  // namespace lb::datapath
