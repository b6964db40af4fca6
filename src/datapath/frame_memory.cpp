// SPDX-License-Identifier: Apache-2.0
#include "datapath/frame_memory.hpp"

#include <sys/mman.h>

#include <cerrno>

namespace lb::datapath {

Outcome<std::unique_ptr<FrameMemory>> FrameMemory::create(std::size_t chunks) {
  const std::size_t size = chunks * kChunkSize;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) {
    return system_failure(
        fmt::format("cannot get {} MiB of memory for frames (fewer queues or frames a queue need "
                    "less)",
                    size >> 20U),
        errno);
  }
  std::unique_ptr<FrameMemory> result(new FrameMemory);
  result->area_ = {static_cast<std::byte*>(memory), size};
  result->free_.reserve(chunks);
  result->holders_.resize(chunks, kNobody);
  for (std::size_t i = chunks; i-- > 0;) result->free_.push_back(i * kChunkSize);
  return result;
}

void FrameMemory::recover(Holder holder) noexcept {
  for (std::size_t i = 0; i < holders_.size(); ++i) {
    if (holders_[i] == holder) give(i * kChunkSize);
  }
}

FrameMemory::~FrameMemory() {
  if (!area_.empty()) ::munmap(area_.data(), area_.size());
}

}  // namespace lb::datapath
