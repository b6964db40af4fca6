# SPDX-License-Identifier: Apache-2.0
"""Shows the SNAT gateway: two inside hosts, the director, a router, a host outside.

Run by demo.py. What nobody translated would not come back: outside there is no route to the
inside, and the director's kernel forwards nothing.
"""

from gateway import INSIDE, MAPPED, OUT, POOL, Gateway, inside_address

REQUESTS = 20


class SnatDemo:
    def __init__(self, lab, _method):
        self.gateway = Gateway(lab)
        self.gateway.serve_out()
        lab.serve(self.gateway.hosts[0])
        self.is_right = True

    def type(self, command):
        """Shows a command of `sluice snat` and runs it on the director."""
        print(f"  # sluice snat {command}")
        for line in self.gateway.snat(command).rstrip().splitlines():
            print(f"    {line}")

    def check(self, what, is_right):
        print(f"    {what:<66} {'ok' if is_right else 'WRONG'}")
        self.is_right = self.is_right and is_right

    def fetches(self, node, address, name):
        answers = node.fetch_many(address, REQUESTS)
        self.check(f"{node.name}: {answers[name]} of {REQUESTS} answers from {address}",
                   answers == {name: REQUESTS})

    def pings(self, node, address):
        done = node.attempt("ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", address)
        self.check(f"{node.name}: ping {address}", " 0% packet loss" in done.stdout)

    def check_family(self, family):
        """From inside out, from outside in, and from inside to inside by the outside address."""
        print(f"\n  IPv{family}")
        gateway = self.gateway
        self.type(f"add pool{family} --inside {INSIDE[family]} --pool {POOL[family]}")
        self.type(f"add web{family} --static {inside_address(1, family)}={MAPPED[family]}")
        for host in gateway.hosts:
            self.fetches(host, OUT[family], "out")
            self.pings(host, OUT[family])
        self.fetches(gateway.out, MAPPED[family], "in1")
        self.fetches(gateway.hosts[1], MAPPED[family], "in1")
        size = gateway.hosts[1].curl(OUT[family], "/bytes/50000000", timeout=60, extra=(
            "-o", "/dev/null", "-w", "%{size_download}"))
        self.check(f"{int(size) // 1_000_000} MB, of which XDP forwarded "
                   f"{gateway.status('xdp_forwarded')} packets so far", size == "50000000")
        self.type("list --stats")
        self.type("flush")
        return self.is_right

    def check_all(self, _directory):
        return [self.check_family(4), self.check_family(6)]
