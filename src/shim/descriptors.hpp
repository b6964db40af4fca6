// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/netlink.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string_view>

/// The descriptors of this process that are not what the kernel thinks they are.
///
/// The table is a plain array, without locks, so that it survives fork() in whatever state other
/// threads were; it rests on the rule that one does not close a descriptor that another thread
/// uses. Descriptors may be closed in ways that this library does not see (close_range, exec), so
/// an entry counts only while the descriptor is the same file as when the entry was made.
namespace lb::shim {

enum class Role : std::uint8_t {
  kNone,
  kUndecided,  ///< a generic-netlink socket that has not sent anything yet
  kDirector,   ///< a socket to sluiced that passes for a generic-netlink one
  kSetting,    ///< a memory file that passes for one under /proc/sys/net/ipv4/vs
};

// All zero at first: the table of them takes no room in the file, and memory only as it is used.
struct Descriptor {
  std::atomic<Role> role{Role::kNone};
  // Of kDirector.
  bool is_waiting = false;       ///< an answer is to come ...
  bool has_failed = false;       ///< ... or rather `error` in place of it
  bool has_own_timeout = false;  ///< the program set SO_RCVTIMEO
  int error = 0;
  nlmsghdr request{};         ///< of the last request
  std::uint32_t port_id = 0;  ///< by which the program knows itself
  // Of both kinds of sockets: who waits for it. Another file in its place has to be waited for
  // anew.
  bool is_polled = false;
  int epoll = 0;
  epoll_event event{};
  // Of kSetting.
  char name[40] = {};        ///< "drop_entry"
  bool has_content = false;  ///< from the start, as it can be read as well
  // What the descriptor was when the entry was made.
  dev_t device = 0;
  ino_t inode = 0;
};

/// Makes an entry of that role, in place of an older one. False: the number is too large for the
/// table, or no descriptor.
bool assign(int fd, Role role) noexcept;
/// The entry of `fd`, or null if the descriptor is an ordinary one.
[[nodiscard]] Descriptor* find(int fd) noexcept;
void forget(int fd) noexcept;
/// After dup(): `copy` is what `fd` is.
void copy(int fd, int copy) noexcept;
/// Puts the file behind `replacement` in place of that behind `fd` and all its duplicates, with
/// the flags that it had, and closes `replacement`. The entries stay, with `role`.
[[nodiscard]] bool replace(int fd, int replacement, Role role) noexcept;

}  // namespace lb::shim
