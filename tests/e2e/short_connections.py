#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches http://ADDRESS:PORT/ over COUNT connections, one after the other, and prints (JSON) what
went wrong and how long each took, connect to end.

    --from-port PORT   always from this port, at once again after it was closed
    --reset            ends each connection with RST (SO_LINGER 0) once the answer is there
    --until FILE       goes on until FILE exists instead of COUNT
"""

import argparse
import collections
import errno
import json
import os
import socket
import struct
import time

LIMITS_MS = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 3000)


def connect(client, options):
    """Until the last connection of a fixed port is closed on both ends (the last ACK may be on its
    way), the client's own kernel has no such port to give."""
    end = time.monotonic() + 5
    while True:
        try:
            return client.connect((options.address, options.port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > end:
                raise
            time.sleep(0.001)


def fetch(options):
    family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        if options.from_port:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("", options.from_port))
        connect(client, options)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := client.recv(4096):
            answer += piece
            if options.reset and b"\r\n\r\nrs" in answer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                break
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise OSError(f"answered {answer[:60]!r}")
        return body.decode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--from-port", type=int)
    parser.add_argument("--reset", action="store_true")
    parser.add_argument("--until")
    options = parser.parse_args()
    errors, answers, took = collections.Counter(), collections.Counter(), []
    while len(took) < options.count and not (options.until and os.path.exists(options.until)):
        start = time.monotonic()
        try:
            answers[fetch(options)] += 1
        except OSError as error:
            errors[str(error)] += 1
        took.append((time.monotonic() - start) * 1000)
    histogram = collections.Counter(
        next((f"<= {limit} ms" for limit in LIMITS_MS if time_ms <= limit), "more")
        for time_ms in took)
    took.sort()
    print(json.dumps({
        "errors": errors, "answers": answers, "count": len(took),
        "histogram": {name: histogram[name]
                      for name in [f"<= {limit} ms" for limit in LIMITS_MS] + ["more"]
                      if histogram[name]},
        **{f"p{share}": round(took[min(len(took) - 1, int(len(took) * share / 100))], 2)
           for share in (50, 90, 99, 99.9)},
        "max": round(took[-1], 2)}))


if __name__ == "__main__":
    main()
