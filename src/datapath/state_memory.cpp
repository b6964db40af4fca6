// SPDX-License-Identifier: Apache-2.0
#include "datapath/state_memory.hpp"

#include <bpf/bpf.h>
#include <sys/mman.h>

#include <cerrno>

namespace lb::datapath {
namespace {

using engine::DirectorMemory;

constexpr const char* kName = "state";
constexpr std::size_t kPage = 4096;

/// Gives out parts of a block, each on a page of its own; with no block, only counts.
class Parts {
 public:
  explicit Parts(std::byte* block) : block_(block) {}
  template <class Element>
  [[nodiscard]] std::span<Element> take(std::size_t count) {
    auto* begin = block_ == nullptr ? nullptr : reinterpret_cast<Element*>(block_ + used_);
    used_ += (count * sizeof(Element) + kPage - 1) / kPage * kPage;
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
  memory.virtual_ends =
      parts.take<engine::EndpointTable::Entry>(DirectorMemory::endpoints_for(connections));
  memory.real_ends =
      parts.take<engine::EndpointTable::Entry>(DirectorMemory::endpoints_for(connections));
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

/// The size of a map's block; 0: it can't be told.
std::size_t size_of(int map) {
  bpf_map_info info{};
  std::uint32_t length = sizeof(info);
  if (::bpf_obj_get_info_by_fd(map, &info, &length) != 0) return 0;
  return info.value_size == kPage ? std::size_t{info.max_entries} * kPage : 0;
}

}  // namespace

Outcome<std::unique_ptr<StateMemory>> StateMemory::open(const Pins& pins, std::size_t connections) {
  std::unique_ptr<StateMemory> result(new StateMemory);
  const auto size = size_for(connections);
  auto old = pins.get(kName);
  if (old.valid()) {
    if (size_of(old.get()) == size) {
      if (auto mapped = result->map(old.get(), connections); !mapped) {
        return tl::unexpected(mapped.error());
      }
      if (result->memory_.is_adoptable()) return result;
      ::munmap(result->begin_, result->size_);
      result->begin_ = nullptr;
    }
    result->has_discarded_ = true;
  }
  pins.remove_all();
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  options.map_flags = BPF_F_MMAPABLE;
  const FileDescriptor map(::bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_state", sizeof(__u32),
                                            kPage, static_cast<std::uint32_t>(size / kPage),
                                            &options));
  if (!map.valid()) return system_failure("cannot get memory that outlives the director", errno);
  if (auto mapped = result->map(map.get(), connections); !mapped) {
    return tl::unexpected(mapped.error());
  }
  if (auto pinned = pins.pin(map.get(), kName); !pinned) return tl::unexpected(pinned.error());
  return result;
}

Outcome<void> StateMemory::map(int map, std::size_t connections) {
  size_ = size_for(connections);
  begin_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  if (begin_ == MAP_FAILED) {
    begin_ = nullptr;
    return system_failure("cannot map the memory that outlives the director", errno);
  }
  Parts parts(static_cast<std::byte*>(begin_));
  memory_ = divide(parts, connections);
  return {};
}

StateMemory::~StateMemory() {
  if (begin_ != nullptr) ::munmap(begin_, size_);
}

}  // namespace lb::datapath
