// SPDX-License-Identifier: Apache-2.0
#include "datapath/endpoint_pieces.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "datapath/kept_array.hpp"
#include "engine/director_memory.hpp"

namespace lb::datapath {

using engine::DirectorMemory;
using engine::EndpointTable;

static_assert(EndpointPieces::kSize % kKeptPage == 0);

EndpointPieces::EndpointPieces(const Pins& pins, std::string_view name, std::size_t most, Log log)
    : pins_(pins), name_(name), most_(most), log_(std::move(log)) {}

Outcome<std::unique_ptr<EndpointPieces>> EndpointPieces::reserve(const Pins& pins,
                                                                 std::string_view name,
                                                                 std::size_t most, Log log) {
  std::unique_ptr<EndpointPieces> result(new EndpointPieces(pins, name, most, std::move(log)));
  void* begin = ::mmap(nullptr, result->most_pieces() * kSize, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED) return system_failure("cannot reserve addresses for endpoints", errno);
  result->begin_ = static_cast<std::byte*>(begin);
  return result;
}

EndpointPieces::~EndpointPieces() {
  if (begin_ != nullptr) ::munmap(begin_, most_pieces() * kSize);
}

std::size_t EndpointPieces::most_pieces() const noexcept {
  return (most_ + kEntries - 1) / kEntries;
}

std::size_t EndpointPieces::first_pieces() const noexcept {
  constexpr std::size_t kFirst = (DirectorMemory::kConfiguredEndpoints + kEntries - 1) / kEntries;
  return std::min(kFirst, most_pieces());
}

std::string EndpointPieces::name_of(std::size_t piece) const {
  return fmt::format("{}-{}", name_, piece);
}

void* EndpointPieces::place_of(std::size_t piece) const noexcept { return begin_ + piece * kSize; }

bool EndpointPieces::take_over() {
  for (; pieces_ < most_pieces(); ++pieces_) {
    const auto array = find_kept(pins_, name_of(pieces_), kSize);
    if (!array.valid() || !map_kept(array, kSize, place_of(pieces_))) break;
  }
  return pieces_ >= first_pieces();
}

Outcome<void> EndpointPieces::begin() {
  while (pieces_ < first_pieces()) {
    if (auto added = add(); !added) return added;
  }
  return {};
}

Outcome<void> EndpointPieces::add() {
  const auto array = make_kept(kSize);
  if (!array) return tl::unexpected(array.error());
  const auto name = name_of(pieces_);
  pins_.remove(name);  // of a size that nobody asked for
  if (auto pinned = pins_.pin(array->get(), name); !pinned) return pinned;
  if (auto mapped = map_kept(*array, kSize, place_of(pieces_)); !mapped) {
    pins_.remove(name);
    return tl::unexpected(mapped.error());
  }
  ++pieces_;
  return {};
}

std::span<EndpointTable::Entry> EndpointPieces::all() const noexcept {
  return {reinterpret_cast<EndpointTable::Entry*>(begin_), most_};
}

std::size_t EndpointPieces::entries() const noexcept { return std::min(pieces_ * kEntries, most_); }

bool EndpointPieces::extend() noexcept {
  if (pieces_ == most_pieces()) return false;
  const auto added = add();
  if (!added && !has_complained_) {
    log_(LogLevel::kError,
         fmt::format("no memory for more than {} endpoints, connections that need others are "
                     "dropped (table_full): {}",
                     entries(), added.error()));
  }
  has_complained_ = !added;
  return added.has_value();
}

}  // namespace lb::datapath
