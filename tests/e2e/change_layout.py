# SPDX-License-Identifier: Apache-2.0
"""Makes the memory that a director left in this network namespace look like another build's: raises
the layout number, which is its first word."""

import ctypes
import mmap
import pathlib
import platform
import socket
import struct
import sys

SO_NETNS_COOKIE = 71
BPF_OBJ_GET = 7
SYS_BPF = {"x86_64": 321, "aarch64": 280}


def pinned(path):
    """The map that is pinned there, as a file descriptor."""
    name = ctypes.create_string_buffer(str(path).encode())
    attributes = ctypes.create_string_buffer(struct.pack("=QII", ctypes.addressof(name), 0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    number = SYS_BPF[platform.machine()]
    result = libc.syscall(number, BPF_OBJ_GET, attributes, len(attributes) - 1)
    if result < 0:
        sys.exit(f"{path}: errno {ctypes.get_errno()}")
    return result


def main():
    with socket.socket() as any_socket:
        cookie = struct.unpack("=Q", any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]
    file = pinned(pathlib.Path("/sys/fs/bpf/sluice") / f"{cookie:x}" / "state")
    with mmap.mmap(file, mmap.PAGESIZE) as memory:
        layout = struct.unpack_from("=Q", memory)[0]
        struct.pack_into("=Q", memory, 0, layout + 1)


if __name__ == "__main__":
    main()
