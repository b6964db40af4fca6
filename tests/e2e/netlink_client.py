#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uses generic-netlink sockets in the ways that programs do, and prints what it saw, a JSON object.
Run with the preload library, in a namespace with `sluiced`."""

import errno
import fcntl
import json
import os
import select
import socket
import struct
import sys

GENERIC, ROUTE = 16, 0
CONTROLLER, GET_FAMILY, NEW_FAMILY = 16, 3, 1
REQUEST, ACK, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3
GET_SERVICE, GET_INFO, FLUSH = 4, 15, 17
EVERYTHING = 65536


def generic():
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)


def message(kind, command, flags=REQUEST | ACK, attributes=b"", sequence=7, sender=0):
    body = struct.pack("=BBxx", command, 1) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, sender) + body


def look_up(name):
    text = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(text), 2) + text
    return message(CONTROLLER, GET_FAMILY, attributes=attribute + bytes(-len(attribute) % 4))


def messages(data):
    while data:
        length, kind, flags, sequence, sender = struct.unpack_from("=IHHII", data)
        yield {"kind": kind, "sequence": sequence, "sender": sender, "body": data[16:length]}
        data = data[(length + 3) & ~3:]


def answer(link):
    """The messages up to the end of the answer, and the error that it ended with."""
    seen = []
    while True:
        for one in messages(link.recv(EVERYTHING)):
            if one["kind"] in (ERROR, DONE):
                return seen, -struct.unpack_from("=i", one["body"])[0]
            seen.append(one)


def family_of(link, name="IPVS"):
    link.send(look_up(name))
    seen, error = answer(link)
    if error:
        return errno.errorcode[error]
    attributes = seen[0]["body"][4:]
    while attributes:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == 1:
            return struct.unpack_from("=H", attributes, 4)[0]
        attributes = attributes[(length + 3) & ~3:]
    return None


def ways_to_talk():
    """send, sendto, sendmsg and write; recv, recvfrom, recvmsg and read."""
    link = generic()
    family = family_of(link)
    request = message(family, GET_INFO)
    kinds = []
    for send in (lambda: link.send(request), lambda: link.sendto(request, (0, 0)),
                 lambda: link.sendmsg([request[:16], request[16:]], [], 0, (0, 0)),
                 lambda: os.write(link.fileno(), request)):
        assert send() == len(request)
        kinds.append([one["kind"] == family for one in answer(link)[0]])
    link.send(request)
    data, sender = link.recvfrom(EVERYTHING)
    rest, _, flags, other = link.recvmsg(EVERYTHING)
    link.send(request)
    return {"kinds": kinds, "sender": [sender, other], "flags": int(flags),
            "read": [len(os.read(link.fileno(), EVERYTHING)) == len(data),
                     len(os.read(link.fileno(), EVERYTHING)) == len(rest)]}


def peek():
    """libnl looks how long the next datagram is, then takes it."""
    link = generic()
    link.send(look_up("IPVS"))
    lengths = [len(link.recv(EVERYTHING, socket.MSG_PEEK)), link.recv_into(
        bytearray(10), 10, socket.MSG_PEEK | socket.MSG_TRUNC), len(link.recv(EVERYTHING))]
    return {"same": len(set(lengths)) == 1, "then": len(link.recv(EVERYTHING)) == 36}


def names():
    link = generic()
    link.bind((0, 0))
    before = link.getsockname()
    family_of(link)
    return {"kept": before == link.getsockname() and before[0] != 0, "peer": link.getpeername(),
            "kind": [link.getsockopt(socket.SOL_SOCKET, option) for option in
                     (socket.SO_DOMAIN, socket.SO_TYPE, socket.SO_PROTOCOL)]}


def copies():
    """dup() before and after the first message, and a child."""
    link = generic()
    early = socket.socket(fileno=os.dup(link.fileno()))
    family = family_of(link)
    late = socket.socket(fileno=fcntl.fcntl(link.fileno(), fcntl.F_DUPFD_CLOEXEC, 100))
    seen = []
    for one in (early, late):
        one.send(message(family, FLUSH))
        seen.append(answer(one)[1])
    link.close()
    child = os.fork()
    if child == 0:
        early.send(message(family, FLUSH))
        os._exit(answer(early)[1])
    return {"errors": seen, "child": os.waitpid(child, 0)[1], "number": late.fileno() >= 100}


def waiting():
    link = generic()
    link.setblocking(False)
    link.send(look_up("IPVS"))
    select.select([link], [], [])
    link.recv(EVERYTHING)
    select.select([link], [], [])
    link.recv(EVERYTHING)
    try:
        return link.recv(EVERYTHING)
    except BlockingIOError:
        return "would block"


def polling():
    """Waited for before the first message is sent."""
    link, poll = generic(), select.epoll()
    poll.register(link, select.EPOLLIN)
    before = poll.poll(0)
    link.send(look_up("IPVS"))
    after = poll.poll(10)
    answer(link)
    return {"before": before, "after": after == [(link.fileno(), select.EPOLLIN)],
            "then": poll.poll(0)}


def others():
    """Other families, other netlink, and numbers of closed descriptors stay the kernel's."""
    link = generic()
    controller = family_of(link, "nlctrl")
    after = family_of(link)
    missing = family_of(generic(), "NO_SUCH_FAMILY")
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, ROUTE)
    route.send(struct.pack("=IHHIIBxxx", 20, 18, REQUEST | DUMP, 1, 0, 0))  # RTM_GETLINK
    links = sum(one["kind"] == 16 for one in answer(route)[0])
    link = generic()
    family_of(link)
    number = link.fileno()
    os.closerange(number, number + 1)
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    pair[0].send(b"x")
    return {"controller": controller, "after": after, "missing": missing, "links": links > 0,
            "reused": number in (pair[0].fileno(), pair[1].fileno()),
            "received": pair[1].recv(10).decode(), "name": pair[0].getsockname()}


def long_list():
    """A dump of more datagrams than one."""
    link = generic()
    family = family_of(link)
    link.send(message(family, GET_SERVICE, REQUEST | ACK | DUMP))
    seen, error = answer(link)
    return {"services": len(seen), "error": error}


def lasting():
    """Asks whenever a line is read: the director may be another by then."""
    link = generic()
    family = family_of(link)
    print(json.dumps(family), flush=True)
    for _ in sys.stdin:
        link.send(message(family, GET_SERVICE, REQUEST | ACK | DUMP))
        seen, error = answer(link)
        print(json.dumps({"services": len(seen), "error": errno.errorcode.get(error, 0)}),
              flush=True)


if __name__ == "__main__":
    what = globals()[sys.argv[1]]()
    if what is not None:
        print(json.dumps(what))
