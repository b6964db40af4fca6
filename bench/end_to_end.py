#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packets of established connections from client to server over veth: packets a second and
processor time a packet of Sluice, bare XDP, the host's routes, nftables and iptables.

All runs on one processor in turn (generator, director, sink), so the rate is one over the time of
all three; "ns of the director" has the generator's own (a program that drops at once) taken off. With
one arm the packet leaves by the interface that it came in by, as bare XDP_TX has it.
Rounds of all subjects alternate; ratios are of rounds beside each other. Needs root.
"""

import argparse
import statistics

import common
import topology
from topology import (BareRedirect, BareTx, Conntrack, Drop, Forward, Iptables, Nftables,
                      NftablesOneArm, OneArm, SluiceDr, SluiceDrOneArm, SluiceNat,
                      SluiceNatOneArm, SluiceTun, ratios, spread)

SUBJECTS = [Drop, BareTx, BareRedirect, Forward, Nftables, NftablesOneArm, Iptables, SluiceNat,
            SluiceDr, SluiceTun, SluiceNatOneArm, SluiceDrOneArm]


def measure(subjects, flows, packets, rounds):
    """{subject: [ns a packet]} of rounds by turns."""
    times = {subject: [] for subject in subjects}
    for subject in subjects:  # warm
        subject.traffic.run(min(packets, 2 * flows + 1000), flows=flows)
    for _ in range(rounds):
        for subject in subjects:
            done = subject.traffic.run(packets, flows=flows)
            if not isinstance(subject, Drop) and done["received"] < packets * 0.999:
                raise topology.Failure(f"{subject.label}: {done['received']} of {packets} came")
            times[subject].append(done["ns"])
    return times


def report(times):
    by_label = {subject.label: values for subject, values in times.items()}
    drop, bare = by_label["generator alone"], by_label["bare XDP_TX"]
    rows = []
    for subject, values in times.items():
        label = subject.label
        nft = by_label["nftables DNAT, one arm" if isinstance(subject, OneArm) else "nftables DNAT"]
        rates = [1000 / value for value in values]
        own = [value - base for value, base in zip(values, drop)]
        is_generator = label == "generator alone"
        rows.append([label, spread(rates), "" if is_generator else spread(own, 0),
                     "" if is_generator else spread(ratios(bare, values)),
                     "" if is_generator else spread(ratios(nft, values)),
                     "" if is_generator else
                     f"{statistics.median(ratios([n - d for n, d in zip(nft, drop)], own)):.1f}"])
    topology.table(["", "Mpps", "ns of the director", "share of bare XDP_TX", "times nftables",
                    "times nftables, director alone"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, nargs="+", default=[1, 1 << 16, 1 << 20],
                        help="powers of two")
    parser.add_argument("--packets", type=int, default=500_000, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--family", type=int, choices=[4, 6], nargs="+", default=[4])
    arguments = parser.parse_args()
    if any(flows & (flows - 1) for flows in arguments.flows):
        parser.error("--flows must be powers of two")
    common.prepare("sluiced", "sluice", "ipvsadm", "sluice_traffic")
    with Conntrack(max(arguments.flows) * 4):
        for family in arguments.family:
            for flows in arguments.flows:
                with common.lab("end") as lab:
                    subjects = [kind(lab, family, flows) for kind in SUBJECTS]
                    for subject in subjects:
                        subject.establish()
                    times = measure(subjects, flows, arguments.packets, arguments.rounds)
                print(f"IPv{family}, {flows} flows, {arguments.packets} packets, "
                      f"{arguments.rounds} rounds\n")
                report(times)


if __name__ == "__main__":
    main()
