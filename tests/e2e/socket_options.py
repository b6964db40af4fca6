#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speaks the older interface of IPVS (IP_VS_SO_* of linux/ip_vs.h) and prints what comes back, bytes and
errno. socket_options.expected is what Linux 6.1 printed, recorded by
`tests/kernel/boot.sh sh -c 'ip link set lo up; tests/e2e/socket_options.py'`."""

import ctypes
import errno
import os
import socket
import struct
import time

LIBC = ctypes.CDLL(None, use_errno=True)
BASE = 1152
ADD, EDIT, DELETE, FLUSH = BASE + 2, BASE + 3, BASE + 4, BASE + 5
ADD_SERVER, DELETE_SERVER, EDIT_SERVER = BASE + 7, BASE + 8, BASE + 9
TIMEOUT, START, STOP, ZERO = BASE + 10, BASE + 11, BASE + 12, BASE + 15
VERSION, INFO, SERVICES, SERVICE = BASE, BASE + 1, BASE + 2, BASE + 3
SERVERS, TIMEOUTS, DAEMONS = BASE + 4, BASE + 6, BASE + 7
TCP, UDP, SCTP, ICMP = 6, 17, 132, 1
VIP, OTHER = "127.0.0.1", "127.0.0.2"

SOCKET = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def name_of(number):
    return "ok" if number == 0 else errno.errorcode[number]


def change(what, option, value):
    result = LIBC.setsockopt(SOCKET.fileno(), 0, option, value, len(value))
    print(f"{what}: {name_of(ctypes.get_errno() if result else 0)}")


def ask(what, option, value, show=lambda data: data.hex()):
    buffer = ctypes.create_string_buffer(value, len(value))
    length = ctypes.c_uint(len(value))
    result = LIBC.getsockopt(SOCKET.fileno(), 0, option, buffer, ctypes.byref(length))
    if result:
        print(f"{what}: {name_of(ctypes.get_errno())}")
    else:
        print(f"{what}: {length.value} bytes: {show(buffer.raw[:length.value])}")


def key(address=VIP, port=80, mark=0, protocol=TCP):
    if mark:
        address, port = "0.0.0.0", 0  # what ipvsadm sends
    return struct.pack("=Hxx4sHxxI", protocol, socket.inet_aton(address), socket.htons(port), mark)


def service(scheduler=b"rr", flags=0, timeout=0, mask="255.255.255.255", **words):
    return key(**words) + struct.pack("=16sII4s", scheduler, flags, timeout, socket.inet_aton(mask))


def server(address=VIP, port=8080, flags=0, weight=1, upper=0, lower=0):
    return struct.pack("=4sHxxIiII", socket.inet_aton(address), socket.htons(port), flags, weight,
                       upper, lower)


def daemon(state, interface=b"lo", number=3):
    return struct.pack("=i16si", state, interface, number)


def show_info(data):
    version, size, services = struct.unpack("=III", data)
    return f"{version:#x} {size} {services}"


def show_service(data):
    protocol, address, port, mark, scheduler, flags, timeout, mask, servers = struct.unpack_from(
        "=Hxx4sHxxI16sII4sI", data)
    return (f"{protocol} {socket.inet_ntoa(address)}:{socket.ntohs(port)} mark {mark} "
            f"{scheduler.hex()} flags {flags:#x} timeout {timeout} {socket.inet_ntoa(mask)} "
            f"servers {servers} {data[48:].hex()}")


def show_services(data):
    size = SIZES["service"]
    entries = [data[at:at + size] for at in range(8, len(data), size)]
    return f"{struct.unpack_from('=I', data)[0]}" + "".join(
        sorted(f"\n  {show_service(entry)}" for entry in entries))


def show_servers(data):
    count = struct.unpack_from("=I", data, 16)[0]
    text = f"{data[:16].hex()} {count}"
    size = SIZES["server"]
    for at in range(24, len(data), size):
        address, port, flags, weight, upper, lower, active, inactive, persistent = \
            struct.unpack_from("=4sHxxIiIIIII", data, at)
        text += (f"\n  {socket.inet_ntoa(address)}:{socket.ntohs(port)} flags {flags:#x} weight "
                 f"{weight} {upper}/{lower} {active} {inactive} {persistent} "
                 f"{data[at + 40:at + size].hex()}")
    return text


# sizeof(struct ip_vs_service_entry), sizeof(struct ip_vs_dest_entry)
SIZES = {"service": 104, "server": 96}


def services(count, extra=0):
    return struct.pack("=II", count, 0) + bytes(SIZES["service"] * count + extra)


def servers(count, extra=0, **words):
    return key(**words) + struct.pack("=II", count, 0) + bytes(SIZES["server"] * count + extra)


def one(**words):
    return key(**words) + bytes(SIZES["service"] - 16)


def show_lengths():
    """Every command with lengths around the right one."""
    right = {ADD: 44, EDIT: 44, DELETE: 44, ZERO: 44, ADD_SERVER: 68, DELETE_SERVER: 68,
             EDIT_SERVER: 68, TIMEOUT: 12, START: 24, STOP: 24, FLUSH: 0}
    for option in range(BASE, BASE + 16):
        for length in sorted({0, 1, right.get(option, 0) + 1, right.get(option, 1) - 1}):
            if 0 <= length != right.get(option):
                change(f"set {option} with {length} bytes", option, bytes(length))
    least = {VERSION: 64, INFO: 12, SERVICES: 8, SERVICE: 104, SERVERS: 24, TIMEOUTS: 12,
             DAEMONS: 48}
    for option, length in least.items():
        ask(f"get {option} with {length - 1} bytes", option, bytes(length - 1))
    ask("get of nothing", BASE + 5, bytes(64))


def main():
    ask("version", VERSION, bytes(64))
    ask("info", INFO, bytes(12), show_info)
    ask("info with room", INFO, bytes(20))
    show_lengths()
    change("add", ADD, service())
    change("add again", ADD, service())
    change("add with a mark", ADD, service(mark=7, scheduler=b"wlc", flags=1, timeout=300,
                                           mask="255.255.255.0"))
    change("add UDP, one packet", ADD, service(protocol=UDP, port=53, flags=4, scheduler=b"sh"))
    change("add SCTP", ADD, service(protocol=SCTP, port=99, scheduler=b"none"))
    change("add ICMP", ADD, service(protocol=ICMP))
    change("add, unknown scheduler", ADD, service(port=81, scheduler=b"nothing"))
    change("add, empty scheduler", ADD, service(port=81, scheduler=b""))
    change("add, endless scheduler", ADD, service(port=81, scheduler=b"x" * 16))
    change("edit", EDIT, service(scheduler=b"wrr", flags=1, timeout=60))
    change("edit none", EDIT, service(port=81))
    change("edit, endless scheduler", EDIT, service(scheduler=b"x" * 16))
    change("delete none", DELETE, service(address=OTHER))
    change("add server", ADD_SERVER, service() + server())
    change("add server again", ADD_SERVER, service() + server())
    change("add server, direct", ADD_SERVER, service() + server(OTHER, 80, 3, 5, 10, 2))
    change("add server, tunnel", ADD_SERVER, service(mark=7) + server("127.0.0.3", 0, 2, 0))
    change("add server to none", ADD_SERVER, service(port=81) + server())
    change("add server, negative weight", ADD_SERVER, service() + server(port=1, weight=-1))
    change("add server, thresholds", ADD_SERVER, service() + server(port=1, upper=1, lower=2))
    change("add server, not unicast", ADD_SERVER, service() + server("224.0.0.1"))
    change("edit server", EDIT_SERVER, service() + server(weight=9))
    change("edit server, none", EDIT_SERVER, service() + server(port=1))
    change("delete server, none", DELETE_SERVER, service() + server(port=1))
    ask("info", INFO, bytes(12), show_info)
    ask("service", SERVICE, one(), show_service)
    ask("service with a mark", SERVICE, one(mark=7), show_service)
    ask("service, none", SERVICE, one(port=81))
    ask("services", SERVICES, services(4), show_services)
    ask("services, one too many", SERVICES, services(5), show_services)
    ask("services, wrong length", SERVICES, services(4, extra=1))
    ask("servers", SERVERS, servers(2), show_servers)
    ask("servers, one of two", SERVERS, servers(1), show_servers)
    ask("servers of a mark", SERVERS, servers(1, mark=7), show_servers)
    ask("servers, wrong length", SERVERS, servers(2, extra=4))
    ask("servers of none", SERVERS, servers(1, port=81))
    change("delete server", DELETE_SERVER, service() + server())
    ask("servers", SERVERS, servers(2), show_servers)
    ask("timeouts", TIMEOUTS, bytes(12))
    change("timeouts", TIMEOUT, struct.pack("=iii", 100, 0, 50))
    change("timeouts, negative", TIMEOUT, struct.pack("=iii", -1, 0, 50))
    change("timeouts, too long", TIMEOUT, struct.pack("=iii", 0x7fffffff, 0, 50))
    ask("timeouts", TIMEOUTS, bytes(12))
    change("zero", ZERO, service())
    change("zero all", ZERO, service(address="0.0.0.0", port=0, protocol=0))
    change("zero none", ZERO, service(port=81))
    ask("daemons", DAEMONS, bytes(48))
    change("start", START, daemon(1))
    change("start again", START, daemon(1))
    change("start, no interface", START, daemon(2, b""))
    change("start, endless interface", START, daemon(2, b"x" * 16))
    change("start, unknown interface", START, daemon(2, b"nothere"))
    change("start, unknown role", START, daemon(7))
    ask("daemons", DAEMONS, bytes(48))
    time.sleep(0.2)  # a thread of the kernel that has not run yet cannot be stopped (EINTR)
    change("stop the other", STOP, daemon(2))
    change("stop", STOP, daemon(1))
    change("stop, unknown role", STOP, daemon(7))
    change("delete", DELETE, service())
    change("flush", FLUSH, b"")
    ask("info", INFO, bytes(12), show_info)
    os.setresuid(65534, 65534, 65534)
    ask("info without privileges", INFO, bytes(12))
    change("flush without privileges", FLUSH, b"")


if __name__ == "__main__":
    main()
