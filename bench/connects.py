#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What real clients notice of a flood.

    connects.py ask ADDRESS PORT COUNT LIMIT SECONDS
    connects.py serve PORT

"ask" opens COUNT connections, one after the other, says a line on each and waits for it to come back,
LIMIT seconds at most; begins none after SECONDS. Prints a JSON list of how many milliseconds each took,
null: it failed. "serve" sends lines back, one a connection.
"""

import json
import socket
import sys
import time


def ask(address, port, limit):
    begin = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout=limit) as connection:
            connection.sendall(b"hello\n")
            connection.settimeout(max(limit - (time.monotonic() - begin), 0.01))
            if connection.recv(100) != b"hello\n":
                return None
    except OSError:
        return None
    return (time.monotonic() - begin) * 1000


def serve(port):
    with socket.create_server(("::", port), family=socket.AF_INET6, backlog=1024,
                              dualstack_ipv6=True) as server:
        while True:
            connection, _ = server.accept()
            # A client that is gone must not stop those that come.
            with connection:
                connection.settimeout(0.5)
                try:
                    connection.sendall(connection.recv(100))
                except OSError:
                    pass


def main():
    command, *words = sys.argv[1:]
    if command == "serve":
        serve(int(words[0]))
    address, port, count, limit, seconds = words
    end = time.monotonic() + float(seconds)
    took = []
    while len(took) < int(count) and time.monotonic() < end:
        took.append(ask(address, int(port), float(limit)))
    print(json.dumps(took))


if __name__ == "__main__":
    main()
