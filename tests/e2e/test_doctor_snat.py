# SPDX-License-Identifier: Apache-2.0
"""`sluice doctor` on a gateway: faults of source NAT are made and found, and absent without them."""

import pytest

from lab import BIN, HERE, PYTHON, Sluiced, wait_until
from test_doctor import examine, expect_only

POOL = "198.51.100.20"
SERVER = "198.51.100.7"


class Gateway:
    """An inside host, the director, and a server outside that has no route to the inside."""

    def __init__(self, lab):
        self.inside, self.director, self.outside = (
            lab.node(name) for name in ("inside", "director", "outside"))
        within, beyond = lab.bridge("int"), lab.bridge("ext")
        lab.connect(self.inside, "eth0", within)
        lab.connect(self.director, "eth0", beyond)
        lab.connect(self.director, "eth1", within)
        lab.connect(self.outside, "eth0", beyond)
        self.inside.address("eth0", "10.0.0.5/24")
        self.inside.route("default", "via", "10.0.0.1")
        self.director.address("eth0", "198.51.100.1/24", f"{POOL}/32")
        self.director.address("eth1", "10.0.0.1/24")
        self.director.route("default", "via", "198.51.100.254")
        self.outside.address("eth0", f"{SERVER}/24")
        lab.serve(self.outside)

    def start(self, *words, **options):
        self.sluiced = Sluiced(self.director, *words, **options)
        return self.sluiced

    def snat(self, *words):
        self.director.run(BIN / "sluice", "snat", *" ".join(words).split())


@pytest.fixture
def gateway(lab):
    return Gateway(lab)


def test_a_gateway_without_faults(gateway):
    gateway.start()
    gateway.snat(f"add office --inside 10.0.0.0/24 --out-interface eth0 --pool {POOL}")
    assert examine(gateway.director) == {}
    assert "outside" in gateway.inside.curl(SERVER)
    assert examine(gateway.director) == {}
    gateway.inside.run("ping", "-c", 1, "-W", 5, SERVER)
    listed = gateway.director.run(BIN / "sluice", "connections", "-n")
    assert [line for line in listed.splitlines()
            if line.startswith("ICMP ") and "10.0.0.5:" in line and line.endswith("snat office")]
    # Routing is not needed: the director translates before.
    gateway.director.sysctl("net.ipv4.ip_forward", 0)
    assert "outside" in gateway.inside.curl(SERVER)
    assert examine(gateway.director) == {}


def test_pools_that_nobody_or_another_host_answers_for(gateway):
    director = gateway.director
    gateway.start()
    gateway.snat(f"add office --inside 10.0.0.0/24 --pool {POOL}-198.51.100.22")
    expect_only(director, "snat-pool", severity="warning",
                text="198.51.100.21 of the SNAT rule `office' lies in the network of eth0")
    director.address("eth0", "198.51.100.21/32", "198.51.100.22/32")
    assert examine(director) == {}
    gateway.outside.address("eth0", "198.51.100.22/32")
    expect_only(director, "snat-pool", severity="error", text="is another host's")
    gateway.outside.run("ip", "address", "del", "198.51.100.22/32", "dev", "eth0")
    assert examine(director) == {}
    # One that routers send here is none of its business.
    gateway.snat("add routed --inside 10.0.0.5 --pool 203.0.113.1-203.0.113.9")
    assert examine(director) == {}


def test_sides_that_are_not_served(gateway):
    director = gateway.director
    gateway.start(interfaces=["eth0"])
    gateway.snat(f"add office --inside 10.0.0.0/24 --pool {POOL}")
    expect_only(director, "snat-served", severity="error", text="are behind eth1")
    gateway.snat("flush")
    assert examine(director) == {}
    gateway.sluiced.stop()
    gateway.start()
    gateway.snat(f"add office --inside 10.0.0.0/24 --pool {POOL}")
    assert examine(director) == {}
    gateway.snat(f"add far --inside 10.7.0.0/16 --out-interface eth7 --pool {POOL}")
    expect_only(director, "snat-served", severity="error", text="would be behind eth7")
    gateway.snat("delete far")
    director.run("ip", "route", "del", "default")
    gateway.snat(f"add far --inside 10.7.0.0/16 --pool {POOL}")
    expect_only(director, "snat-served", severity="error", text="no route to the inside hosts")
    director.route("10.7.0.0/16", "via", "10.0.0.5")
    assert examine(director) == {}


def test_ports_that_the_host_uses_itself(gateway):
    director = gateway.director
    director.sysctl("net.ipv4.ip_local_port_range", "32768 60999")
    gateway.start()
    gateway.snat(f"add office --inside 10.0.0.0/24 --pool {POOL} --ports 1024-40000")
    expect_only(director, "snat-ports", severity="warning", text="1024-40000")
    director.sysctl("net.ipv4.ip_local_port_range", "40001 60999")
    assert examine(director) == {}


@pytest.mark.parametrize("what,words,text", [
    ("limit", "--limit 10", "it has as many connections as it may"),
    ("ports", "--ports 5000-5009", "no port was free at its address")])
def test_connections_that_are_refused(gateway, what, words, text):
    director = gateway.director
    gateway.start()
    gateway.snat(f"add office --inside 10.0.0.0/24 --pool {POOL} {words}")
    assert examine(director) == {}
    gateway.inside.run(PYTHON, HERE / "datagrams.py", SERVER, 20, 1)

    def refused():
        listed = director.run(BIN / "sluice", "snat", "list").splitlines()
        return listed[1].split()[4] == "10"

    wait_until(refused, "ten are refused")
    expect_only(director, "snat-refused", severity="warning", text=text)
    listed = director.run(BIN / "sluice", "snat", "list")
    assert f"last refused: 10.0.0.5 to {SERVER}:80: {text}" in listed
    statistics = director.run(BIN / "sluice", "snat", "list", "--stats").splitlines()[1].split()
    assert statistics[:2] == ["office", "10"]
    assert statistics[6:] == (["0", "10", "0"] if what == "limit" else ["10", "0", "0"])
    # As a line of the connection table, and of the status.
    lines = director.run(BIN / "sluice", "connections", "-n").splitlines()[2:]
    assert len(lines) == 10
    for line in lines:
        words = line.split()
        assert words[0] == "UDP" and words[3].startswith("10.0.0.5:"), line
        assert words[4].startswith(f"{POOL}:") and words[5] == f"{SERVER}:80", line
        assert words[6:] == ["snat", "office"], line
    listed = gateway.sluiced.ipvsadm("-Lnc")
    assert listed.count(f"{POOL}:") == 10 and "snat" not in listed
    assert "10 refused" in director.attempt(BIN / "sluice", "status").stdout
    gateway.snat("zero office")
    assert examine(director) == {}
