// SPDX-License-Identifier: Apache-2.0
#include "datapath/kept_array.hpp"

#include <bpf/bpf.h>
#include <sys/mman.h>

#include <cerrno>

namespace lb::datapath {

FileDescriptor find_kept(const Pins& pins, std::string_view name, std::size_t size) {
  auto array = pins.get(name);
  if (!array.valid()) return {};
  bpf_map_info info{};
  std::uint32_t length = sizeof(info);
  const bool is_of_that_size = ::bpf_obj_get_info_by_fd(array.get(), &info, &length) == 0 &&
                               info.value_size == kKeptPage &&
                               std::size_t{info.max_entries} * kKeptPage == size;
  if (!is_of_that_size) return {};
  return array;
}

Outcome<FileDescriptor> make_kept(std::size_t size) {
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  options.map_flags = BPF_F_MMAPABLE;
  FileDescriptor array(::bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_state", sizeof(__u32),
                                        kKeptPage, static_cast<std::uint32_t>(size / kKeptPage),
                                        &options));
  if (!array.valid()) return system_failure("cannot get memory that outlives the director", errno);
  return array;
}

Outcome<void*> map_kept(const FileDescriptor& array, std::size_t size, void* where) {
  const int flags = MAP_SHARED | (where == nullptr ? 0 : MAP_FIXED);
  void* begin = ::mmap(where, size, PROT_READ | PROT_WRITE, flags, array.get(), 0);
  if (begin == MAP_FAILED) {
    return system_failure("cannot map the memory that outlives the director", errno);
  }
  return begin;
}

}  // namespace lb::datapath
