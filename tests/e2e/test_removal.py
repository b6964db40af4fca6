# SPDX-License-Identifier: Apache-2.0
"""Servers that are taken out, and what real TCP clients see of it."""

import json
import subprocess

import pytest
from cluster import FLAG, VIP, Cluster, server_address
from lab import BIN, PYTHON, wait_until

# A server that answers each line with its name; clients keep their connections.
ECHO = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            for line in self.rfile:
                self.wfile.write(sys.argv[1].encode() + b"\\n")
        except OSError:
            pass
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
server = socketserver.ThreadingTCPServer(("", 7), Handler)
print("ready", flush=True)
server.serve_forever()
"""

# Opens connections; for each line of input (a command) prints a JSON line.
#   ask: what each connection gets to a question ("" after an error); wait: how each ends by itself.
CLIENT = """
import json, select, socket, sys
address, count = sys.argv[1], int(sys.argv[2])
sockets = [socket.create_connection((address, 7), timeout=10) for _ in range(count)]
for s in sockets:
    s.settimeout(5)
def ask(s):
    try:
        s.sendall(b"?\\n")
        return s.recv(100).decode().strip()
    except OSError as error:
        return type(error).__name__
def wait(s):
    try:
        return s.recv(100).decode() or "closed"
    except OSError as error:
        return type(error).__name__
for line in sys.stdin:
    print(json.dumps([{"ask": ask, "wait": wait}[line.strip()](s) for s in sockets]), flush=True)
"""


class Clients:
    def __init__(self, node, address, count):
        self.process = node.start(PYTHON, "-c", CLIENT, address, count, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)

    def do(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def prepare(lab, method):
    cluster = Cluster(lab, method, servers=2)
    for server in cluster.servers:
        process = server.start(PYTHON, "-c", ECHO, server.name, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
    cluster.start()
    service = f"{VIP[4]}:7"
    cluster.sluiced.ipvsadm(f"-A -t {service} -s rr")
    for number in (1, 2):
        cluster.sluiced.ipvsadm(f"-a -t {service} -r {server_address(number, 4)}:7 {FLAG[method]}")
    return cluster, service


def sluice(cluster, *words):
    return cluster.director.run(BIN / "sluice", *(str(word) for word in words))


@pytest.mark.parametrize("method", ["nat", "dr", "tun"])
def test_clients_of_a_drained_server_are_reset(lab, method):
    cluster, service = prepare(lab, method)
    sluice(cluster, "service", "set", "-t", service, "--drain", 2, "--at-end", "reset")
    clients = Clients(cluster.client, VIP[4], 4)
    before = clients.do("ask")
    assert sorted(before) == ["rs1", "rs1", "rs2", "rs2"]
    cluster.sluiced.ipvsadm(f"-d -t {service} -r {server_address(1, 4)}:7")
    assert clients.do("ask") == before  # it drains
    # Clients that say nothing learn of it too: they are made to speak.
    after = clients.do("wait")
    assert after == ["ConnectionResetError" if name == "rs1" else "TimeoutError"
                     for name in before]
    assert cluster.sluiced.ipvsadm("-Lnc").count("ESTABLISHED") == 2


def test_connections_are_ended_by_command(lab):
    cluster, service = prepare(lab, "nat")
    clients = Clients(cluster.client, VIP[4], 4)
    before = clients.do("ask")
    sluice(cluster, "connections", "delete", "--server", server_address(2, 4), "-t", service)
    after = clients.do("wait")
    assert after == ["ConnectionResetError" if name == "rs2" else "TimeoutError"
                     for name in before]
    wait_until(lambda: cluster.sluiced.ipvsadm("-Lnc").count("ESTABLISHED") == 2, "two are left")
    assert "connections_ended" in sluice(cluster, "status")


def test_options_are_saved_and_restored(lab):
    cluster, service = prepare(lab, "nat")
    words = f"-t {service} --drain 30 --at-end reset --reuse-ports on --timeout-tcp 99"
    sluice(cluster, "service", "set", *words.split())
    saved = sluice(cluster, "save")
    assert f"service set {words}\n" in saved
    cluster.sluiced.ipvsadm("-C")
    cluster.director.run(BIN / "sluice", "restore", "--atomic", input=saved)
    assert sluice(cluster, "service", "list") == words + "\n"
    Clients(cluster.client, VIP[4], 1).do("ask")
    assert " 01:3" in cluster.sluiced.ipvsadm("-Lnc")  # 99 seconds, less some
