#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A flood of TCP SYNs from random addresses beside established flows, real clients and an
administrator.

First the rate and the loss of established flows, at the generator's full speed, with growing shares
of SYNs among the packets. Then, at fixed rates of SYNs and at full speed, what real clients and
commands notice: connections one after the other (each says a line and gets it back), `ipvsadm -Ln`
and `sluice status`.

The generator has a processor of its own, on which the frames are received and forwarded as well; the
daemon, the clients and the server have the next. The server's side drops the SYNs and counts them.
Every measurement begins after a second of the same flood. Tables of connections have the sizes that
they have if nobody says anything. Needs root.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time

import common
import topology
from topology import BIN, INSIDE, VIP, Nftables, SluiceDr, SluiceNat, bracketed, spread, wait_until

DIRECTOR_CPU = 1
# Where the server and the clients run: what else the machine does must not decide.
BESIDE = ["taskset", "-c", str(DIRECTOR_CPU), "nice", "-n", "-20"]
CLIENT = {4: "203.0.113.254", 6: "2001:db8:3::fe"}
NETWORK = {4: "203.0.113.0/24", 6: "2001:db8:3::/64"}
DIRECTOR = {4: "203.0.113.1", 6: "2001:db8:3::1"}
MOST_SECONDS = 120  # of a flood with clients
LIMIT_SECONDS = 8  # of a client's connection: SYNs go again after 1, 3 and 7 s


class Flooded:
    """Made of a subject: it balances TCP as well, and a real server answers."""

    is_sluice = False

    def set_up(self):
        """Clients have a cable of their own: whoever sends first by a veth has all that is received
        there handled on its processor, which must stay that of the flood."""
        client, director, server = self.row.nodes
        self.row.cable(client, "c1", director, "d2")
        length = topology.LENGTH[self.family]
        client.address("c1", f"{CLIENT[self.family]}/{length}")
        director.address("d2", f"{DIRECTOR[self.family]}/{length}")
        self.row.neighbour(director, CLIENT[self.family], "d2", client.mac("c1"))
        self.row.neighbour(client, DIRECTOR[self.family], "c1", director.mac("d2"))
        client.route(f"{VIP[self.family]}/{topology.HOST[self.family]}", "via",
                     DIRECTOR[self.family], "src", CLIENT[self.family])
        server.route(NETWORK[self.family], "via", INSIDE[self.family])
        server.address("lo", f"{VIP[self.family]}/{topology.HOST[self.family]}")
        # What a server sends to clients from the virtual address, with direct routing, comes by here.
        director.sysctl("net.ipv4.conf.d1.accept_local", 1)
        super().set_up()

    def open(self):
        client, _, server = self.row.nodes
        server.start(*BESIDE, sys.executable, topology.HERE / "connects.py", "serve",
                     topology.PORT)
        wait_until(lambda: f":{topology.PORT} " in server.run("ss", "-tlnH"), "it listens")
        self.client = client

    def prepare(self):
        """All flows are established; nothing is left of a flood before."""
        raise NotImplementedError

    def flood(self, packets, share, seconds=0, rate=0):
        return self.traffic.run(packets, flows=self.flows, flood=share, seconds=seconds, rate=rate)

    def ask(self, count, seconds):
        done = self.client.run(*BESIDE, sys.executable, topology.HERE / "connects.py", "ask",
                               VIP[self.family], topology.PORT, count, LIMIT_SECONDS, seconds,
                               timeout=seconds + 60)
        return json.loads(done)

    def commands(self):
        return []


class FloodedBare(topology.BareRedirect):
    flood = Flooded.flood

    def open(self):
        pass

    def prepare(self):
        pass


class FloodedNftables(Flooded, Nftables):
    def add_rules(self):
        super().add_rules()
        name, number = ("ip", 0) if self.family == 4 else ("ip6", 0)
        servers = ", ".join(f"{number} : {topology.server_address(number + 1, self.family)}"
                            for number in range(topology.SERVERS))
        self.director.run("nft", "add", "rule", name, "balance", "requests", name, "daddr",
                          VIP[self.family], "tcp", "dport", topology.PORT, "dnat", "to", "numgen",
                          "inc", "mod", topology.SERVERS, "map", f"{{ {servers} }}")

    def prepare(self):
        """Flows that had answers for more than two seconds are kept when the table is full."""
        self.remove_connections()
        for _ in range(3):
            self.traffic.run(2 * self.flows, flows=self.flows, rate=100_000, batch=16, reflect=1)
            time.sleep(1.1)


