// SPDX-License-Identifier: Apache-2.0
// The functions of the C library that open or look for files, as the preload library exports them.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "shim/descriptors.hpp"
#include "shim/next.hpp"
#include "shim/proc_files.hpp"

#define LB_EXPORT extern "C" __attribute__((visibility("default")))

namespace lb::shim {
namespace {

/// The mode of open(), which is there only with these flags.
mode_t mode_argument(int flags, va_list list) noexcept {
  const bool has_mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  return has_mode ? va_arg(list, mode_t) : 0;
}

/// fopen()'s modes in terms of open()'s flags; -1: none that makes sense.
int flags_of_mode(std::string_view mode) noexcept {
  int flags = 0;
  switch (mode.empty() ? '\0' : mode.front()) {
    case 'r':
      flags = O_RDONLY;
      break;
    case 'w':
    case 'a':
      flags = O_WRONLY;
      break;
    default:
      return -1;
  }
  if (mode.find('+') != mode.npos) flags = O_RDWR;
  if (mode.find('e') != mode.npos) flags |= O_CLOEXEC;
  return flags;
}

// Streams write by functions inside the C library, which cannot be replaced: a stream of a setting
// that is written to is made of these.

struct SettingStream {
  int fd;
};

ssize_t read_stream(void* cookie, char* data, size_t size) {
  return LB_NEXT(read)(static_cast<SettingStream*>(cookie)->fd, data, size);
}
ssize_t write_stream(void* cookie, const char* data, size_t size) {
  const auto* descriptor = find(static_cast<SettingStream*>(cookie)->fd);
  if (descriptor == nullptr) return 0;
  // fopencookie(3): a failure is 0, not -1.
  const auto written = write_setting(descriptor->name, data, size);
  return written < 0 ? 0 : written;
}
int close_stream(void* cookie) {
  auto* stream = static_cast<SettingStream*>(cookie);
  forget(stream->fd);
  const int result = LB_NEXT(close)(stream->fd);
  delete stream;
  return result;
}

FILE* open_stream(const ProcPath& file, const char* mode) noexcept {
  const int flags = flags_of_mode(mode);
  if (flags < 0) {
    errno = EINVAL;
    return nullptr;
  }
  const int fd = open_file(file, flags);
  if (fd < 0) return nullptr;
  const auto* descriptor = find(fd);
  if (descriptor == nullptr || descriptor->role != Role::kSetting) return ::fdopen(fd, "r");
  auto* cookie = new (std::nothrow) SettingStream{.fd = fd};
  FILE* stream = cookie == nullptr ? nullptr
                                   : ::fopencookie(cookie, mode,
                                                   {.read = read_stream,
                                                    .write = write_stream,
                                                    .seek = nullptr,
                                                    .close = close_stream});
  if (stream == nullptr) {
    delete cookie;
    forget(fd);
    LB_NEXT(close)(fd);
    errno = ENOMEM;
  }
  return stream;
}

/// struct stat64 is struct stat where both exist side by side with the same members.
int stat_into(const ProcPath& file, struct stat64* result) noexcept {
  struct stat found {};
  if (stat_file(file, found) != 0) return -1;
  static_assert(sizeof(struct stat64) == sizeof(struct stat));
  std::memcpy(result, &found, sizeof found);
  return 0;
}

int statx_into(const ProcPath& file, struct statx* result) noexcept {
  struct stat found {};
  if (stat_file(file, found) != 0) return -1;
  *result = {};
  result->stx_mask =
      STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_MTIME | STATX_SIZE;
  result->stx_blksize = static_cast<std::uint32_t>(found.st_blksize);
  result->stx_nlink = 1;
  result->stx_mode = static_cast<std::uint16_t>(found.st_mode);
  result->stx_mtime.tv_sec = found.st_mtim.tv_sec;
  return 0;
}

int opened(int fd) noexcept {
  forget(fd);
  return fd;
}

}  // namespace
}  // namespace lb::shim

using namespace lb::shim;

LB_EXPORT int open(const char* path, int flags, ...) {
  if (const auto file = proc_path(path)) return open_file(*file, flags);
  va_list list;
  va_start(list, flags);
  const auto mode = mode_argument(flags, list);
  va_end(list);
  return opened(LB_NEXT(open)(path, flags, mode));
}
LB_EXPORT int open64(const char* path, int flags, ...) {
  if (const auto file = proc_path(path)) return open_file(*file, flags);
  va_list list;
  va_start(list, flags);
  const auto mode = mode_argument(flags, list);
  va_end(list);
  return opened(LB_NEXT(open64)(path, flags, mode));
}
LB_EXPORT int openat(int folder, const char* path, int flags, ...) {
  if (const auto file = proc_path(path)) return open_file(*file, flags);
  va_list list;
  va_start(list, flags);
  const auto mode = mode_argument(flags, list);
  va_end(list);
  return opened(LB_NEXT(openat)(folder, path, flags, mode));
}
LB_EXPORT int openat64(int folder, const char* path, int flags, ...) {
  if (const auto file = proc_path(path)) return open_file(*file, flags);
  va_list list;
  va_start(list, flags);
  const auto mode = mode_argument(flags, list);
  va_end(list);
  return opened(LB_NEXT(openat64)(folder, path, flags, mode));
}

