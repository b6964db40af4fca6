# SPDX-License-Identifier: Apache-2.0
"""Every forwarding method carries real TCP and UDP, over IPv4 and IPv6."""

import collections
import hashlib
import re

import pytest
from cluster import CLIENT, VIP, Cluster, bracketed, server_address
from server import pattern

METHODS = {
    "nat-two-arms": {"method": "nat", "arms": 2},
    "nat-one-arm": {"method": "nat", "arms": 1},
    "dr": {"method": "dr"},
    "tun": {"method": "tun"},
}

UDP_CLIENT = """
import socket, sys
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
sockets = []  # all stay open: a port that comes again would be the same connection
for number in range(count):
    udp = socket.socket(family, socket.SOCK_DGRAM)
    sockets.append(udp)
    udp.settimeout(5)
    udp.connect((address, port))
    for size in (1, 32, 1200):
        sent = bytes([65 + number % 26]) * size
        udp.send(sent)
        name, _, back = udp.recv(65536).partition(b" ")
        assert back == sent, (name, back)
    print(name.decode())
"""


@pytest.mark.parametrize("offload", [True, False], ids=["offload", "no-offload"])
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("method", METHODS)
def test_http_and_udp(lab, method, family, offload):
    cluster = Cluster(lab, offload=offload, **METHODS[method])
    sluiced = cluster.start()
    cluster.add_service(family)
    cluster.add_service(family, protocol="-u")

    # Round robin: three servers answer alike.
    assert cluster.client.fetch_many(VIP[family], 30) == {"rs1": 10, "rs2": 10, "rs3": 10}

    names = cluster.client.run("python3", "-c", UDP_CLIENT, VIP[family], 80, 6).split()
    assert collections.Counter(names) == {"rs1": 2, "rs2": 2, "rs3": 2}, sluiced.ipvsadm("-Lnc")

    # The director counted what happened: 30 connections over TCP, 6 over UDP.
    assert sluiced.connection_counts(bracketed(VIP[family])) == {
        f"{bracketed(server_address(number, family))}:80": 12 for number in (1, 2, 3)}
    connections = sluiced.ipvsadm("-Lnc")
    assert len(re.findall(rf"^TCP .*{re.escape(CLIENT[family])}", connections, re.M)) == 30
    assert len(re.findall(rf"^UDP .*{re.escape(CLIENT[family])}", connections, re.M)) == 6


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("method", METHODS)
def test_large_transfer(lab, method, family):
    """100 MB down and 10 MB up arrive byte for byte."""
    size, upload_size = 100_000_000, 10_000_000
    cluster = Cluster(lab, servers=1, **METHODS[method])
    cluster.start()
    cluster.add_service(family)

    expected = hashlib.sha256()
    for piece in pattern(size):
        expected.update(piece)
    got = lab.directory / "got"
    cluster.client.curl(VIP[family], f"/bytes/{size}", timeout=60, extra=["-o", got])
    assert got.stat().st_size == size
    assert hashlib.sha256(got.read_bytes()).hexdigest() == expected.hexdigest()

    upload = lab.directory / "upload"
    upload.write_bytes(b"".join(pattern(upload_size)))
    digest = cluster.client.curl(VIP[family], "/", timeout=60,
                                 extra=["--data-binary", f"@{upload}"])
    assert digest == hashlib.sha256(upload.read_bytes()).hexdigest()


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("method", METHODS)
def test_xdp_modes(lab, method, mode):
    """Both XDP modes carry a page, and a transfer in which the kernel merges segments."""
    cluster = Cluster(lab, **METHODS[method])
    if mode == "generic":
        # What the other end of a cable merges (up to 64 KiB) does not fit a frame of AF_XDP; the
        # daemon warns of it. A network card sends single segments anyway.
        for port in cluster.director.ports:
            lab.switch.run("ethtool", "-K", port, "tso", "off", "gso", "off")
    cluster.start("--xdp-mode", mode)
    cluster.add_service(4)
    assert cluster.client.fetch_many(VIP[4], 9) == {"rs1": 3, "rs2": 3, "rs3": 3}
    got = lab.directory / "got"
    cluster.client.curl(VIP[4], "/bytes/5000000", timeout=30, extra=["-o", got])
    assert got.read_bytes() == b"".join(pattern(5_000_000))


@pytest.mark.parametrize("outer,inner", [(4, 6), (6, 4)])
def test_tunnel_of_the_other_family(lab, outer, inner):
    """A server with addresses of the other family is reached by tunnel."""
    cluster = Cluster(lab, method="tun", servers=1)
    sluiced = cluster.start()
    virtual = f"{bracketed(VIP[inner])}:80"
    sluiced.ipvsadm(f"-A -t {virtual} -s rr")
    sluiced.ipvsadm(f"-a -t {virtual} -r {bracketed(server_address(1, outer))}:80 -i")
    assert cluster.client.fetch_many(VIP[inner], 5) == {"rs1": 5}


def test_weights(lab):
    cluster = Cluster(lab)
    cluster.start()
    cluster.add_service(4, scheduler="wrr", weights=[3, 2, 1])
    assert cluster.client.fetch_many(VIP[4], 60) == {"rs1": 30, "rs2": 20, "rs3": 10}


def test_many_connections_at_once(lab):
    cluster = Cluster(lab)
    cluster.start()
    cluster.add_service(4)
    answers = cluster.client.fetch_at_once(VIP[4], 600, parallel=50)
    assert answers == {"rs1": 200, "rs2": 200, "rs3": 200}


def test_a_removed_server_gets_no_new_connections(lab):
    cluster = Cluster(lab)
    sluiced = cluster.start()
    virtual = cluster.add_service(4)
    sluiced.ipvsadm(f"-d -t {virtual} -r {server_address(2, 4)}:80")
    assert cluster.client.fetch_many(VIP[4], 20) == {"rs1": 10, "rs3": 10}


def test_a_service_without_servers_is_refused_at_once(lab):
    """As in the kernel: ICMP port unreachable, which a TCP client sees as a refusal."""
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start()
    virtual = f"{VIP[4]}:80"
    sluiced.ipvsadm(f"-A -t {virtual} -s rr")
    done = cluster.client.attempt("curl", "-sS", "--max-time", 10, f"http://{virtual}/")
    assert done.returncode == 7, done
    assert "refused" in done.stderr.lower() or "couldn't connect" in done.stderr.lower()
