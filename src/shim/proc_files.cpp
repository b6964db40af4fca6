// SPDX-License-Identifier: Apache-2.0
#include "shim/proc_files.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <string_view>

#include "shim/descriptors.hpp"
#include "shim/director_link.hpp"
#include "shim/hint.hpp"
#include "shim/next.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::shim {
namespace {

constexpr std::string_view kNet = "/proc/net/";
constexpr std::string_view kSettings = "/proc/sys/net/ipv4/vs";
constexpr std::string_view kSettingPrefix = "net.ipv4.vs.";
constexpr mode_t kReadable = 0444;
constexpr mode_t kOwnerWrites = 0644;
constexpr mode_t kFolderMode = 0555;
// A number or two; more is no value of any setting.
constexpr std::size_t kMaxValue = 256;

int fail(int error) noexcept {
  errno = error;
  return -1;
}

/// The errno of a file operation that the director could not serve.
int file_error(Error error) noexcept {
  switch (error.code) {
    case ECONNREFUSED:
    case EACCES:
      hint(error);
      return ENOENT;
    case EPERM:
      return EACCES;
    default:
      return error.code;
  }
}

Result<void> write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const auto size = LB_NEXT(write)(fd, text.data(), text.size());
    if (size < 0 && errno != EINTR) return failure(errno);
    if (size > 0) text.remove_prefix(static_cast<std::size_t>(size));
  }
  return {};
}

Result<void> look_for(const ProcPath& file) {
  DirectorLink link;
  const auto context = link.context(wire::kSluiceName);
  if (!context) return tl::unexpected(context.error());
  if (file.kind == ProcKind::kFolder) return {};
  const auto answer = link.exchange(wire::find_file_request(*context, file.path));
  if (!answer) return tl::unexpected(answer.error());
  return wire::outcome(*answer);
}

Result<void> fetch(const std::string& path, int fd) {
  DirectorLink link;
  const auto context = link.context(wire::kSluiceName);
  if (!context) return tl::unexpected(context.error());
  return link.stream(wire::read_file_request(*context, path),
                     [&](const auto& message) { return write_all(fd, wire::file_piece(message)); });
}

Result<void> assign_setting(std::string_view name, std::string_view value) {
  DirectorLink link;
  const auto context = link.context(wire::kSluiceName);
  if (!context) return tl::unexpected(context.error());
  const wire::Setting setting{.name = std::string(kSettingPrefix) + std::string(name),
                              .value = std::string(value)};
  const auto answer = link.exchange(wire::set_setting_request(*context, setting));
  if (!answer) return tl::unexpected(answer.error());
  return wire::outcome(*answer);
}

bool wants_to_write(int flags) noexcept { return (flags & O_ACCMODE) != O_RDONLY; }

int open_copy(const ProcPath& file, int flags) {
  const unsigned kind = (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0;
  const int fd = ::memfd_create(file.path.c_str(), kind);
  if (fd < 0) return -1;
  const bool is_read = (flags & O_ACCMODE) != O_WRONLY;
  const auto fetched = is_read ? fetch(file.path, fd) : look_for(file);
  const bool is_rewound = fetched && ::lseek(fd, 0, SEEK_SET) == 0;
  const bool is_noted =
      file.kind != ProcKind::kSetting || !wants_to_write(flags) || assign(fd, Role::kSetting);
  if (!is_rewound || !is_noted) {
    LB_NEXT(close)(fd);
    return fail(fetched ? EMFILE : file_error(fetched.error()));
  }
  if (auto* descriptor = find(fd); descriptor != nullptr) {
    const auto name = std::string_view(file.path).substr(kSettings.size() + 1);
    name.copy(descriptor->name, sizeof descriptor->name - 1);
    descriptor->has_content = is_read;
  }
  return fd;
}

}  // namespace

