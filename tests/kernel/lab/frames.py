# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames built and read byte by byte, for the labs around a real kernel.

Plain and slow on purpose: this is the other side's view of a packet, with no code shared with
the engine. Addresses are text; what is built has right checksums unless asked otherwise.
"""

import ipaddress
import struct

TCP, UDP, SCTP, ICMP4, ICMP6, IPIP, IP6, GRE, ESP, AH, FRAGMENT = (
    6, 17, 132, 1, 58, 4, 41, 47, 50, 51, 44)
TCP_FLAGS = "FSRPAUEC"
CHUNKS = {"DATA": 0, "INIT": 1, "INIT_ACK": 2, "SACK": 3, "HEARTBEAT": 4, "HEARTBEAT_ACK": 5,
          "ABORT": 6, "SHUTDOWN": 7, "SHUTDOWN_ACK": 8, "ERROR": 9, "COOKIE_ECHO": 10,
          "COOKIE_ACK": 11, "ECNE": 12, "CWR": 13, "SHUTDOWN_COMPLETE": 14}
CHUNK_SIZES = {0: 20, 1: 20, 2: 20, 3: 16, 4: 8, 5: 8, 7: 8, 10: 8, 12: 8, 13: 8}


def packed(address):
    return ipaddress.ip_address(address).packed


def is_v6(address):
    return ":" in address


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def checksum(data):
    return ~ones_sum(data) & 0xffff


def crc32c(data):
    """CRC-32C as SCTP wants it (RFC 9260, appendix A)."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xffffffff)


def pseudo(src, dst, proto, length):
    if is_v6(src):
        return packed(src) + packed(dst) + struct.pack("!II", length, proto)
    return packed(src) + packed(dst) + struct.pack("!BBH", 0, proto, length)


def tcp(src, sport, dst, dport, flags="S", seq=1000, ack=0, payload=b"", options=b"", window=64240):
    bits = sum(1 << TCP_FLAGS.index(letter) for letter in flags)
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, (20 + len(options)) // 4 << 4, bits,
                       window, 0, 0)
    data = head + options + payload
    total = checksum(pseudo(src, dst, TCP, len(data)) + data)
    return data[:16] + struct.pack("!H", total) + data[18:]


def udp(src, sport, dst, dport, payload=b"hello", no_checksum=False):
    data = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    if no_checksum:
        return data
    total = checksum(pseudo(src, dst, UDP, len(data)) + data) or 0xffff
    return data[:6] + struct.pack("!H", total) + data[8:]


def sctp(sport, dport, chunks, tag=1):
    data = struct.pack("!HHII", sport, dport, tag, 0)
    for name in chunks:
        kind = CHUNKS[name]
        size = CHUNK_SIZES.get(kind, 4)
        data += struct.pack("!BBH", kind, 3 if kind == 0 else 0, size) + bytes(size - 4)
    return data[:8] + crc32c(data) + data[12:]


def icmp(src, dst, kind, code, rest, payload):
    """ICMP of the addresses' family; `rest` is the second word of its header."""
    data = struct.pack("!BBHI", kind, code, 0, rest) + payload
    prefix = pseudo(src, dst, ICMP6, len(data)) if is_v6(src) else b""
    return data[:2] + struct.pack("!H", checksum(prefix + data)) + data[4:]


def ip(src, dst, proto, payload, ttl=63, ident=1, df=True, tos=0, options=b"", frag=0, more=False,
       flow=0):
    if is_v6(src):
        return struct.pack("!IHBB", 0x60000000 | tos << 20 | flow, len(payload), proto,
                           ttl) + packed(src) + packed(dst) + payload
    head = struct.pack("!BBHHHBBH", 0x40 | (20 + len(options)) // 4, tos,
                       20 + len(options) + len(payload), ident,
                       (0x4000 if df else 0) | (0x2000 if more else 0) | frag // 8, ttl, proto,
                       0) + packed(src) + packed(dst) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def fragments(src, dst, proto, payload, sizes, ident=77, ttl=63):
    """The packet cut into pieces of these sizes (multiples of 8) and a last one."""
    pieces, at = [], 0
    for size in [*sizes, len(payload)]:
        piece = payload[at:at + size]
        if not piece:
            break
        more = at + len(piece) < len(payload)
        if is_v6(src):
            head = struct.pack("!BBHI", proto, 0, at | more, ident)
            pieces.append(ip(src, dst, FRAGMENT, head + piece, ttl))
        else:
            pieces.append(ip(src, dst, proto, piece, ttl, ident, df=False, frag=at, more=more))
        at += len(piece)
    return pieces


def ethernet(dst_mac, src_mac, packet):
    kind = b"\x86\xdd" if packet[:1] and packet[0] >> 4 == 6 else b"\x08\x00"
    return mac_bytes(dst_mac) + mac_bytes(src_mac) + kind + packet


class View:
    """What can be read of an IP packet; `ports` is None where there are none."""

    def __init__(self, packet):
        self.packet = packet
        self.ports = None
        self.fragment = False
        self.proto = None
        self.ok = False
        version = packet[0] >> 4 if packet else 0
        if version == 4 and len(packet) >= 20:
            self._read4()
        elif version == 6 and len(packet) >= 40:
            self._read6()
        if self.ok and self.proto in (TCP, UDP, SCTP) and not self.later and len(self.payload) >= 4:
            self.ports = struct.unpack("!HH", self.payload[:4])

    def _read4(self):
        packet = self.packet
        size = (packet[0] & 15) * 4
        offset = struct.unpack("!H", packet[6:8])[0]
        self.fragment = offset & 0x3fff != 0
        self.later = offset & 0x1fff != 0
        self.src = str(ipaddress.IPv4Address(packet[12:16]))
        self.dst = str(ipaddress.IPv4Address(packet[16:20]))
        self.proto, self.ttl = packet[9], packet[8]
        self.payload = packet[size:]
        self.ok = size >= 20

    def _read6(self):
        packet = self.packet
        self.src = str(ipaddress.IPv6Address(packet[8:24]))
        self.dst = str(ipaddress.IPv6Address(packet[24:40]))
        self.proto, self.ttl, at = packet[6], packet[7], 40
        self.later = False
        while self.proto in (0, 43, 60, FRAGMENT) and len(packet) >= at + 8:
            if self.proto == FRAGMENT:
                offset = struct.unpack("!H", packet[at + 2:at + 4])[0]
                self.fragment, self.later = True, offset & 0xfff8 != 0
                size = 8
            else:
                size = 8 + packet[at + 1] * 8
            self.proto, at = packet[at], at + size
        self.payload = packet[at:]
        self.ok = True

    def tunnelled(self):
        """The packet inside of IPIP, GRE or GUE (UDP port 6080), or None."""
        data = self.payload
        if self.proto in (IPIP, IP6):
            return View(data)
        if self.proto == GRE and len(data) >= 4:
            return View(data[8 if data[0] & 0x80 else 4:])
        if self.proto == UDP and self.ports and self.ports[1] == 6080 and len(data) >= 12:
            return View(data[8 + 4 + (data[8] & 31) * 4:])
        return None


def view(frame):
    return View(frame[14:])
