#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""New connections a second (goodput: those whose packets all arrive), the rate of their removal.

As RFC 2544 and RFC 9693 do it: a trial offers new connections at a rate, each with a few packets,
and counts those of which all came; rates step up, for all subjects by turns. "Without loss" is the
highest rate of which nothing was lost, "best" the most complete connections a second at any rate.
The generator has a processor of its own, on which the frames are received as well. There the host's
stack handles them (nftables) or hands them to the next (nftables RPS); Sluice's daemon runs on the
next. Beyond sluice.punt_limit XDP sends new flows on by itself; without a limit all go by the daemon.
Needs root.
"""

import argparse
import os
import time

import common
import topology
from topology import Conntrack, Nftables, SluiceDr, SluiceNat, spread, ratios

DIRECTOR_CPU = 1


class NftablesRps(Nftables):
    label = "nftables DNAT, RPS"

    def set_up(self):
        super().set_up()
        self.steer_to(DIRECTOR_CPU)


class DaemonNat(SluiceNat):
    """XDP sends nothing on by itself: every new connection is made by the daemon at once."""
    label, limit = "Sluice NAT, punt_limit=0", 0


class DaemonDr(SluiceDr):
    label, limit = "Sluice DR, punt_limit=0", 0


SUBJECTS = [Nftables, NftablesRps, DaemonNat, DaemonDr, SluiceNat, SluiceDr]


class Trials:
    """What trials of one subject told."""

    def __init__(self, subject):
        self.subject, self.first = subject, 0
        self.lossless, self.best, self.removal = [], [], []
        if isinstance(subject, topology.Sluice):
            os.sched_setaffinity(subject.daemon.process.pid, {DIRECTOR_CPU})

    def trial(self, rate, count, each):
        done = self.subject.traffic.run(count * each, first=self.first, rate=rate * each,
                                        each=each, block=64, batch=8)
        self.first += count
        seconds = done["ns"] * count * each / 1e9
        return done["complete"], done["complete"] / seconds

    def round(self, rates, count, each):
        lossless, best = 0.0, 0.0
        for rate in rates:
            complete, goodput = self.trial(rate, count, each)
            best = max(best, goodput)
            if complete == count:
                lossless = max(lossless, goodput)
            if complete < count * 0.6:
                break
        made = self.subject.connections()
        start = time.monotonic()
        self.subject.remove_connections()
        topology.wait_until(lambda: self.subject.connections() == 0, "all are removed", 60)
        self.removal.append(made / (time.monotonic() - start))
        self.lossless.append(lossless)
        self.best.append(best)


def report(trials):
    base = [max(values) for values in zip(trials[0].best, trials[1].best)]
    rows = [[one.subject.label, spread([value / 1000 for value in one.lossless], 0),
             spread([value / 1000 for value in one.best], 0),
             spread(ratios(one.best, base)),
             spread([value / 1e6 for value in one.removal])] for one in trials]
    topology.table(["", "without loss, 1,000 a second", "best goodput, 1,000 a second",
                    "times the better nftables", "removed, millions a second"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, nargs="+",
                        default=[100, 150, 200, 250, 300, 350, 400, 450, 500, 550, 600],
                        help="thousands a second, rising")
    parser.add_argument("--connections", type=int, default=65536, help="in a trial; a power of two")
    parser.add_argument("--packets", type=int, default=2, help="of a connection")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", type=int, choices=[4, 6], default=4)
    arguments = parser.parse_args()
    count, each = arguments.connections, arguments.packets
    if count & (count - 1):
        parser.error("--connections must be a power of two")
    common.prepare("sluiced", "sluice", "ipvsadm", "sluice_traffic")
    capacity = (len(arguments.rates) + 1) * count
    with Conntrack(capacity * 2), common.lab("new") as lab:
        trials = [Trials(kind(lab, arguments.family, capacity, count)) for kind in SUBJECTS]
        for one in trials:
            one.trial(100_000, count, each)  # touches the memory
            one.subject.remove_connections()
            topology.wait_until(lambda: one.subject.connections() == 0, "all are removed", 60)
        for _ in range(arguments.rounds):
            for one in trials:
                one.first = 0
                one.round([rate * 1000 for rate in arguments.rates], count, each)
        print(f"IPv{arguments.family}, {count} connections of {each} packets a trial, "
              f"{arguments.rounds} rounds\n")
        report(trials)


if __name__ == "__main__":
    main()
