# SPDX-License-Identifier: Apache-2.0
"""Clients of the control socket that misbehave, and what others see of it: nothing."""

import concurrent.futures
import subprocess

from cluster import VIP, Cluster, server_address
from lab import BIN, PYTHON, wait_until

SERVICES = 1000

# Each asks for the long list of services and then does what its name says; "ready" when it has begun.
BEHAVIOURS = {
    "stops reading": """
ask(s); ready(); time.sleep(60)
""",
    "sends garbage": """
import random
ready()
while True:
    try:
        s.send(random.randbytes(random.randrange(1, 4000)))
        s.recv(65536, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
    except OSError:
        s = connect()
""",
    "asks and never reads, again and again": """
ready()
while True:
    s = connect(); ask(s); s.close()
""",
    "forks and dies": """
import os
ready()
while True:
    child = os.fork()
    if child == 0:
        ask(s); os._exit(9)
    os.waitpid(child, 0)
    s = connect()
""",
    "begins a transaction and sleeps": """
s.send(message(0x21, 17, 5)); s.recv(65536)
s.send(message(0x20, 17, 5)); s.recv(65536)  # flush: kept, and never committed
ready(); time.sleep(60)
""",
}
PRELUDE = """
import socket, struct, sys, time
def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("\\0sluice/ipvs")
    return s
def message(family, command, flags):
    body = struct.pack("BBH", command, 1, 0)
    return struct.pack("IHHII", 16 + len(body), family, flags, 1, 0) + body
def ask(s):
    s.send(message(0x20, 4, 0x305))
def ready():
    print("ready", flush=True)
s = connect()
"""


def test_clients_that_misbehave_disturb_nobody(lab):
    cluster = Cluster(lab, "nat", servers=1)
    daemon = cluster.start()
    service = f"{VIP[4]}:80"
    daemon.ipvsadm(f"-A -t {service} -s rr")
    daemon.ipvsadm(f"-a -t {service} -r {server_address(1, 4)}:80 -m")
    director = cluster.director
    director.run(BIN / "ipvsadm", "-R", input="".join(
        f"-A -t 10.1.{number // 250}.{number % 250 + 1}:80 -s rr\n" for number in range(SERVICES)))
    clients = [director.start(PYTHON, "-c", PRELUDE + behaviour, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
               for behaviour in BEHAVIOURS.values()]
    for client in clients:
        assert client.stdout.readline() == "ready\n"

    def list_all(_):
        return director.run(BIN / "ipvsadm", "-Ln").count("\nTCP ")

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert list(pool.map(list_all, range(10))) == [SERVICES + 1] * 10
    assert cluster.client.fetch_many(VIP[4], 20)["rs1"] == 20
    for client in clients:
        assert client.poll() is None, "it went on all the time"
        client.kill()
        client.wait()
    # Nothing is left of them: only our own client is served now.
    wait_until(lambda: director.run("ss", "-x", "-a").count("@sluice/ipvs") <= 1,
               "their connections are gone")
    assert list_all(0) == SERVICES + 1
    assert daemon.process.poll() is None