// What these are called when a program is built with _FORTIFY_SOURCE.

extern "C" int __open_2(const char* path, int flags);
extern "C" int __open64_2(const char* path, int flags);
extern "C" int __openat_2(int folder, const char* path, int flags);
extern "C" int __openat64_2(int folder, const char* path, int flags);

LB_EXPORT int __open_2(const char* path, int flags) {
  const auto file = proc_path(path);
  return file ? open_file(*file, flags) : opened(LB_NEXT(__open_2)(path, flags));
}
LB_EXPORT int __open64_2(const char* path, int flags) {
  const auto file = proc_path(path);
  return file ? open_file(*file, flags) : opened(LB_NEXT(__open64_2)(path, flags));
}
LB_EXPORT int __openat_2(int folder, const char* path, int flags) {
  const auto file = proc_path(path);
  return file ? open_file(*file, flags) : opened(LB_NEXT(__openat_2)(folder, path, flags));
}
LB_EXPORT int __openat64_2(int folder, const char* path, int flags) {
  const auto file = proc_path(path);
  return file ? open_file(*file, flags) : opened(LB_NEXT(__openat64_2)(folder, path, flags));
}

LB_EXPORT FILE* fopen(const char* path, const char* mode) {
  const auto file = proc_path(path);
  return file ? open_stream(*file, mode) : LB_NEXT(fopen)(path, mode);
}
LB_EXPORT FILE* fopen64(const char* path, const char* mode) {
  const auto file = proc_path(path);
  return file ? open_stream(*file, mode) : LB_NEXT(fopen64)(path, mode);
}

LB_EXPORT int access(const char* path, int mode) noexcept {
  const auto file = proc_path(path);
  return file ? access_file(*file, mode) : LB_NEXT(access)(path, mode);
}
LB_EXPORT int faccessat(int folder, const char* path, int mode, int flags) noexcept {
  const auto file = proc_path(path);
  return file ? access_file(*file, mode) : LB_NEXT(faccessat)(folder, path, mode, flags);
}

LB_EXPORT int stat(const char* path, struct stat* result) noexcept {
  const auto file = proc_path(path);
  return file ? stat_file(*file, *result) : LB_NEXT(stat)(path, result);
}
LB_EXPORT int stat64(const char* path, struct stat64* result) noexcept {
  const auto file = proc_path(path);
  return file ? stat_into(*file, result) : LB_NEXT(stat64)(path, result);
}
LB_EXPORT int lstat(const char* path, struct stat* result) noexcept {
  const auto file = proc_path(path);
  return file ? stat_file(*file, *result) : LB_NEXT(lstat)(path, result);
}
LB_EXPORT int lstat64(const char* path, struct stat64* result) noexcept {
  const auto file = proc_path(path);
  return file ? stat_into(*file, result) : LB_NEXT(lstat64)(path, result);
}
LB_EXPORT int fstatat(int folder, const char* path, struct stat* result, int flags) noexcept {
  const auto file = proc_path(path);
  return file ? stat_file(*file, *result) : LB_NEXT(fstatat)(folder, path, result, flags);
}
LB_EXPORT int fstatat64(int folder, const char* path, struct stat64* result, int flags) noexcept {
  const auto file = proc_path(path);
  return file ? stat_into(*file, result) : LB_NEXT(fstatat64)(folder, path, result, flags);
}
LB_EXPORT int statx(int folder, const char* path, int flags, unsigned mask,
                    struct statx* result) noexcept {
  const auto file = proc_path(path);
  return file ? statx_into(*file, result) : LB_NEXT(statx)(folder, path, flags, mask, result);
}

extern "C" char* __realpath_chk(const char* path, char* room, size_t size);

LB_EXPORT char* realpath(const char* path, char* room) noexcept {
  const auto file = proc_path(path);
  return file ? resolve_file(*file, room) : LB_NEXT(realpath)(path, room);
}
LB_EXPORT char* __realpath_chk(const char* path, char* room, size_t size) {
  const auto file = proc_path(path);
  return file ? resolve_file(*file, room) : LB_NEXT(__realpath_chk)(path, room, size);
}
