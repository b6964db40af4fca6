# SPDX-License-Identifier: Apache-2.0
"""A flood of SYNs, or of UDP datagrams, from random addresses, by a packet socket.

    syn_flood.py INTERFACE DESTINATION-MAC ADDRESS PORT COUNT [udp]

Prints how long it took to send them. Sources are of 198.18.0.0/15 (RFC 2544)."""

import random
import socket
import struct
import sys
import time


def folded(total):
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def words(data):
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def link_header(mac):
    return bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x99\x08\0"


def random_client():
    return 0xc6120000 | random.getrandbits(17), random.randrange(1024, 65536)


def syns(mac, address, port, count):
    ethernet, destination = link_header(mac), socket.inet_aton(address)
    ip_sum = words(struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + destination)
    tcp_sum = words(destination) + 6 + 20 + port + 0x5002 + 64240
    for _ in range(count):
        source, client = random_client()
        sequence = random.getrandbits(32)
        halves = (source >> 16) + (source & 0xffff)
        check = ~folded(ip_sum + halves) & 0xffff
        tcp_check = ~folded(tcp_sum + halves + client + (sequence >> 16)
                            + (sequence & 0xffff)) & 0xffff
        yield ethernet + struct.pack("!BBHHHBBHI4sHHIIHHHH", 0x45, 0, 40, 0, 0x4000, 64, 6, check,
                                     source, destination, client, port, sequence, 0, 0x5002, 64240,
                                     tcp_check, 0)


def datagrams(mac, address, port, count):
    ethernet, destination = link_header(mac), socket.inet_aton(address)
    ip_sum = words(struct.pack("!BBHHHBBH", 0x45, 0, 32, 0, 0x4000, 64, 17, 0) + destination)
    udp_sum = words(destination) + 17 + 12 + port + 12 + words(b"junk")
    for _ in range(count):
        source, client = random_client()
        halves = (source >> 16) + (source & 0xffff)
        check = ~folded(ip_sum + halves) & 0xffff
        udp_check = ~folded(udp_sum + halves + client) & 0xffff or 0xffff
        yield ethernet + struct.pack("!BBHHHBBHI4sHHHH4s", 0x45, 0, 32, 0, 0x4000, 64, 17, check,
                                     source, destination, client, port, 12, udp_check, b"junk")


def main():
    interface, mac, address, port, count, *kind = sys.argv[1:]
    make = datagrams if kind == ["udp"] else syns
    made = list(make(mac, address, int(port), int(count)))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        start = time.monotonic()
        for frame in made:
            sender.send(frame)
        print(f"{time.monotonic() - start:.3f}")


if __name__ == "__main__":
    main()
