# SPDX-License-Identifier: Apache-2.0
"""datagrams.py ADDRESS PORTS EACH: sends EACH datagrams from each of PORTS ports to port 80.
datagrams.py --everywhere ADDRESS COUNT: sends a datagram to each of COUNT pairs of ports."""

import contextlib
import socket
import sys

LAST_PORT = 65535


def send_each(address, ports, each):
    with contextlib.ExitStack() as stack:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sockets = [stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                   for _ in range(ports)]
        for _ in range(each):
            for one in sockets:
                one.sendto(b"x", (address, 80))


def send_everywhere(address, count):
    while count > 0:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            for port in range(1, min(count, LAST_PORT) + 1):
                one.sendto(b"x", (address, port))
        count -= LAST_PORT


if sys.argv[1] == "--everywhere":
    send_everywhere(sys.argv[2], int(sys.argv[3]))
else:
    send_each(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
