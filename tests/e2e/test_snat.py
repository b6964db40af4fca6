# SPDX-License-Identifier: Apache-2.0
"""Source NAT with real clients and servers: curl, dig, ping, both families, fast path on and off."""

import concurrent.futures
import re
import time

import pytest

from gateway import (DIRECTOR, INSIDE, MAPPED, OUT, POOL, ROUTER, Gateway, inside_address)
from lab import BIN, PYTHON, wait_until

FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
FAST = pytest.mark.parametrize("fast", [True, False], ids=["fast", "engine"])

# Says where connections and datagrams come from: an echo of the peer's address and port.
WHO = """
import socket, threading
def tcp():
    server = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True,
                                  backlog=256)
    print("ready", flush=True)
    while True:
        peer, address = server.accept()
        peer.sendall(f"{address[0].removeprefix('::ffff:')} {address[1]}".encode())
        peer.close()
threading.Thread(target=tcp).start()
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind(("::", 7000))
while True:
    data, address = server.recvfrom(65535)
    server.sendto(f"{address[0].removeprefix('::ffff:')} {address[1]} {len(data)}".encode(), address)
"""
ASK_TCP = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000), 5) as server:
    print(server.recv(100).decode())
"""
ASK_UDP = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.sendto(bytes(int(sys.argv[2])), (sys.argv[1], 7000))
    print(client.recv(100).decode())
"""


def who(node):
    process = node.start(PYTHON, "-c", WHO, stdout=-1)
    assert process.stdout.readline() == b"ready\n"


def seen_tcp(node, address):
    return node.run(PYTHON, "-c", ASK_TCP, address).split()


def seen_udp(node, address, size=10):
    return node.run(PYTHON, "-c", ASK_UDP, address, size).split()


def connections(gateway):
    return gateway.director.run(BIN / "sluice", "snat", "list", "--stats")


def ping(node, address, *words, check=True):
    run = node.run if check else node.attempt
    return run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "5", *words, address)


@FAMILIES
@FAST
def test_tcp_udp_and_echo(lab, family, fast):
    gateway = Gateway(lab, fast=fast)
    gateway.add_pools()
    gateway.serve_out()
    who(gateway.out)
    for host in gateway.hosts:
        assert host.fetch_many(OUT[family], 5) == {"out": 5}
        address, port = seen_tcp(host, OUT[family])
        assert address == POOL[family] and int(port) >= 1024
        assert seen_udp(host, OUT[family])[0] == POOL[family]
        assert " 0% packet loss" in ping(host, OUT[family])
    # Established: a large transfer, both ways.
    assert gateway.hosts[0].curl(OUT[family], "/bytes/20000000", timeout=60, extra=(
        "-o", "/dev/null", "-w", "%{size_download}")) == "20000000"
    forwarded = gateway.status("xdp_forwarded")
    assert forwarded > 1000 if fast else forwarded == 0
    # Without a rule nothing gets through: the director's kernel does not forward.
    gateway.snat("flush")
    assert gateway.hosts[0].attempt("curl", "-sS", "--max-time", "2",
                                    f"http://{OUT[4]}/").returncode != 0


@FAMILIES
def test_names_are_resolved(lab, family):
    gateway = Gateway(lab, hosts=1)
    gateway.add_pools()
    gateway.out.start("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv",
                      "--no-hosts", "--address=/example.test/203.0.113.77",
                      "--pid-file=", "--user=root")
    host = gateway.hosts[0]
    words = ("dig", "+short", "+tries=5", "+time=1", f"@{OUT[family]}", "www.example.test")
    wait_until(lambda: host.attempt(*words).stdout == "203.0.113.77\n", "dnsmasq answers")
    assert host.run(*words, "+tcp") == "203.0.113.77\n"


