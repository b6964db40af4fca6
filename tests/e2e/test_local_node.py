# SPDX-License-Identifier: Apache-2.0
"""A real server on the director itself."""

import hashlib
import re
import signal

import pytest
from cluster import CLIENT, DIRECTOR, FLAG, INSIDE, VIP, Cluster, bracketed
from lab import BIN, wait_until
from server import pattern

MODES = ["native", "generic"]
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
UDP = """
import socket, sys
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
udp = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(5)
udp.connect((address, port))
udp.send(b"x" * size)
print(udp.recv(65536).partition(b" ")[0].decode())
"""


def local_service(cluster, family, method="nat", port=8080, protocol="-t"):
    """A service at port 80 whose only server is the director, at an address of its own."""
    virtual = f"{bracketed(VIP[family])}:80"
    real_port = port if method == "nat" else 80
    cluster.sluiced.ipvsadm(f"-A {protocol} {virtual} -s rr")
    cluster.sluiced.ipvsadm(f"-a {protocol} {virtual} "
                            f"-r {bracketed(INSIDE[family])}:{real_port} {FLAG[method]}")
    return virtual


@pytest.mark.parametrize("mode", MODES)
@FAMILIES
def test_nat_to_the_director(lab, family, mode):
    cluster = Cluster(lab, servers=1)
    lab.serve(cluster.director, port=8080)
    sluiced = cluster.start("--xdp-mode", mode)
    local_service(cluster, family)
    local_service(cluster, family, protocol="-u")
    client = cluster.client
    assert client.fetch_many(VIP[family], 5) == {"director": 5}
    # Merged segments of the host leave in pieces, with whole checksums.
    got = lab.directory / "got"
    client.curl(VIP[family], "/bytes/3000000", extra=["-o", got])
    assert got.read_bytes() == b"".join(pattern(3_000_000))
    upload = lab.directory / "upload"
    upload.write_bytes(b"".join(pattern(1_000_000)))
    digest = client.curl(VIP[family], "/", extra=["--data-binary", f"@{upload}"])
    assert digest == hashlib.sha256(upload.read_bytes()).hexdigest()
    # Datagrams, and such as the host sends in fragments.
    for size in (10, 4000):
        assert client.run("python3", "-c", UDP, VIP[family], 80, size).strip() == "director"
    # Who asks the server by its own address gets its answers as they are.
    assert client.curl(INSIDE[family], port=8080) == "director"
    assert client.run("python3", "-c", UDP, INSIDE[family], 8080, 4000).strip() == "director"
    assert sluiced.stop() == 0
    assert client.curl(INSIDE[family], port=8080) == "director"


@FAMILIES
def test_direct_routing_to_the_director(lab, family):
    """The answers leave as they are, and the connection sees them, as in the kernel."""
    cluster = Cluster(lab, method="dr", servers=1)
    lab.serve(cluster.director)
    sluiced = cluster.start()
    virtual = local_service(cluster, family, method="dr")
    assert cluster.client.fetch_many(VIP[family], 5) == {"director": 5}
    line = next(line for line in sluiced.ipvsadm("-Ln --stats --exact").splitlines()
                if virtual in line)
    _, _, connections, _, packets_out, _, bytes_out = line.split()
    assert connections == "5"
    assert int(packets_out) >= 5 * 3, line
    assert int(bytes_out) > 5 * 100, line


@FAMILIES
def test_a_port_that_nobody_listens_on(lab, family):
    """The refusal of the director's own stack comes back as from the virtual address."""
    cluster = Cluster(lab, servers=1)
    cluster.start()
    local_service(cluster, family)
    host = bracketed(VIP[family])
    done = cluster.client.attempt("curl", "-sS", "-g", "--max-time", 5, f"http://{host}/")
    assert done.returncode == 7, done


def test_nothing_is_caught_after_a_kill(lab):
    """The tc program goes with the daemon, whatever ends that."""
    cluster = Cluster(lab, servers=1)
    lab.serve(cluster.director, port=8080)
    sluiced = cluster.start()
    local_service(cluster, 4)
    assert cluster.client.curl(VIP[4]) == "director"
    sluiced.stop(signal.SIGKILL)
    wait_until(lambda: cluster.client.curl(DIRECTOR[4], port=8080, timeout=1, check=False)
               == "director", "the host's own services answer")
    cluster.start()
    assert cluster.client.curl(VIP[4]) == "director"


def test_beside_other_servers(lab):
    cluster = Cluster(lab, arms=2, servers=2)
    lab.serve(cluster.director, port=8080)
    cluster.start()
    virtual = cluster.add_service(4)
    cluster.sluiced.ipvsadm(f"-a -t {virtual} -r {INSIDE[4]}:8080 -m")
    assert cluster.client.fetch_many(VIP[4], 9) == {"director": 3, "rs1": 3, "rs2": 3}


def counter(cluster, name):
    status = cluster.director.attempt(BIN / "sluice", "status", "--all").stdout
    return int(re.search(rf"^  {name} +(\d+)", status, re.M)[1])


def test_answers_that_nobody_took_are_counted(lab):
    """While the daemon stands still, the TAP's queue overflows; nothing is lost in silence."""
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start()
    virtual = local_service(cluster, 4, protocol="-u")
    assert virtual in sluiced.ipvsadm("-Ln")
    cluster.director.run("ping", "-c", 1, "-W", 5, CLIENT[4])
    sluiced.process.send_signal(signal.SIGSTOP)
    cluster.director.run("python3", "-c", f"""
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("{INSIDE[4]}", 8080))
udp.connect(("{CLIENT[4]}", 9))
for _ in range(12000):
    try:
        udp.send(b"x")
    except OSError:
        pass
""")
    sluiced.process.send_signal(signal.SIGCONT)
    wait_until(lambda: counter(cluster, "host_answer_drops") > 1000, "the losses are counted")
    assert counter(cluster, "host_answers_caught") > 8000