std::optional<ProcPath> proc_path(const char* path) noexcept {
  constexpr std::string_view kProc = "/proc/";
  // Called for every file that the program opens.
  if (path == nullptr || std::strncmp(path, kProc.data(), kProc.size()) != 0) return std::nullopt;
  try {
    const std::string_view given(path);
    for (const std::string_view folder :
         {"/proc/net/", "/proc/self/net/", "/proc/thread-self/net/"}) {
      if (!given.starts_with(folder)) continue;
      const auto name = given.substr(folder.size());
      if (!name.starts_with("ip_vs") || name.find('/') != name.npos) return std::nullopt;
      return ProcPath{.kind = ProcKind::kReadOnly, .path = std::string(kNet) + std::string(name)};
    }
    if (!given.starts_with(kSettings)) return std::nullopt;
    const auto rest = given.substr(kSettings.size());
    if (rest.empty() || rest == "/")
      return ProcPath{.kind = ProcKind::kFolder, .path = std::string(kSettings)};
    // A longer name could not be kept, and is none of ours.
    if (rest.front() != '/' || rest.size() > sizeof(Descriptor::name)) return std::nullopt;
    return ProcPath{.kind = ProcKind::kSetting, .path = std::string(given)};
  } catch (const std::exception&) {  // no memory
    return std::nullopt;
  }
}

int open_file(const ProcPath& file, int flags) noexcept {
  try {
    if (file.kind == ProcKind::kFolder) return fail(ENOENT);
    if (file.kind == ProcKind::kReadOnly && wants_to_write(flags)) return fail(EACCES);
    return open_copy(file, flags);
  } catch (const std::exception&) {
    return fail(ENOMEM);
  }
}

int access_file(const ProcPath& file, int mode) noexcept {
  try {
    const auto found = look_for(file);
    if (!found) return fail(found.error().code == EPERM ? EACCES : ENOENT);
    const bool is_denied = ((mode & W_OK) != 0 && file.kind != ProcKind::kSetting) ||
                           ((mode & X_OK) != 0 && file.kind != ProcKind::kFolder);
    return is_denied ? fail(EACCES) : 0;
  } catch (const std::exception&) {
    return fail(ENOMEM);
  }
}

int stat_file(const ProcPath& file, struct stat& result) noexcept {
  if (access_file(file, F_OK) != 0 && errno != EACCES) return -1;
  result = {};
  result.st_nlink = 1;
  result.st_blksize = 1024;
  switch (file.kind) {
    case ProcKind::kReadOnly:
      result.st_mode = S_IFREG | kReadable;
      break;
    case ProcKind::kSetting:
      result.st_mode = S_IFREG | kOwnerWrites;
      break;
    case ProcKind::kFolder:
      result.st_mode = S_IFDIR | kFolderMode;
      break;
  }
  ::clock_gettime(CLOCK_REALTIME, &result.st_mtim);
  result.st_atim = result.st_ctim = result.st_mtim;
  return 0;
}

ssize_t write_setting(const char* name, const void* data, std::size_t size) noexcept {
  try {
    std::string_view value(static_cast<const char*>(data), std::min(size, kMaxValue));
    while (!value.empty() && (value.back() == '\n' || value.back() == '\0')) value.remove_suffix(1);
    if (value.empty()) return static_cast<ssize_t>(size);  // as the kernel: no value, no change
    if (size > kMaxValue) return fail(EINVAL);
    const auto result = assign_setting(name, value);
    if (!result) return fail(result.error().code == ENOENT ? EINVAL : file_error(result.error()));
    return static_cast<ssize_t>(size);
  } catch (const std::exception&) {
    return fail(ENOMEM);
  }
}

void settle_setting(int fd) noexcept {
  const auto* descriptor = find(fd);
  if (descriptor == nullptr || descriptor->role.load(std::memory_order_relaxed) != Role::kSetting ||
      descriptor->has_content) {
    return;
  }
  std::array<char, kMaxValue> text{};
  const auto size = ::pread(fd, text.data(), text.size(), 0);
  if (size <= 0 || ::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) return;
  const int kept = errno;
  if (write_setting(descriptor->name, text.data(), static_cast<std::size_t>(size)) < 0) {
    constexpr std::string_view kMessage = "sluice: sluiced refuses the value of a setting\n";
    (void)write_all(STDERR_FILENO, kMessage);
  }
  errno = kept;
}

char* resolve_file(const ProcPath& file, char* room) noexcept {
  if (access_file(file, F_OK) != 0 && errno != EACCES) return nullptr;
  if (room == nullptr) return ::strdup(file.path.c_str());
  std::memcpy(room, file.path.c_str(), file.path.size() + 1);
  return room;
}

}  // namespace lb::shim
