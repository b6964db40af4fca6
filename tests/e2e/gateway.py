# SPDX-License-Identifier: Apache-2.0
"""A SNAT gateway between namespaces.

    in1, in2 --int-- director --ext-- router --far-- out

Hosts inside have private addresses that nobody outside has a route to, and the director's kernel
forwards nothing: whatever gets through, Sluice translated.
"""

from lab import BIN, Sluiced

LENGTH = {4: 24, 6: 64}
HOST = {4: 32, 6: 128}
INSIDE = {4: "10.0.0.0/24", 6: "2001:db8:2::/64"}
DIRECTOR_INSIDE = {4: "10.0.0.1", 6: "2001:db8:2::1"}
DIRECTOR = {4: "192.0.2.1", 6: "2001:db8:1::1"}
ROUTER = {4: "192.0.2.254", 6: "2001:db8:1::fe"}
ROUTER_FAR = {4: "198.51.100.1", 6: "2001:db8:3::1"}
OUT = {4: "198.51.100.7", 6: "2001:db8:3::7"}
# Of the pool: on the director's interface. Of static mappings: routed to the director.
POOL = {4: "192.0.2.20", 6: "2001:db8:1::20"}
MAPPED = {4: "203.0.113.9", 6: "2001:db8:9::9"}
ROUTED = {4: "203.0.113.0/28", 6: "2001:db8:9::/64"}


def inside_address(number, family):
    return f"10.0.0.{10 + number}" if family == 4 else f"2001:db8:2::{10 + number}"


class Gateway:
    def __init__(self, lab, hosts=2, fast=True):
        self.lab = lab
        inner, outer, far = (lab.bridge(name) for name in ("int", "ext", "far"))
        self.director = lab.node("director")
        lab.connect(self.director, "eth0", outer)
        lab.connect(self.director, "eth1", inner)
        self.router = lab.node("router")
        lab.connect(self.router, "eth0", outer)
        lab.connect(self.router, "eth1", far)
        self.out = lab.node("out")
        lab.connect(self.out, "eth0", far)
        self.hosts = [lab.node(f"in{number}") for number in range(1, hosts + 1)]
        for host in self.hosts:
            lab.connect(host, "eth0", inner)
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.router.sysctl("net.ipv6.conf.all.forwarding", 1)
        # Each error is wanted, however fast they come.
        self.router.sysctl("net.ipv4.icmp_ratelimit", 0)
        self.router.sysctl("net.ipv6.icmp.ratelimit", 0)
        for family in (4, 6):
            self.set_addresses(family)
        if fast:
            for port in self.director.ports:
                lab.switch.run("ethtool", "-K", port, "gro", "on")
            for node in (self.director, self.router, self.out, *self.hosts):
                for interface in node.interfaces:
                    node.run("ethtool", "-K", interface, "tx", "off")
        self.start("--fast-path", "on" if fast else "off")

    def set_addresses(self, family):
        length = LENGTH[family]
        self.director.address("eth0", f"{DIRECTOR[family]}/{length}",
                              f"{POOL[family]}/{HOST[family]}")
        self.director.address("eth1", f"{DIRECTOR_INSIDE[family]}/{length}")
        self.director.route("default", "via", ROUTER[family])
        self.router.address("eth0", f"{ROUTER[family]}/{length}")
        self.router.address("eth1", f"{ROUTER_FAR[family]}/{length}")
        self.router.route(ROUTED[family], "via", DIRECTOR[family])
        self.out.address("eth0", f"{OUT[family]}/{length}")
        self.out.route("default", "via", ROUTER_FAR[family])
        for number, host in enumerate(self.hosts, 1):
            host.address("eth0", f"{inside_address(number, family)}/{length}")
            host.route("default", "via", DIRECTOR_INSIDE[family])

    def start(self, *arguments):
        self.sluiced = Sluiced(self.director, *arguments)

    def snat(self, words, **options):
        return self.director.run(BIN / "sluice", "snat", *words.split(), **options)

    def add_pools(self, options=""):
        for family in (4, 6):
            self.snat(f"add pool{family} --inside {INSIDE[family]} --pool {POOL[family]} {options}")

    def status(self, name):
        """A counter of `sluice status --all`."""
        for line in self.director.run(BIN / "sluice", "status", "--all").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == name:
                return int(words[1])
        return 0

    def serve_out(self, port=80):
        self.lab.serve(self.out, port=port)
