// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

/// The files of IPVS under /proc as sluiced tells them: /proc/net/ip_vs* and
/// /proc/sys/net/ipv4/vs/NAME. A file that is opened is copied into memory once; what is written to
/// a setting goes to sluiced.
namespace lb::shim {

enum class ProcKind : std::uint8_t { kReadOnly, kSetting, kFolder };

struct ProcPath {
  ProcKind kind;
  std::string path;  ///< as sluiced knows it; of the folder as the program does
};

/// What `path` (may be null) names, or nothing if it is none of these. Only absolute paths count.
[[nodiscard]] std::optional<ProcPath> proc_path(const char* path) noexcept;

// Each does what the system call of its name does, -1 and errno included. Without a director there
// are no such files (ENOENT).

[[nodiscard]] int open_file(const ProcPath& file, int flags) noexcept;
[[nodiscard]] int access_file(const ProcPath& file, int mode) noexcept;
[[nodiscard]] int stat_file(const ProcPath& file, struct stat& result) noexcept;
/// Of a descriptor that open_file() gave for a setting of that name.
[[nodiscard]] ssize_t write_setting(const char* name, const void* data, std::size_t size) noexcept;
/// Before `fd` is closed or becomes another file: a shell's `echo 1 > FILE` is written by a
/// function inside the C library that cannot be replaced, and lies in the memory file. What sluiced
/// refuses of it can only be told on standard error.
void settle_setting(int fd) noexcept;
/// realpath(): `path` itself, in `room` (PATH_MAX bytes) or, if that is null, in allocated memory.
[[nodiscard]] char* resolve_file(const ProcPath& file, char* room) noexcept;

}  // namespace lb::shim
