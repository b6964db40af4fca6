#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what changes and listings cost with many services, while packets flow.

    bench/control.py [--services 10000] [--servers 10]

A client asks a UDP service through the director a thousand times a second and notes how long each
answer took; meanwhile the rules are loaded, listed and changed with the programs of build/bin
(SLUICE_BIN: others). Needs root; builds and removes its own namespaces.
"""

import argparse
import concurrent.futures
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "e2e"))

from cluster import VIP, Cluster, server_address  # noqa: E402  (found by the line above)
from lab import BIN, Lab, PYTHON  # noqa: E402

ECHO_PORT = 7
ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(2048)
    s.sendto(data, peer)
"""
# Sends a packet a millisecond; at the end (a line on its input) prints how many were sent, how many
# came back and the answer times in microseconds: median, 99 percent, longest.
PROBE = """
import select, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7))
s.setblocking(False)
sent, times, next_time = 0, [], time.monotonic()
while not select.select([sys.stdin], [], [], 0)[0]:
    now = time.monotonic()
    if now >= next_time:
        s.send(struct.pack("d", now)); sent += 1; next_time = max(next_time + 0.001, now - 0.1)
    select.select([s], [], [], 0.0003)
    try:
        while True:
            times.append(time.monotonic() - struct.unpack("d", s.recv(64))[0])
    except BlockingIOError:
        pass
time.sleep(0.3)
try:
    while True:
        times.append(time.monotonic() - struct.unpack("d", s.recv(64))[0])
except BlockingIOError:
    pass
times.sort()
pick = lambda share: int(times[min(int(len(times) * share), len(times) - 1)] * 1e6) if times else 0
print(sent, len(times), pick(0.5), pick(0.99), pick(1))
"""


def real(number, server, servers):
    """The address of a server of service `number`: of few servers each service has its own."""
    if servers <= 256:
        return f"10.0.{server}.{number % 250 + 2}"
    return f"10.{10 + (server >> 16)}.{server >> 8 & 255}.{server & 255}"


def rules(services, servers):
    lines = []
    for number in range(services):
        virtual = f"10.{100 + number // 65536}.{number // 256 % 256}.{number % 256}:80"
        lines.append(f"-A -t {virtual} -s wlc")
        lines += [f"-a -t {virtual} -r {real(number, server, servers)}:80 -g -w {server % 1000 + 1}"
                  for server in range(servers)]
    return lines


class Edit:
    """`ipvsadm -e` as the bytes that it sends, over a connection that stays."""

    def __init__(self, node, service, server):
        self.node, self.service, self.server = node, service, server

    def process(self, weight):
        """A whole run of the program."""
        start = time.perf_counter()
        self.node.run(BIN / "ipvsadm", "-e", "-t", self.service, "-r", self.server, "-g", "-w",
                      weight)
        return time.perf_counter() - start

    # Runs in the director's namespace, since the socket's name belongs to it.
    CLIENT = """
import socket, struct, sys, time
def attribute(kind, data):
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
address, port, server, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
service = (attribute(1, struct.pack("H", 2)) + attribute(2, struct.pack("H", 6)) +
           attribute(3, socket.inet_aton(address) + bytes(12)) + attribute(4, struct.pack("!H", port)))
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("\\0sluice/ipvs")
times = []
for number in range(count):
    destination = (attribute(1, socket.inet_aton(server) + bytes(12)) +
                   attribute(2, struct.pack("!H", port)) + attribute(3, struct.pack("I", 3)) +
                   attribute(4, struct.pack("I", number % 50 + 1)) +
                   attribute(5, struct.pack("I", 0)) + attribute(6, struct.pack("I", 0)) +
                   attribute(11, struct.pack("H", 2)))
    body = (struct.pack("BBH", 6, 1, 0) + attribute(0x8001, service) +
            attribute(0x8002, destination))
    message = struct.pack("IHHII", 16 + len(body), 0x20, 5, number, 0) + body
    start = time.perf_counter()
    s.send(message)
    answer = s.recv(65536)
    times.append(time.perf_counter() - start)
    assert struct.unpack_from("i", answer, 16)[0] == 0, answer
times.sort()
print(int(times[len(times) // 2] * 1e6), int(times[int(len(times) * 0.99)] * 1e6))
"""

    def requests(self, count):
        """Median and 99th percentile in microseconds of the request alone."""
        address, port = self.service.split(":")
        done = self.node.run(PYTHON, "-c", self.CLIENT, address, port, self.server.split(":")[0],
                             count)
        return [int(word) for word in done.split()]