@FAMILIES
def test_errors_from_outside_reach_the_inside_host(lab, family):
    """The router's, about a packet of which the time ran out, and the far host's; of a narrow way
    beyond the director."""
    gateway = Gateway(lab, hosts=1)
    gateway.add_pools()
    gateway.serve_out()
    host = gateway.hosts[0]
    expired = ping(host, OUT[family], "-t", "2", check=False).stdout
    assert f"From {ROUTER[family]}" in expired and "ime" in expired, expired
    # The director's own.
    first = ping(host, OUT[family], "-t", "1", check=False).stdout
    assert "From " in first and "ime" in first
    # Port unreachable, to a connected UDP socket.
    refused = host.attempt(PYTHON, "-c", f"""
import socket
family = socket.AF_INET6 if {family} == 6 else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.connect(("{OUT[family]}", 9))
    client.send(b"x")
    client.recv(10)
""")
    assert "ConnectionRefusedError" in refused.stderr
    # Path MTU: the far link takes less; what is sent must fit after a "too big".
    gateway.router.run("ip", "link", "set", "eth1", "mtu", "1300")
    gateway.out.run("ip", "link", "set", "eth0", "mtu", "1300")
    answer = host.run("curl", "-sS", "-g", "--max-time", "20", "--data-binary",
                      "@" + str(BIN / "sluice"),
                      f"http://{'[' + OUT[6] + ']' if family == 6 else OUT[4]}/", timeout=40)
    assert re.fullmatch(r"[0-9a-f]{64}\n?", answer), answer


@FAMILIES
@FAST
def test_fragments(lab, family, fast):
    gateway = Gateway(lab, hosts=1, fast=fast)
    gateway.add_pools()
    who(gateway.out)
    address, _, size = seen_udp(gateway.hosts[0], OUT[family], 8000)
    assert (address, size) == (POOL[family], "8000")
    assert " 0% packet loss" in ping(gateway.hosts[0], OUT[family], "-s", "5000")


@FAMILIES
def test_static_mapping(lab, family):
    gateway = Gateway(lab)
    gateway.add_pools()
    gateway.snat(f"add web --static {inside_address(1, family)}={MAPPED[family]}")
    who(gateway.out)
    gateway.lab.serve(gateway.hosts[0])
    assert seen_tcp(gateway.hosts[0], OUT[family])[0] == MAPPED[family]
    assert seen_tcp(gateway.hosts[1], OUT[family])[0] == POOL[family]
    # From outside, in.
    assert gateway.out.fetch_many(MAPPED[family], 5) == {"in1": 5}
    assert " 0% packet loss" in ping(gateway.out, MAPPED[family])
    # From inside, by the outside address: there and back, also to itself.
    assert gateway.hosts[1].fetch_many(MAPPED[family], 5) == {"in1": 5}
    assert gateway.hosts[0].fetch_many(MAPPED[family], 2) == {"in1": 2}
    assert " 0% packet loss" in ping(gateway.hosts[1], MAPPED[family])


@FAMILIES
def test_only_mapped_ports(lab, family):
    gateway = Gateway(lab, hosts=1)
    gateway.add_pools()
    gateway.snat(f"add web --static {inside_address(1, family)}={MAPPED[family]} "
                 "--proto tcp --ports 80")
    gateway.lab.serve(gateway.hosts[0])
    gateway.lab.serve(gateway.hosts[0], port=81)
    assert gateway.out.fetch_many(MAPPED[family], 3) == {"in1": 3}
    refused = gateway.out.attempt("curl", "-sS", "-g", "--max-time", "2", "http://"
                                  + (f"[{MAPPED[6]}]" if family == 6 else MAPPED[4]) + ":81/")
    assert refused.returncode != 0
    assert gateway.status("snat_no_connection") > 0


HOLD = """
import socket, sys
address, count = sys.argv[1], int(sys.argv[2])
held, failed = [], 0
for number in range(count):
    try:
        held.append(socket.create_connection((address, 80), 5))
    except OSError as error:
        failed += 1
print(len(held), failed, flush=True)
sys.stdin.readline()
for each in held:
    each.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    assert b"out" in each.makefile("rb").read()
print("all good", flush=True)
"""


def hold(node, address, count):
    process = node.start(PYTHON, "-c", HOLD, address, count, stdin=-1, stdout=-1, text=True)
    return process, process.stdout.readline().split()


@FAMILIES
def test_an_exhausted_pool_refuses_new_connections_and_keeps_old_ones(lab, family):
    gateway = Gateway(lab)
    gateway.snat(f"add small --inside {INSIDE[family]} --pool {POOL[family]} --ports 5000-5009")
    gateway.serve_out()
    gateway.lab.serve(gateway.out, port=81)
    process, counts = hold(gateway.hosts[0], OUT[family], 13)
    assert counts == ["10", "3"]
    assert gateway.status("snat_pool_exhausted") == 3
    listing = gateway.director.run(BIN / "sluice", "status", "--all")
    assert inside_address(1, family) in listing, "which client was refused"
    # The same ports still serve another destination, and the old connections go on.
    assert gateway.hosts[1].fetch_many(OUT[family], 2, port=81) == {"out": 2}
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "all good\n"


