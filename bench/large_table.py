#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A table with very many connections: what memory they take, what the daemon costs while they are
idle, how long it takes to list them and what packets wait meanwhile.

Memory is all that the daemon holds: its own (anonymous, packet buffers included) and that of its BPF
maps, which but for the endpoints are as large as the table from the start. The daemon is configured
for the family that is measured: XDP has room for flows of no other. Needs root, and for 10 M
connections 4 GB.
"""

import argparse
import json
import os
import pathlib
import re
import threading
import time

import common
import topology
from topology import BIN, SluiceDr, SluiceNat

RATE = 150_000  # new connections a second: below what XDP asks the daemon about at most
MOST_PUBLISHED = 1 << 22  # more get one packet only; their room is there all the same


def memory_of(subject):
    """(own, of BPF maps) in bytes."""
    pid = subject.daemon.process.pid
    own = 0
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            own = int(line.split()[1]) * 1024
    maps = {}
    for path in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        text = path.read_text()
        number = re.search(r"^map_id:\s*(\d+)", text, re.M)
        size = re.search(r"^memlock:\s*(\d+)", text, re.M)
        if number and size:
            maps[int(number.group(1))] = int(size.group(1))
    # What is only mapped has no descriptor, but a pin.
    for path in subject.director.pins().iterdir():
        shown = topology.execute(["bpftool", "-j", "map", "show", "pinned", path], check=False)
        if shown.returncode == 0:
            state = json.loads(shown.stdout)
            maps[state["id"]] = state["bytes_memlock"]
    return own, sum(maps.values())


def packets_meanwhile(subject, packets, rate, work, **options):
    """Sends packets beside `work`; returns what became of them, and how long the work took."""
    done = {}

    def send():
        done.update(subject.traffic.run(packets, rate=rate, stamp=1, batch=1, **options))

    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(0.05)
    start = time.monotonic()
    if work:
        work()
    took = time.monotonic() - start
    thread.join()
    return done, took


def delays(done):
    return [f"{done[name] / 1000:.0f}" for name in ("p50", "p99", "p99.9", "longest")] + [
        str(done["sent"] - done["received"])]


def losses(subject):
    """What the director counts of packets that did not go on, by reason."""
    status = json.loads(subject.director.attempt(BIN / "sluice", "status", "--json").stdout)
    found = dict(status["drops"])
    for interface in status["interfaces"]:
        found[f"receive_drops of {interface['name']}"] = interface["counters"]["receive_drops"]
    return found


def tell_of_losses(done, before, after):
    if done["sent"] == done["received"]:
        return
    reasons = {name: count - before.get(name, 0) for name, count in after.items()
               if count != before.get(name, 0)}
    print(f"{done['sent'] - done['received']} packets lost; counted by the director: "
          f"{reasons or 'none'}")


class Loop:
    """What the daemon's loop did from now on: how often it was away from packets for long, by its
    own processor time, and how long it was ready to run while others had the processor."""

    NAMES = ("loop_away_beyond_250us", "loop_away_beyond_1ms")

    def __init__(self, subject):
        self.subject = subject
        self.before = self.values()

    def values(self):
        # Of the only thread: time on a processor, time waiting for one, slices.
        waited = pathlib.Path(
            f"/proc/{self.subject.daemon.process.pid}/schedstat").read_text().split()[1]
        return [self.subject.counter(name) for name in self.NAMES] + [int(waited) / 1e6]

    def cells(self):
        long, too_long, waited = (now - before for now, before in zip(self.values(), self.before))
        return [long, too_long, self.subject.counter("loop_away_longest_us"), f"{waited:.0f}"]


LOOP = ["away > 250 us", "> 1 ms", "longest so far, us", "waited for a processor, ms"]


def list_them(subject, arguments):
    """The delay of packets with and without a listing, by turns. The client that lists runs on the
    processor that the generator leaves to the daemon, or (--client-cpu) elsewhere."""
    director = subject.director

    def run(*words):
        where = [] if arguments.client_cpu is None else ["taskset", "-c", arguments.client_cpu]
        command = " ".join(str(word) for word in [*where, *words])
        return lambda: director.run("sh", "-c", f"{command} > /dev/null", timeout=300)

    wanted = {
        "nothing": None,
        "sluice connections -n": run(BIN / "sluice", "connections", "-n"),
        "ipvsadm -Lnc": run(BIN / "ipvsadm", "-Lnc"),
    }
    first = subject.flows
    rows = []
    times = {name: 1.0 for name in wanted}
    for turn in range(arguments.rounds):
        for name, work in wanted.items():
            for kind in ("established", "first"):
                rate = 20_000 if kind == "established" else arguments.rate
                packets = int(rate * min(max(times[name] * 1.1, 0.5), 10)) + 1
                options = {"flows": 1024} if kind == "established" else {"first": first}
                loop = Loop(subject)
                lost = losses(subject)
                done, took = packets_meanwhile(subject, packets, rate, work, **options)
                if kind == "first":
                    first += packets
                times[name] = took if work else 1.0
                rows.append([f"{name}, {kind}", f"{took:.2f}" if work else "", *delays(done),
                             *loop.cells()])
                tell_of_losses(done, lost, losses(subject))
    topology.table(["packets beside", "took, s", "p50, us", "p99", "p99.9", "longest", "lost",
                    *LOOP], rows)


def change_all(subject):
    """What the loop does at changes that concern all connections, and at a restart."""
    director = subject.director
    virtual = f"{topology.bracketed(topology.VIP[subject.family])}:{topology.PORT}"
    rows = []
    for name, words in {"ipvsadm -Z": [BIN / "ipvsadm", "-Z"],
                        "sluice connections delete": [BIN / "sluice", "connections", "delete", "-u",
                                                      virtual],
                        "ipvsadm -C": [BIN / "ipvsadm", "-C"]}.items():
        loop = Loop(subject)
        before = subject.connections()
        start = time.monotonic()
        director.run(*words, timeout=300)
        took = time.monotonic() - start
        if name.endswith("delete"):
            topology.wait_until(lambda: subject.connections() == 0, "all connections end", 60)
        rows.append([name, before, f"{took:.3f}", f"{time.monotonic() - start:.2f}", *loop.cells()])
    topology.table(["change", "connections", "answered after, s", "done after", *LOOP], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1 << 20)
    parser.add_argument("--family", type=int, choices=[4, 6], default=4)
    parser.add_argument("--both", action="store_true",
                        help="leave XDP its room for flows of the other family, as by default")
    parser.add_argument("--method", choices=["nat", "dr"], default="nat")
    parser.add_argument("--idle", type=float, default=10, help="seconds to look at the idle daemon")
    parser.add_argument("--rounds", type=int, default=1, help="of listings; 0: none")
    parser.add_argument("--rate", type=int, default=10_000, help="new connections beside a listing")
    parser.add_argument("--client-cpu", type=int, help="where the client that lists runs")
    parser.add_argument("--daemon-cpu", type=int, help="where the daemon runs")
    parser.add_argument("--changes", action="store_true",
                        help="look at changes of the configuration, too: afterwards nothing is left")
    arguments = parser.parse_args()
    common.prepare("sluiced", "sluice", "ipvsadm", "sluice_traffic")
    kind = SluiceNat if arguments.method == "nat" else SluiceDr

    class Spacious(kind):
        configuration = kind.configuration + (
            "" if arguments.both else f"fast_path_ipv{10 - arguments.family} = 0\n")

        def set_up(self):
            connections = self.flows
            # Packets beside each of three, for ten seconds at most: all must find room.
            self.flows += arguments.rounds * arguments.rate * 31
            super().set_up()
            if arguments.daemon_cpu is not None:
                os.sched_setaffinity(self.daemon.process.pid, {arguments.daemon_cpu})
            self.capacity, self.flows = self.flows, connections

    with common.lab("large") as lab:
        subject = Spacious(lab, arguments.family, arguments.connections)
        own, maps = memory_of(subject)
        start = time.monotonic()
        subject.establish(rate=RATE, until_fast=arguments.connections <= MOST_PUBLISHED)
        took = time.monotonic() - start
        own_full, maps_full = memory_of(subject)
        count = subject.connections()
        print(f"IPv{arguments.family} {arguments.method}, {count} connections made in {took:.0f} s;"
              f" room for {subject.capacity}; {subject.counter('xdp_flows')} of them known to XDP\n")
        topology.table(["memory", "MB", "bytes a connection"], [
            ["of the process, without connections", f"{own / 1e6:.0f}", ""],
            ["of the process, with them", f"{own_full / 1e6:.0f}",
             f"{(own_full - own) / count:.0f}"],
            ["of BPF maps, without connections", f"{maps / 1e6:.0f}", ""],
            ["of BPF maps, with them", f"{maps_full / 1e6:.0f}",
             f"{maps_full / subject.capacity:.0f}"],
            ["all, for as many as there is room for", f"{(own_full + maps_full) / 1e6:.0f}",
             f"{(own + maps_full) / subject.capacity + (own_full - own) / count:.0f}"]])
        if arguments.idle:
            cpu = subject.cpu_seconds()
            time.sleep(arguments.idle)
            share = (subject.cpu_seconds() - cpu) / arguments.idle
            print(f"Idle with {count} connections for {arguments.idle:.0f} s: {share * 100:.2f} % of a "
                  "processor\n", flush=True)
        if arguments.rounds:
            list_them(subject, arguments)
        if arguments.changes:
            change_all(subject)


if __name__ == "__main__":
    main()
