# SPDX-License-Identifier: Apache-2.0
"""`sluice realserver decap` alone: frames made by scapy in, a datagram at the socket out."""

import json
import re

import pytest
from lab import BIN, wait_until

OUTER = {4: ("203.0.113.1", "10.0.0.2"), 6: ("2001:db8:9::1", "2001:db8:2::2")}
INNER = {4: ("198.51.100.7", "192.0.2.10"), 6: ("2001:db8:1::7", "2001:db8:3::10")}

# Sends each layered packet of its standard input's expressions out of an interface.
SENDER = """
import sys
from scapy.all import *
source, destination = sys.argv[1:]
for line in sys.stdin:
    sendp(Ether(src=source, dst=destination) / eval(line), iface="eth0", verbose=False)
"""

RECEIVER = """
import socket, sys
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", 5555))
print("ready", flush=True)
while True:
    print(udp.recv(2000).decode(), flush=True)
"""


def ip(addresses, **fields):
    source, destination = addresses
    family = "IPv6" if ":" in source else "IP"
    more = "".join(f", {name}={value}" for name, value in fields.items())
    return f"{family}(src='{source}', dst='{destination}'{more})"


def inner(family, text):
    return f"{ip(INNER[family])}/UDP(sport=1000, dport=5555)/Raw(b'{text}')"


class Pair:
    """A sender and a real server with the virtual addresses on lo."""

    def __init__(self, lab):
        self.lab = lab
        bridge = lab.bridge("ext")
        self.sender, self.server = lab.node("sender"), lab.node("rs")
        for node in (self.sender, self.server):
            lab.connect(node, "eth0", bridge)
        self.server.address("eth0", f"{OUTER[4][1]}/24", f"{OUTER[6][1]}/64")
        self.server.address("lo", f"{INNER[4][1]}/32", f"{INNER[6][1]}/128")
        self.server.route("default", "dev", "eth0")
        self.server.route("2001:db8::/32", "dev", "eth0")
        self.output = lab.directory / "received"
        with self.output.open("wb") as output:
            self.server.start("python3", "-c", RECEIVER, stdout=output)
        wait_until(lambda: "ready" in self.output.read_text(), "the receiver listens")

    def decap(self, *words):
        return self.server.run(BIN / "sluice", "realserver", "decap", "--interface", "eth0",
                               *words)

    def send(self, *packets):
        self.sender.run("/usr/bin/python3", "-c", SENDER, self.sender.mac("eth0"),
                        self.server.mac("eth0"), input="\n".join(packets) + "\n")

    def received(self):
        return self.output.read_text().split()[1:]

    def expect(self, *texts):
        wait_until(lambda: len(self.received()) >= len(texts), f"{texts} arrive; "
                   "got less")
        assert self.received() == list(texts)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_every_tunnel_is_stripped(lab, mode):
    pair = Pair(lab)
    assert mode in pair.decap("--xdp-mode", mode, "--gue-port", 6080)
    number = {4: 4, 6: 41}
    ether_type = {4: 0x0800, 6: 0x86DD}
    packets, texts = [], []

    def case(text, outer, layers, family):
        packets.append(f"{outer}/{layers}{inner(family, text)}")
        texts.append(text)

    for out in (4, 6):
        field = "proto" if out == 4 else "nh"
        for within in (4, 6):
            name = f"{within}in{out}"
            case(f"ipip-{name}", ip(OUTER[out], **{field: number[within]}), "", within)
            for flags in ("", ", chksum_present=1", ", key_present=1, key=9, seqnum_present=1"):
                case(f"gre-{name}-{len(flags)}", ip(OUTER[out], **{field: 47}),
                     f"GRE(proto={ether_type[within]}{flags})/", within)
            gue = bytes([0, number[within], 0, 0])
            case(f"gue-{name}", ip(OUTER[out]), f"UDP(sport=7, dport=6080)/Raw({gue})/", within)
    case("ip-options", ip(OUTER[4], proto=4, options="[IPOption_NOP()]*4"), "", 4)
    case("tunnel-limit", ip(OUTER[6]), "IPv6ExtHdrDestOpt(nh=41, options=[PadN(optdata=b'1234')])/",
         6)
    pair.send(*packets)
    pair.expect(*texts)


def test_what_is_no_tunnel_for_us_is_left_alone(lab):
    pair = Pair(lab)
    # As a router the server must not open what it only passes on.
    pair.server.sysctl("net.ipv4.ip_forward", 1)
    pair.decap("--gue-port", 6080)
    elsewhere = ("203.0.113.1", "10.0.0.77")
    pair.send(
        f"{ip(elsewhere, proto=4)}/{inner(4, 'elsewhere')}",
        f"{ip(OUTER[4], proto=4, flags=1)}/{inner(4, 'fragment')}",
        f"{ip(OUTER[4], proto=4)}/{inner(6, 'wrong-version')}",
        f"{ip(OUTER[4], proto=47)}/GRE(proto=0x6558)/{inner(4, 'bridged')}",
        f"{ip(OUTER[4])}/UDP(dport=6080)/Raw(bytes([4, 4, 0, 0]))/{inner(4, 'gue-extended')}",
        f"{ip(OUTER[4])}/UDP(dport=6081)/Raw(bytes([0, 4, 0, 0]))/{inner(4, 'other-port')}",
        f"{ip(OUTER[4], proto=4)}/Raw(b'E')",
        f"{ip(OUTER[4], proto=47)}/Raw(b'12')",
        f"{ip(OUTER[6], nh=60)}/Raw(b'1')",
        f"{ip(OUTER[4], proto=4)}/{inner(4, 'last')}",
    )
    pair.expect("last")


def test_it_stays_until_detached(lab):
    pair = Pair(lab)
    server = pair.server
    pair.decap()
    assert server.has_xdp("eth0")
    pair.decap("--xdp-mode", "generic")  # again, otherwise: replaced
    assert "xdpgeneric" in server.run("ip", "link", "show", "eth0")
    pair.decap("--detach")
    assert not server.has_xdp("eth0")
    done = server.attempt(BIN / "sluice", "realserver", "decap", "--interface", "eth0",
                          "--detach")
    assert done.returncode == 1
    assert "no program that strips tunnels" in done.stderr


def test_somebody_elses_program_is_left_alone(lab):
    """What is attached is the daemon's program here; it could be anybody's."""
    pair = Pair(lab)
    from lab import Sluiced
    Sluiced(pair.server)
    attached = json.loads(pair.server.run("ip", "-j", "-d", "link", "show", "eth0"))[0]["xdp"]
    done = pair.server.attempt(BIN / "sluice", "realserver", "decap", "--interface", "eth0")
    assert done.returncode == 1
    assert "another XDP program" in done.stderr
    done = pair.server.attempt(BIN / "sluice", "realserver", "decap", "--interface", "eth0",
                               "--detach")
    assert done.returncode == 1
    after = json.loads(pair.server.run("ip", "-j", "-d", "link", "show", "eth0"))[0]["xdp"]
    assert after == attached
    assert re.search(r"\d", json.dumps(after))
