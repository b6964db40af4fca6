# SPDX-License-Identifier: Apache-2.0
"""UDP clients that ask again, as those of DNS do.

    udp_echo.py serve NAME ADDRESS PORT      answers each datagram with NAME
    udp_echo.py ask ADDRESS PORT COUNT       asks from COUNT ports, one after the other; each asks four
                                             times on the same port. Prints a line a client: the names
                                             that answered it."""

import contextlib
import socket
import sys

ASKED = 4
TRIES, PATIENCE_SECONDS = 10, 0.5


def serve(name, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind((address, port))
        while True:
            question, client = one.recvfrom(100)
            with contextlib.suppress(OSError):  # no way to such a client
                one.sendto(question + b" " + name.encode(), client)


def ask_once(one, address, port, question):
    for _ in range(TRIES):
        one.sendto(question, (address, port))
        try:
            while True:
                words = one.recvfrom(100)[0].split()
                if words[0] == question:
                    return words[1].decode()
        except TimeoutError:
            pass
    return "nobody"


def ask(address, port, count):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(count):
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.settimeout(PATIENCE_SECONDS)
            names = {ask_once(one, address, port, b"%d" % number) for number in range(ASKED)}
            print(" ".join(sorted(names)), flush=True)


def main():
    command, *words = sys.argv[1:]
    if command == "ask":
        ask(words[0], int(words[1]), int(words[2]))
    else:
        serve(words[0], words[1], int(words[2]))


if __name__ == "__main__":
    main()
