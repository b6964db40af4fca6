// SPDX-License-Identifier: Apache-2.0
#include "datapath/state_memory.hpp"

#include <sys/mman.h>

#include "datapath/kept_array.hpp"

namespace lb::datapath {
namespace {

using engine::DirectorMemory;

constexpr const char* kName = "state";
constexpr const char* kVirtualName = "state-virtual";
constexpr const char* kRealName = "state-real";

/// Gives out parts of a block, each on a page of its own; with no block, only counts.
class Parts {
 public:
  explicit Parts(std::byte* block) : block_(block) {}
  template <class Element>
  [[nodiscard]] std::span<Element> take(std::size_t count) {
    auto* begin = block_ == nullptr ? nullptr : reinterpret_cast<Element*>(block_ + used_);
    used_ += (count * sizeof(Element) + kKeptPage - 1) / kKeptPage * kKeptPage;
    return {begin, block_ == nullptr ? 0 : count};
  }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  std::byte* block_;
  std::size_t used_ = 0;
};

DirectorMemory divide(Parts& parts, std::size_t connections) {
  DirectorMemory memory;
  memory.globals = parts.take<engine::SavedGlobals>(1).data();
  memory.records = parts.take<engine::ConnectionRecord>(connections + 1);
  memory.services = parts.take<engine::SavedService>(DirectorMemory::kServices);
  memory.destinations = parts.take<engine::SavedDestination>(DirectorMemory::kDestinations);
  memory.mark_rules = parts.take<model::MarkRule>(2 * DirectorMemory::kMarkRules);
  memory.snat_rules = parts.take<engine::SavedSnatRule>(DirectorMemory::kSnatRules);
  return memory;
}

std::size_t size_for(std::size_t connections) {
  Parts parts(nullptr);
  (void)divide(parts, connections);
  return parts.used();
}

}  // namespace

Outcome<std::unique_ptr<StateMemory>> StateMemory::open(const Pins& pins, std::size_t connections,
                                                        const Log& log) {
  std::unique_ptr<StateMemory> result(new StateMemory);
  const auto old = pins.get(kName);
  if (old.valid()) {
    if (result->take_over(pins, connections, log)) return result;
    result = std::unique_ptr<StateMemory>(new StateMemory);
    result->has_discarded_ = true;
  }
  pins.remove_all();
  auto reserved = result->reserve(pins, connections, log);
  if (!reserved) return tl::unexpected(reserved.error());
  for (auto* ends : {result->virtual_ends_.get(), result->real_ends_.get()}) {
    if (auto begun = ends->begin(); !begun) return tl::unexpected(begun.error());
  }
  const auto array = make_kept(size_for(connections));
  if (!array) return tl::unexpected(array.error());
  if (auto mapped = result->map(*array, connections); !mapped) {
    return tl::unexpected(mapped.error());
  }
  if (auto pinned = pins.pin(array->get(), kName); !pinned) return tl::unexpected(pinned.error());
  return result;
}

bool StateMemory::take_over(const Pins& pins, std::size_t connections, const Log& log) {
  const auto array = find_kept(pins, kName, size_for(connections));
  return array.valid() && reserve(pins, connections, log) && virtual_ends_->take_over() &&
         real_ends_->take_over() && map(array, connections) && memory_.is_adoptable();
}

Outcome<void> StateMemory::reserve(const Pins& pins, std::size_t connections, const Log& log) {
  const auto most = DirectorMemory::endpoints_for(connections);
  auto virtual_ends = EndpointPieces::reserve(pins, kVirtualName, most, log);
  if (!virtual_ends) return tl::unexpected(virtual_ends.error());
  auto real_ends = EndpointPieces::reserve(pins, kRealName, most, log);
  if (!real_ends) return tl::unexpected(real_ends.error());
  virtual_ends_ = *std::move(virtual_ends);
  real_ends_ = *std::move(real_ends);
  return {};
}

Outcome<void> StateMemory::map(const FileDescriptor& array, std::size_t connections) {
  size_ = size_for(connections);
  const auto mapped = map_kept(array, size_, nullptr);
  if (!mapped) return tl::unexpected(mapped.error());
  begin_ = *mapped;
  Parts parts(static_cast<std::byte*>(begin_));
  memory_ = divide(parts, connections);
  memory_.virtual_ends = virtual_ends_->all();
  memory_.virtual_room = virtual_ends_.get();
  memory_.real_ends = real_ends_->all();
  memory_.real_room = real_ends_.get();
  return {};
}

StateMemory::~StateMemory() {
  if (begin_ != nullptr) ::munmap(begin_, size_);
}

}  // namespace lb::datapath