def test_a_client_has_its_limit(lab):
    gateway = Gateway(lab)
    gateway.snat(f"add few --inside {INSIDE[4]} --pool {POOL[4]} --limit 4")
    gateway.serve_out()
    process, counts = hold(gateway.hosts[0], OUT[4], 6)
    assert counts == ["4", "2"]
    assert gateway.hosts[1].fetch_many(OUT[4], 2) == {"out": 2}
    assert gateway.status("snat_client_limit") == 2
    process.kill()


def test_a_pool_of_addresses_and_many_connections(lab):
    gateway = Gateway(lab, hosts=4)
    gateway.director.address("eth0", "192.0.2.21/32", "192.0.2.22/32", "192.0.2.23/32")
    gateway.snat(f"add wide --inside {INSIDE[4]} --pool {POOL[4]}-192.0.2.23")
    gateway.serve_out()
    who(gateway.out)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for counts in pool.map(lambda host: host.fetch_at_once(OUT[4], 200, 20), gateway.hosts):
            assert counts == {"out": 200}
    shown = {}
    for host in gateway.hosts:
        addresses = {seen_tcp(host, OUT[4])[0] for _ in range(4)}
        assert len(addresses) == 1, "a client keeps its address"
        shown[host.name] = addresses.pop()
    assert len(set(shown.values())) > 1


def test_ports_of_the_host_are_left_alone(lab):
    """The director's own server on the pool's address is reached; its port is given to nobody."""
    gateway = Gateway(lab, hosts=1)
    gateway.lab.serve(gateway.director, port=5001)
    gateway.snat(f"add shared --inside {INSIDE[4]} --pool {POOL[4]} --ports 5000-5001")
    who(gateway.out)
    time.sleep(2)  # the kernel is asked every tenth of a second, on a busy machine less often
    assert seen_tcp(gateway.hosts[0], OUT[4])[1] == "5000"
    assert gateway.out.fetch_many(POOL[4], 3, port=5001) == {"director": 3}
    # And the director's own connections, from any of its addresses.
    gateway.serve_out()
    assert gateway.director.fetch_many(OUT[4], 3) == {"out": 3}
    assert gateway.hosts[0].fetch_many(DIRECTOR[4], 3, port=5001) == {"director": 3}


@FAST
def test_connections_survive_a_restart(lab, fast):
    gateway = Gateway(lab, hosts=1, fast=fast)
    gateway.add_pools()
    gateway.serve_out()
    process, counts = hold(gateway.hosts[0], OUT[4], 5)
    assert counts == ["5", "0"]
    gateway.sluiced.process.kill()
    gateway.sluiced.process.wait()
    gateway.start("--fast-path", "on" if fast else "off")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "all good\n"
    assert gateway.hosts[0].fetch_many(OUT[4], 3) == {"out": 3}


FORGE = """
import sys
from scapy.all import ICMP, IP, TCP, send
pool, outside, port, sequence = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
quoted = IP(src=pool, dst=outside) / TCP(sport=port, dport=80, seq=sequence)
send(IP(dst=pool) / ICMP(type=3, code=1) / quoted, verbose=False)
"""


def test_forged_errors(lab):
    gateway = Gateway(lab, hosts=1)
    gateway.snat(f"add one --inside {INSIDE[4]} --pool {POOL[4]} --ports 5000-5000")
    gateway.serve_out()
    process, counts = hold(gateway.hosts[0], OUT[4], 1)
    assert counts == ["1", "0"]
    forged = gateway.status("snat_forged_icmp")
    for sequence in (1, 0x40000000, 0x80000000, 0xc0000000):
        gateway.router.run("/usr/bin/python3", "-c", FORGE, POOL[4], OUT[4], 5000, sequence)
    # At most one of four that far apart lies in a window.
    wait_until(lambda: gateway.status("snat_forged_icmp") >= forged + 3, "the errors are counted")
    # About a connection that does not exist.
    gateway.router.run("/usr/bin/python3", "-c", FORGE, POOL[4], OUT[4], 5999, 1)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "all good\n"
