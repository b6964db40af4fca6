#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real server for tests: says its name over HTTP and UDP on every address, IPv4 and IPv6.

    GET /            the name
    GET /bytes/N     N bytes that `pattern` yields, to be compared by hash
    POST             the SHA-256 of what was sent
    UDP              the name, a space, and what was sent
"""

import argparse
import hashlib
import http.server
import socket
import threading

IP_PKTINFO = 8  # linux/in.h; the module socket has it from Python 3.14 on
BLOCK = bytes((7 * i + (i >> 8)) & 0xFF for i in range(1 << 16))


def pattern(size):
    """The bytes of /bytes/`size`, in pieces. A period that no packet size divides would hide
    nothing: each block starts with its number."""
    number = 0
    while size > 0:
        piece = (number.to_bytes(8, "big") + BLOCK[8:])[:size]
        yield piece
        size -= len(piece)
        number += 1


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""

    def start(self, size):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def do_GET(self):
        if self.path.startswith("/bytes/"):
            size = int(self.path.removeprefix("/bytes/"))
            self.start(size)
            for piece in pattern(size):
                self.wfile.write(piece)
            return
        body = self.name.encode()
        self.start(len(body))
        self.wfile.write(body)

    def do_POST(self):
        digest = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left > 0:
            piece = self.rfile.read(min(left, 1 << 16))
            if not piece:
                return
            digest.update(piece)
            left -= len(piece)
        body = digest.hexdigest().encode()
        self.start(len(body))
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class HttpServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 512
    daemon_threads = True

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)


def serve_udp(family, any_address, port, name):
    """Answers from the address that was asked: a plain reply would come from the interface's."""
    udp = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        kind = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        kind = (socket.IPPROTO_IP, IP_PKTINFO)
    udp.bind((any_address, port))
    while True:
        data, ancillary, _, peer = udp.recvmsg(65536, 256)
        source = [(level, what, value) for level, what, value in ancillary
                  if (level, what) == kind]
        if family == socket.AF_INET:
            # struct in_pktinfo: interface, source to use, destination. The interface must not
            # be pinned to where the packet came in.
            source = [(level, what, bytes(4) + value[8:12] + bytes(4))
                      for level, what, value in source]
        else:
            source = [(level, what, value[:16] + bytes(4)) for level, what, value in source]
        udp.sendmsg([name.encode() + b" " + data], source, 0, peer)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--ready", help="create this file when listening")
    options = parser.parse_args()
    Handler.name = options.name
    server = HttpServer(("::", options.port), Handler)
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        threading.Thread(target=serve_udp, args=(family, address, options.port, options.name),
                         daemon=True).start()
    if options.ready:
        with open(options.ready, "w", encoding="ascii") as file:
            file.write("ready\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