class FloodedSluice(Flooded):
    is_sluice = True
    table_size = 65536

    def set_up(self):
        self.spare = self.table_size / self.flows
        super().set_up()
        os.sched_setaffinity(self.daemon.process.pid, {DIRECTOR_CPU})
        virtual = f"{bracketed(VIP[self.family])}:{topology.PORT}"
        self.daemon.ipvsadm(f"-A -t {virtual} -s rr")
        for number in range(1, topology.SERVERS + 1):
            real = f"{bracketed(topology.server_address(number, self.family))}:{topology.PORT}"
            self.daemon.ipvsadm(f"-a -t {virtual} -r {real} {topology.FLAG[self.method]}")
        wait_until(lambda: self.counter("stand_in_tables") == 2, "its tables are published")

    def prepare(self):
        self.director.run(BIN / "sluice", "connections", "delete", "-t",
                          f"{bracketed(VIP[self.family])}:{topology.PORT}", timeout=300)
        self.establish()

    def commands(self):
        """Milliseconds of each command."""
        took = {}
        for name, words in (("ipvsadm -Ln", [BIN / "ipvsadm", "-Ln"]),
                            ("sluice status", [BIN / "sluice", "status"])):
            begin = time.monotonic()
            self.director.attempt(*words, timeout=30)
            took[name] = (time.monotonic() - begin) * 1000
        return [took]


class FloodedNat(FloodedSluice, SluiceNat):
    pass


class FloodedDr(FloodedSluice, SluiceDr):
    pass


class UnlimitedNat(FloodedNat):
    label, limit = "Sluice NAT, punt_limit=0", 0


class UnlimitedDr(FloodedDr):
    label, limit = "Sluice DR, punt_limit=0", 0


SUBJECTS = [FloodedBare, FloodedNftables, FloodedNat, UnlimitedNat, FloodedDr, UnlimitedDr]


def measure_flows(subjects, arguments):
    """Tables of established flows at full speed."""
    for share in arguments.shares:
        rates = {subject: [] for subject in subjects}
        losses = {subject: [] for subject in subjects}
        through = {subject: [] for subject in subjects}
        for _ in range(arguments.rounds):
            for subject in subjects:
                subject.prepare()
                subject.flood(arguments.packets, share * 10, seconds=arguments.warm)
                done = subject.flood(arguments.packets, share * 10)
                seconds = done["ns"] * (done["sent"] + done["syns_sent"]) / 1e9
                rates[subject].append(done["received"] / seconds / 1e6)
                losses[subject].append(100 - 100 * done["received"] / done["sent"])
                through[subject].append(100 * done["syns_received"] / done["syns_sent"]
                                        if share else 0)
        print(f"IPv{arguments.family}, {arguments.flows} established flows, {share} % of all packets "
              "SYNs, full speed\n")
        rows = [[subject.label, spread([value / (1 - share / 100) for value in rates[subject]]),
                 spread(rates[subject]), spread(losses[subject]),
                 spread(through[subject], 0) if share else ""] for subject in subjects]
        topology.table(["", "all, Mpps", "established, Mpps", "lost of them, %",
                        "SYNs at servers, %"], rows)


