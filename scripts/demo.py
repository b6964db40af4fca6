#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows Sluice at work in network namespaces: a client, a director, three real servers; and as the
gateway of inside hosts.

    demo.py [--mode nat|dr|tun|snat]...        without: all of them

For each forwarding method, over IPv4 and IPv6: types the ipvsadm commands it shows, lets the
client ask, prints who answered how often, and compares that with the weights. Exits 1 if it is
off. Cleans up, also when interrupted. Run by demo.sh, which builds first.
"""

import argparse
import hashlib
import pathlib
import shutil
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from demo_snat import SnatDemo  # noqa: E402
from cluster import CLIENT, DIRECTOR, FLAG, VIP, Cluster, bracketed, server_address  # noqa: E402
from lab import Lab  # noqa: E402
from server import pattern  # noqa: E402

REQUESTS = 60
WEIGHTS = [3, 2, 1]
TRANSFER_BYTES = 100_000_000
SHOWN_CONNECTIONS = 6
METHODS = [
    ("nat", "NAT (masquerading): answers come back through the director"),
    ("dr", "DR (direct routing): the server answers the client itself"),
    ("tun", "TUN (tunnel): the server strips the tunnel by 'sluice realserver decap'"),
    ("snat", "SNAT: the director is the way out of inside hosts"),
]


def title(text):
    print(f"\n=== {text}", flush=True)


def indented(text):
    for line in text.rstrip().splitlines():
        print(f"    {line}")


class Demo:
    def __init__(self, lab, method):
        self.cluster = Cluster(lab, method=method)
        self.sluiced = self.cluster.start()
        self.method = method

    def type(self, command):
        """Shows an ipvsadm command and runs it on the director."""
        print(f"  # ipvsadm {command}")
        output = self.sluiced.ipvsadm(command)
        indented(output)
        return output

    def show_connections(self, family):
        print("  # ipvsadm -Lnc")
        heading, names, *lines = self.sluiced.ipvsadm("-Lnc").splitlines()
        # Those of the other family are listed as long as their timers run.
        lines = [line for line in lines if bracketed(VIP[family]) in line]
        indented("\n".join([heading, names, *lines[:SHOWN_CONNECTIONS]]))
        if len(lines) > SHOWN_CONNECTIONS:
            print(f"    ... and {len(lines) - SHOWN_CONNECTIONS} more")

    def check_family(self, family):
        """Returns True if the answers are distributed by the weights."""
        virtual = f"{bracketed(VIP[family])}:80"
        print(f"\n  IPv{family}: client {CLIENT[family]}, director {DIRECTOR[family]}, "
              f"virtual service {virtual}")
        self.type(f"-A -t {virtual} -s wrr")
        for number, weight in enumerate(WEIGHTS, 1):
            real = f"{bracketed(server_address(number, family))}:80"
            self.type(f"-a -t {virtual} -r {real} {FLAG[self.method]} -w {weight}")

        answers = self.cluster.client.fetch_many(VIP[family], REQUESTS)
        print(f"  {REQUESTS} requests by curl; who answered:")
        is_right = answers.total() == REQUESTS
        for number, weight in enumerate(WEIGHTS, 1):
            expected = REQUESTS * weight // sum(WEIGHTS)
            got = answers[f"rs{number}"]
            is_right = is_right and got == expected
            print(f"    rs{number}  weight {weight}  answered {got:3}  expected {expected:3}  "
                  f"{'ok' if got == expected else 'WRONG'}")
        if answers[""]:
            print(f"    {answers['']} requests were not answered: WRONG")
        self.type("-Ln --stats")
        self.show_connections(family)
        self.type("-C")
        return is_right

    def check_transfer(self, directory):
        """Carries a large file and compares its hash."""
        virtual = f"{VIP[4]}:80"
        self.sluiced.ipvsadm(f"-A -t {virtual} -s rr")
        self.sluiced.ipvsadm(f"-a -t {virtual} -r {server_address(1, 4)}:80 {FLAG[self.method]}")
        got = pathlib.Path(directory) / "got"
        start = time.monotonic()
        self.cluster.client.curl(VIP[4], f"/bytes/{TRANSFER_BYTES}", timeout=60,
                                 extra=["-o", got])
        seconds = time.monotonic() - start
        expected = hashlib.sha256()
        for piece in pattern(TRANSFER_BYTES):
            expected.update(piece)
        is_right = hashlib.sha256(got.read_bytes()).hexdigest() == expected.hexdigest()
        print(f"\n  {TRANSFER_BYTES // 1_000_000} MB in {seconds:.1f} s, SHA-256 "
              f"{'as sent: ok' if is_right else 'differs: WRONG'}")
        return is_right


    def check_all(self, directory):
        return [self.check_family(4), self.check_family(6), self.check_transfer(directory)]


def show(method, text):
    title(text)
    directory = tempfile.mkdtemp(prefix="sluice-demo-")
    lab = None
    try:
        lab = Lab(f"demo-{method}", directory)
        demo = SnatDemo(lab, method) if method == "snat" else Demo(lab, method)
        return all(demo.check_all(directory))
    except Exception:
        if lab is not None:
            print(lab.dump(), file=sys.stderr)
        raise
    finally:
        left = lab.close() if lab is not None else []
        shutil.rmtree(directory, ignore_errors=True)
        if left:
            print(f"left behind: {', '.join(left)}", file=sys.stderr)


def interrupted(number, _frame):
    # Let every "finally" run; a second signal must not stop the cleaning up.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    parser = argparse.ArgumentParser(description="Shows Sluice at work.")
    parser.add_argument("--mode", action="append", choices=[method for method, _ in METHODS])
    modes = parser.parse_args().mode
    chosen = [(method, text) for method, text in METHODS if modes is None or method in modes]
    start = time.monotonic()
    wrong = [method for method, text in chosen if not show(method, text)]
    seconds = time.monotonic() - start
    if wrong:
        print(f"\nWRONG: {', '.join(wrong)} ({seconds:.0f} s)")
        return 1
    names = ", ".join(method.upper() for method, _ in chosen)
    print(f"\n{names} over IPv4 and IPv6: all as it should be, every byte as sent ({seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