class Bench:
    def __init__(self, lab, arguments):
        self.arguments = arguments
        self.cluster = Cluster(lab, "nat", servers=1)
        self.cluster.start()
        self.director = self.cluster.director
        self.lines = rules(arguments.services, arguments.servers)
        self.file = pathlib.Path(lab.directory) / "rules"
        self.file.write_text("\n".join(self.lines) + "\n")
        echo = self.cluster.servers[0].start(PYTHON, "-c", ECHO, stdout=subprocess.PIPE, text=True)
        echo.stdout.readline()  # it listens: before, a probe would be refused
        self.add_probed_service()

    def add_probed_service(self):
        service = f"{VIP[4]}:{ECHO_PORT}"
        self.cluster.sluiced.ipvsadm(f"-A -u {service} -s rr")
        self.cluster.sluiced.ipvsadm(f"-a -u {service} -r {server_address(1, 4)}:{ECHO_PORT} -m")

    def ipvsadm(self, *words, program="ipvsadm", **options):
        return self.director.run(BIN / program, *words, **options)

    def daemon_cpu(self):
        """Seconds of processor time that the daemon has used."""
        fields = pathlib.Path(f"/proc/{self.cluster.sluiced.process.pid}/stat").read_text()
        user, system = fields.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def measure(self, name, work, count=1, times_itself=False):
        """Runs `work` while packets flow and prints one line."""
        probe = self.cluster.client.start(PYTHON, "-c", PROBE, VIP[4], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        times = []
        cpu = self.daemon_cpu()
        for _ in range(count):
            start = time.perf_counter()
            note = work()
            times.append(time.perf_counter() - start)
        out, _ = probe.communicate("\n", timeout=30)
        sent, came, median, slow, longest = map(int, out.split())
        taken = note if times_itself else f"{statistics.median(times) * 1000:.1f} ms"
        taken += f", daemon {(self.daemon_cpu() - cpu) / count * 1000:.0f} ms"
        print(f"{name:<44} {taken:>30}   packets: {sent - came} of {sent} lost, "
              f"{median} / {slow} / {longest} us", flush=True)
        return statistics.median(times)

    def restore(self):
        with self.file.open() as rules_file:
            self.ipvsadm("-R", stdin=rules_file)

    def ten_clients(self):
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: self.ipvsadm("-Ln"), range(10)))

    def run(self):
        count = len(self.lines)
        print(f"{self.arguments.services} services with {self.arguments.servers} servers each, "
              f"{count} rules; answer times are median / 99 % / longest")
        self.measure("nothing", lambda: time.sleep(2))
        self.measure(f"ipvsadm -R, {count} rules", self.restore)
        self.measure("ipvsadm -Ln", lambda: self.ipvsadm("-Ln"), 3)
        self.measure("ipvsadm -Ln --stats", lambda: self.ipvsadm("-Ln", "--stats"), 3)
        self.measure("ipvsadm -Sn", lambda: self.ipvsadm("-Sn"), 3)
        edit = Edit(self.director, "10.100.0.1:80", f"{real(1, 0, self.arguments.servers)}:80")
        self.measure("ipvsadm -e, the whole program", lambda: edit.process(7), 20)
        self.measure("-e, the request (median, 99 %)",
                     lambda: "{} us, {} us".format(*edit.requests(2000)), times_itself=True)
        self.measure("ten times ipvsadm -Ln at once", self.ten_clients)
        self.measure("sluice restore --atomic --replace", self.replace)
        start = time.perf_counter()
        self.ipvsadm("-C")
        print(f"{'ipvsadm -C':<44} {(time.perf_counter() - start) * 1000:>27.1f} ms")
        self.add_probed_service()
        self.measure(f"ipvsadm -R again, {count} rules", self.restore)

    def replace(self):
        service = f"{VIP[4]}:{ECHO_PORT}"
        text = self.file.read_text() + (
            f"-A -u {service} -s rr\n"
            f"-a -u {service} -r {server_address(1, 4)}:{ECHO_PORT} -m\n")
        self.ipvsadm("restore", "--atomic", "--replace", "-", program="sluice", input=text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--servers", type=int, default=10)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as ^C does
    with tempfile.TemporaryDirectory(prefix="sluice-bench") as directory:
        lab = Lab("bench-control", directory)
        try:
            Bench(lab, arguments).run()
        finally:
            left = lab.close()
    if left:
        sys.exit(f"left behind: {', '.join(left)}")


if __name__ == "__main__":
    main()