class Background:
    """A flood that goes on while something else is measured."""

    def __init__(self, subject, arguments, rate):
        if rate:
            every = rate + arguments.established
            # Chunks of a quarter of a second.
            words = (every // 4, rate * 1000 // every, MOST_SECONDS, every)
        else:
            words = (arguments.packets, 900, MOST_SECONDS)
        self.subject, self.done = subject, None
        self.thread = threading.Thread(target=self.run, args=words)
        self.thread.start()

    def run(self, *words):
        try:
            self.done = self.subject.flood(*words)
        except topology.Failure:
            pass  # told by who waits

    def end(self):
        self.subject.traffic.stop()
        self.thread.join()
        if self.done is None:
            raise topology.Failure("the generator ended")
        if self.done["seconds"] > MOST_SECONDS:
            raise topology.Failure("the flood was over before all was measured")
        return self.done


def notice(subject, arguments, rate):
    """What clients and an administrator notice of one flood."""
    subject.prepare()
    if None in subject.ask(5, arguments.seconds):
        raise topology.Failure(f"{subject.label}: no client is served even without a flood")
    cpu, begin = subject.cpu_seconds(), time.monotonic()
    flood = Background(subject, arguments, rate)
    time.sleep(arguments.warm)
    commands = [each for _ in range(arguments.commands) for each in subject.commands()]
    took = subject.ask(arguments.connects, arguments.seconds)
    connections = subject.connections()
    spent = time.monotonic() - begin
    cpu = subject.cpu_seconds() - cpu
    done = flood.end()
    return {"syns": done["syns_sent"] / done["seconds"], "took": took, "commands": commands,
            "connections": connections, "lost": 100 - 100 * done["received"] / done["sent"],
            "cpu": 100 * cpu / spent}


def measure_notice(subjects, arguments):
    """Tables of what others notice."""
    for rate in arguments.rates:
        seen = {subject: [] for subject in subjects}
        for _ in range(arguments.rounds):
            for subject in subjects:
                seen[subject].append(notice(subject, arguments, rate))
        speed = f"{rate / 1e6:g} million SYNs a second" if rate else "full speed, 90 % SYNs"
        print(f"IPv{arguments.family}, {arguments.flows} established flows, {speed}\n")
        rows = []
        for subject, rounds in seen.items():
            took = [value for one in rounds for value in one["took"]]
            good = [value for value in took if value is not None]
            listed = [list(one.values()) for each in rounds for one in each["commands"] if one]
            rows.append([
                subject.label, spread([one["syns"] / 1e6 for one in rounds]),
                spread([one["lost"] for one in rounds]), f"{len(good)} of {len(took)}",
                f"{statistics.median(good):.1f}, {max(good):.0f}" if good else "–",
                *([f"{statistics.median(column):.0f}, {max(column):.0f}"
                   for column in zip(*listed)] or ["", ""]),
                spread([one["connections"] / 1000 for one in rounds], 0),
                spread([one["cpu"] for one in rounds], 0) if subject.is_sluice else ""])
        topology.table(["", "SYNs, millions a second", "established lost, %", "clients served",
                        "ms: median, longest", "`ipvsadm -Ln`, ms: median, longest",
                        "`sluice status`, ms", "connections, 1,000", "daemon, % of a processor"],
                       rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=16384, help="established; a power of two")
    parser.add_argument("--packets", type=int, default=1_000_000, help="a round")
    parser.add_argument("--shares", type=int, nargs="*", default=[0, 50, 90], help="%% of SYNs")
    parser.add_argument("--rates", type=int, nargs="*", default=[1_000_000, 0],
                        help="SYNs a second; 0: full speed, 90 %%")
    parser.add_argument("--established", type=int, default=100_000,
                        help="packets of established flows beside fixed rates, a second")
    parser.add_argument("--connects", type=int, default=200, help="of a client, in a round")
    parser.add_argument("--commands", type=int, default=10, help="in a round, each")
    parser.add_argument("--seconds", type=float, default=8, help="after which no client begins")
    parser.add_argument("--warm", type=float, default=1, help="seconds of a flood before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", type=int, choices=[4, 6], default=4)
    parser.add_argument("--table-size", type=int, default=FloodedSluice.table_size,
                        help="of sluiced; the default is the daemon's")
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of subjects")
    arguments = parser.parse_args()
    if arguments.flows & (arguments.flows - 1):
        parser.error("--flows must be a power of two")
    FloodedSluice.table_size = arguments.table_size
    common.prepare("sluiced", "sluice", "ipvsadm", "sluice_traffic")
    with common.lab("flood") as lab:
        subjects = [kind(lab, arguments.family, arguments.flows) for kind in SUBJECTS
                    if not arguments.only or any(word in kind.label for word in arguments.only)]
        for subject in subjects:
            subject.open()
        measure_flows(subjects, arguments)
        measure_notice([subject for subject in subjects if not isinstance(subject, FloodedBare)],
                       arguments)


if __name__ == "__main__":
    main()
