#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long packets are on their way from the clients' interface to the server's: median, 99 % and
99.9 % in microseconds, of established connections and of first packets; idle and at half load.

Packets leave one by one; time is taken by the programs that make and drop them. Half load of
established connections is half of what each subject forwards at most; that of first packets a fixed
rate. "Added" is to a bare XDP_REDIRECT beside it. Rounds of all subjects alternate. Needs root.
"""

import argparse
import statistics

import common
import topology
from topology import BareRedirect, Conntrack, Forward, Nftables, SluiceDr, SluiceNat

SUBJECTS = [BareRedirect, Forward, Nftables, SluiceNat, SluiceDr]
FLOWS = 1024


class Runs:
    """The delays of one subject, by case."""

    def __init__(self, subject):
        self.subject = subject
        self.first = FLOWS
        self.delays = {}
        subject.establish()
        self.half = None

    def note(self, case, done):
        if done["received"] < done["sent"] * 0.99:
            print(f"({self.subject.label}, {case}: {done['sent'] - done['received']} of "
                  f"{done['sent']} packets lost)")
        self.delays.setdefault(case, []).append(
            [done["p50"] / 1000, done["p99"] / 1000, done["p99.9"] / 1000])

    def round(self, arguments):
        traffic, packets = self.subject.traffic, arguments.packets
        if self.half is None:
            full = traffic.run(packets * 5, flows=FLOWS, stamp=1, batch=1)
            self.half = int(0.5e9 / full["ns"])
        self.note("established, idle",
                  traffic.run(packets, flows=FLOWS, stamp=1, batch=1, rate=arguments.idle))
        self.note("established, half load",
                  traffic.run(packets * 5, flows=FLOWS, stamp=1, batch=1, rate=self.half))
        if not self.subject.has_connections:
            return
        for case, count, rate in (("first packets, idle", packets // 2, arguments.idle // 2),
                                  ("first packets, half load", packets * 2, arguments.first)):
            self.note(case, traffic.run(count, first=self.first, stamp=1, batch=1, rate=rate))
            self.first += count


def report(runs):
    base = runs[0].delays
    for case in runs[-1].delays:
        rows = []
        for run in runs:
            rounds = run.delays.get(case)
            if not rounds:
                continue
            bare = base[case.replace("first packets", "established")]
            cells = [topology.spread([delays[part] for delays in rounds]) for part in range(3)]
            added = statistics.median(ours[0] - others[0] for ours, others in zip(rounds, bare))
            rate = f" ({run.half / 1e6:.2f} Mpps)" if case == "established, half load" else ""
            rows.append([run.subject.label + rate, *cells, f"{added:.2f}"])
        print(f"{case.capitalize()}, microseconds:\n")
        topology.table(["", "p50", "p99", "p99.9", "p50 added"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=10_000, help="a round, at the least")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=10_000, help="packets a second when idle")
    parser.add_argument("--first", type=int, default=50_000,
                        help="first packets a second at half load")
    parser.add_argument("--family", type=int, choices=[4, 6], default=4)
    arguments = parser.parse_args()
    common.prepare("sluiced", "sluice", "ipvsadm", "sluice_traffic")
    capacity = FLOWS + arguments.rounds * arguments.packets * 3
    with Conntrack(capacity), common.lab("latency") as lab:
        runs = []
        for kind in SUBJECTS:
            subject = kind(lab, arguments.family, capacity)
            subject.flows = FLOWS  # to begin with
            runs.append(Runs(subject))
        for _ in range(arguments.rounds):
            for run in runs:
                run.round(arguments)
        report(runs)


if __name__ == "__main__":
    main()
