#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real HTTP through the director: requests a second over connections that stay, and connections a
second with one request each; Sluice NAT beside the host's routes, nftables DNAT, haproxy (mode tcp)
and nginx (stream), each in the same row of namespaces.

wrk asks, nginx with one worker answers, and all share the machine's processors: a rate tells what
the whole way costs. Rounds of all alternate. Needs root and the packages haproxy, nginx,
libnginx-mod-stream and wrk.
"""

import argparse
import pathlib
import re
import sys

import common
import topology
from topology import (INSIDE, SERVERS, VIP, Failure, Row, Sluiced, bracketed, ratios,
                      server_address, spread, wait_until)

PORT = 80


class Way:
    """A row with a web server at its end; the subclass says what the director does."""

    label = ""

    def __init__(self, lab, family):
        self.family = family
        self.folder = lab.directory / self.__class__.__name__.lower()
        self.folder.mkdir()
        self.row = Row(lab, self.__class__.__name__.lower())
        self.row.server.route(topology.OUTSIDE[family], "via", INSIDE[family])
        self.serve()
        self.set_up(self.row.director)

    def address(self):
        return VIP[self.family]

    def servers(self):
        return [server_address(number, self.family) for number in range(1, SERVERS + 1)]

    def set_up(self, director):
        pass

    def nginx(self, node, name, text):
        path = self.folder / f"{name}.conf"
        path.write_text(f"worker_processes 1;\nworker_rlimit_nofile 65536;\ndaemon off;\n"
                        f"pid {self.folder}/{name}.pid;\nerror_log {self.folder}/{name}.log;\n"
                        f"{text}")
        node.start("nginx", "-e", self.folder / f"{name}.log", "-c", path)

    def serve(self):
        self.nginx(self.row.server, "server",
                   "events { worker_connections 16384; }\n"
                   "http { access_log off; keepalive_requests 1000000000;\n"
                   f"client_body_temp_path {self.folder}; proxy_temp_path {self.folder};\n"
                   f"fastcgi_temp_path {self.folder}; uwsgi_temp_path {self.folder};\n"
                   f"scgi_temp_path {self.folder};\n"
                   f"server {{ listen {PORT} backlog=16384; listen [::]:{PORT} backlog=16384;\n"
                   "return 200 \"ok\\n\"; } }\n")

    def wait(self):
        wait_until(lambda: self.row.client.attempt(
            "curl", "-sg", "--max-time", 1, f"http://{bracketed(self.address())}/").stdout == "ok\n",
            f"{self.label} answers")

    def run(self, seconds, connections, closing):
        words = ["-H", "Connection: close"] if closing else []
        out = self.row.client.run("wrk", "-t", 1, "-c", connections, "-d", f"{seconds}s", *words,
                                  f"http://{bracketed(self.address())}/")
        found = re.search(r"Requests/sec:\s*([\d.]+)", out)
        if not found or float(found.group(1)) == 0:
            raise Failure(f"{self.label}: nothing was answered\n{out}")
        # Each closed connection may count as a read error (wrk), not as a lost one.
        refused = re.search(r"connect (\d+)", out)
        if refused and int(refused.group(1)):
            print(f"({self.label}: {refused.group(1)} connections failed)", file=sys.stderr)
        return float(found.group(1))


class Direct(Way):
    label = "ip_forward"

    def address(self):
        return server_address(1, self.family)


class Nft(Way):
    label = "nftables DNAT"

    def set_up(self, director):
        family = "ip" if self.family == 4 else "ip6"
        servers = ", ".join(f"{number} : {address}"
                            for number, address in enumerate(self.servers()))
        director.run("nft", "-f", "-", input=(
            f"table {family} balance {{\nchain requests {{\n"
            "type nat hook prerouting priority dstnat; policy accept;\n"
            f"{family} daddr {VIP[self.family]} tcp dport {PORT} "
            f"dnat to numgen inc mod {SERVERS} map {{ {servers} }}\n}}\n}}\n"))


class SluiceWay(Way):
    label = "Sluice NAT"

    def set_up(self, director):
        daemon = Sluiced(director)
        virtual = f"{bracketed(VIP[self.family])}:{PORT}"
        daemon.ipvsadm(f"-A -t {virtual} -s rr")
        for address in self.servers():
            daemon.ipvsadm(f"-a -t {virtual} -r {bracketed(address)}:{PORT} -m")


class Haproxy(Way):
    label = "haproxy, tcp"

    def set_up(self, director):
        path = self.folder / "haproxy.cfg"
        servers = "".join(f"  server s{number} {address}:{PORT}\n"
                          for number, address in enumerate(self.servers()))
        path.write_text("global\n  nbthread 1\n  maxconn 4000\n"
                        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n"
                        "  timeout server 60s\n"
                        f"listen all\n  bind {VIP[self.family]}:{PORT}\n  balance roundrobin\n"
                        + servers)
        director.start("haproxy", "-db", "-f", path)


class Nginx(Way):
    label = "nginx, stream"

    def set_up(self, director):
        servers = "".join(f"server {bracketed(address)}:{PORT};\n" for address in self.servers())
        module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        self.nginx(director, "stream",
                   f"load_module {module};\nevents {{ worker_connections 32768; }}\n"
                   f"stream {{ upstream all {{ {servers} }}\n"
                   f"server {{ listen {bracketed(VIP[self.family])}:{PORT} backlog=16384;\n"
                   "proxy_pass all; } }\n")


WAYS = [Direct, Nft, SluiceWay, Haproxy, Nginx]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=1, help="a run")
    parser.add_argument("--connections", type=int, default=64, help="at a time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--family", type=int, choices=[4, 6], default=4)
    arguments = parser.parse_args()
    common.prepare("sluiced", "sluice", "ipvsadm")
    with common.lab("proxies") as lab:
        ways = [kind(lab, arguments.family) for kind in WAYS]
        for way in ways:
            way.wait()
        for closing in (False, True):
            rates = {way.label: [] for way in ways}
            for _ in range(arguments.rounds):
                for way in ways:
                    rates[way.label].append(
                        way.run(arguments.seconds, arguments.connections, closing))
            base = rates[Haproxy.label]
            print("One request a connection:\n" if closing else "Requests of connections that stay:\n")
            topology.table(["", "1,000 a second", "times haproxy"],
                           [[label, spread([value / 1000 for value in values], 1),
                             spread(ratios(values, base))] for label, values in rates.items()])


if __name__ == "__main__":
    main()
