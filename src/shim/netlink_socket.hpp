// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include "shim/descriptors.hpp"

/// A socket that passes for a generic-netlink one while sluiced answers.
///
/// It begins as a real one (Role::kUndecided). What it sends first decides: the controller's
/// look-up of a family of sluiced puts a connection to sluiced in its place (Role::kDirector),
/// under the same number; anything else leaves it to the kernel for good. If sluiced cannot be
/// reached, the kernel is asked for a family that it does not have, so that the program is told in
/// the usual way that IPVS is missing; the socket stays undecided.
///
/// Each function does what the system call of its name does, -1 and errno included.
namespace lb::shim {

/// Before the first message is sent. `descriptor` is kUndecided or kDirector, as for the following.
ssize_t send_message(int fd, Descriptor& descriptor, const msghdr& message, int flags) noexcept;

// Of kDirector.
ssize_t receive_message(int fd, Descriptor& descriptor, msghdr& message, int flags) noexcept;
int bind_socket(Descriptor& descriptor, const sockaddr* address, socklen_t length) noexcept;
int own_address(const Descriptor& descriptor, sockaddr* address, socklen_t* length) noexcept;
int peer_address(sockaddr* address, socklen_t* length) noexcept;
int set_option(int fd, Descriptor& descriptor, int level, int option, const void* value,
               socklen_t length) noexcept;
int get_option(int fd, int level, int option, void* value, socklen_t* length) noexcept;

}  // namespace lb::shim
