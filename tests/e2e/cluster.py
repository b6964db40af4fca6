# SPDX-License-Identifier: Apache-2.0
"""The usual cluster: one client, one director, three real servers.

    one arm                          two arms (NAT)
    client   director   rs1..rs3     client --ext-- director --int-- rs1..rs3
      +---------+----------+

The virtual address is on the clients' link, so clients ask for it by ARP or ND.
"""

from lab import BIN, Sluiced

CLIENT = {4: "198.51.100.7", 6: "2001:db8:1::7"}
DIRECTOR = {4: "198.51.100.1", 6: "2001:db8:1::1"}
VIP = {4: "198.51.100.10", 6: "2001:db8:1::10"}
CLIENTS = {4: "198.51.100.0/24", 6: "2001:db8:1::/64"}
INSIDE = {4: "10.0.0.1", 6: "2001:db8:2::1"}
LENGTH = {4: 24, 6: 64}
HOST = {4: 32, 6: 128}
FLAG = {"nat": "-m", "dr": "-g", "tun": "-i"}


def server_address(number, family):
    return f"10.0.0.{10 + number}" if family == 4 else f"2001:db8:2::{10 + number}"


def bracketed(address):
    return f"[{address}]" if ":" in address else address


class Cluster:
    def __init__(self, lab, method="nat", arms=1, servers=3, offload=True, decap_mode="auto",
                 fast=False):
        self.lab, self.method = lab, method
        outer = lab.bridge("ext")
        inner = lab.bridge("int") if arms == 2 else outer
        self.client = lab.node("client")
        self.director = lab.node("director")
        lab.connect(self.client, "eth0", outer)
        lab.connect(self.director, "eth0", outer)
        inside = "eth0"
        if arms == 2:
            inside = "eth1"
            lab.connect(self.director, inside, inner)
        self.director.sysctl("net.ipv4.ip_forward", 1)
        self.director.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.director.sysctl("net.ipv4.conf.all.send_redirects", 0)
        self.director.sysctl("net.ipv4.conf.eth0.send_redirects", 0)
        self.servers = [lab.node(f"rs{number + 1}") for number in range(servers)]
        for family in (4, 6):
            self.client.address("eth0", f"{CLIENT[family]}/{LENGTH[family]}")
            self.client.route("default", "via", DIRECTOR[family])
            self.director.address("eth0", f"{DIRECTOR[family]}/{LENGTH[family]}",
                                  f"{VIP[family]}/{HOST[family]}")
            self.director.address(inside, f"{INSIDE[family]}/{LENGTH[family]}")
        for number, server in enumerate(self.servers, 1):
            self.set_up_server(server, number, inner, decap_mode)
        if fast:
            # XDP sends to a cable whose other end does receive offload; and only packets with
            # finished checksums.
            offload = False
            for port in self.director.ports:
                lab.switch.run("ethtool", "-K", port, "gro", "on")
        if not offload:
            for node in (self.client, self.director, *self.servers):
                for interface in node.interfaces:
                    node.run("ethtool", "-K", interface, "tx", "off")

    def set_up_server(self, server, number, bridge, decap_mode):
        self.lab.connect(server, "eth0", bridge)
        # With one arm, the director's host tells a server of the short way to the client as soon
        # as it routes one packet of it (of a connection that is gone); answers would bypass NAT.
        server.sysctl("net.ipv4.conf.all.accept_redirects", 0)
        server.sysctl("net.ipv4.conf.eth0.accept_redirects", 0)
        server.sysctl("net.ipv6.conf.eth0.accept_redirects", 0)
        if self.method != "nat":
            # The virtual address is here too, but only the director says so on the link.
            for name in ("all", "eth0"):
                server.sysctl(f"net.ipv4.conf.{name}.arp_ignore", 1)
                server.sysctl(f"net.ipv4.conf.{name}.arp_announce", 2)
        for family in (4, 6):
            server.address("eth0", f"{server_address(number, family)}/{LENGTH[family]}")
            if self.method == "nat":
                server.route("default", "via", INSIDE[family])
            else:
                server.address("lo", f"{VIP[family]}/{HOST[family]}")
                server.route(CLIENTS[family], "dev", "eth0")
        if self.method == "tun":
            server.run(BIN / "sluice", "realserver", "decap", "--interface", "eth0",
                       "--xdp-mode", decap_mode)
        self.lab.serve(server)

    def start(self, *arguments, **options):
        self.sluiced = Sluiced(self.director, *arguments, **options)
        return self.sluiced

    def add_service(self, family, port=80, protocol="-t", scheduler="rr", weights=None, flags=""):
        virtual = f"{bracketed(VIP[family])}:{port}"
        self.sluiced.ipvsadm(f"-A {protocol} {virtual} -s {scheduler} {flags}")
        weights = weights or [1] * len(self.servers)
        for number, weight in enumerate(weights, 1):
            real = f"{bracketed(server_address(number, family))}:{port}"
            self.sluiced.ipvsadm(f"-a {protocol} {virtual} -r {real} {FLAG[self.method]} "
                                 f"-w {weight}")
        return virtual
