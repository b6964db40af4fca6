# SPDX-License-Identifier: Apache-2.0
"""Networks of namespaces for end-to-end tests.

A lab is a set of nodes (network namespaces named after the test) on switches (bridges in a
namespace of their own). It is torn down whatever happens, and says what was left behind.
"""

import collections
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(os.environ.get("SLUICE_BIN", HERE.parent.parent / "build" / "bin"))
PYTHON = sys.executable
RUN_LIMIT_SECONDS = 60


class Failure(AssertionError):
    """A command of a test failed; the text tells all of it."""


def wait_until(condition, what, seconds=10.0):
    """Polls until `condition()` is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)


def execute(command, check=True, timeout=RUN_LIMIT_SECONDS, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout, check=False,
                          **options)
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}\nexit status {done.returncode}\n"
                      f"{done.stdout}{done.stderr}")
    return done


class Node:
    """A network namespace."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.namespace = f"{lab.prefix}-{name}"
        execute(["ip", "netns", "add", self.namespace])
        self.run("ip", "link", "set", "lo", "up")
        # Addresses can be used at once; nobody else is there who could have them.
        self.sysctl("net.ipv6.conf.all.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.accept_ra", 0)
        self.sysctl("net.ipv4.conf.all.rp_filter", 0)
        self.sysctl("net.ipv4.conf.default.rp_filter", 0)
        self.interfaces = []
        self.had_daemon = False
        self.daemons = []
        self.ports = []  # the other ends of their cables, on the switch

    def command(self, *words):
        # Not "ip netns exec": that mounts a fresh /sys, which hides pinned maps.
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, words)]

    def run(self, *words, **options):
        """Runs a command here and returns its output; fails with all of it."""
        return execute(self.command(*words), **options).stdout

    def attempt(self, *words, **options):
        """As `run`, but returns the finished process whatever its exit status."""
        return execute(self.command(*words), check=False, **options)

    def pins(self):
        """Where a director here keeps what outlives it."""
        cookie = self.run(PYTHON, "-c", "import socket\n"
                          "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:\n"
                          "    raw = any_socket.getsockopt(socket.SOL_SOCKET, 71, 8)\n"
                          "print(format(int.from_bytes(raw, 'little'), 'x'))")  # SO_NETNS_COOKIE
        return pathlib.Path("/sys/fs/bpf/sluice", cookie.strip())

    def start(self, *words, **options):
        """Starts a command that the lab ends, and that does not outlive a lab that is killed."""
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.command(*words)],
                                   **options)
        self.lab.processes.append(process)
        return process

    def sysctl(self, name, value):
        # The interface's name may hold dots: only the kernel's own separators are replaced.
        self.run("sysctl", "-q", "-w", f"{name}={value}")

    def address(self, interface, *addresses):
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            self.run("ip", "address", "add", address, "dev", interface, *nodad)

    def route(self, *words):
        family = ["-6"] if any(":" in str(word) for word in words) else []
        self.run("ip", *family, "route", "add", *words)

    def mac(self, interface):
        return json.loads(self.run("ip", "-j", "link", "show", interface))[0]["address"]

    def has_xdp(self, interface):
        link = json.loads(self.run("ip", "-j", "-d", "link", "show", interface))[0]
        return "xdp" in link

    def curl(self, address, path="/", port=80, check=True, timeout=10, extra=()):
        """Fetches a page from `address`; returns its text."""
        host = f"[{address}]" if ":" in address else address
        return execute(self.command("curl", "-sS", "-g", "--max-time", timeout, *extra,
                                    f"http://{host}:{port}{path}"), check=check).stdout

    def fetch_many(self, address, count, port=80):
        """Fetches the page `count` times, each over a connection of its own; counts answers.
        What failed is counted under an empty name."""
        host = f"[{address}]" if ":" in address else address
        done = self.attempt(
            "curl", "-sS", "-g", "--max-time", 10, "-H", "Connection: close", "-w", "\n",
            *(f"http://{host}:{port}/?{number}" for number in range(count)), timeout=120)
        answers = collections.Counter(line for line in done.stdout.split("\n") if line)
        if answers.total() != count:
            answers[""] = count - answers.total()
        return answers

    def fetch_at_once(self, address, count, parallel):
        """As `fetch_many`, with `parallel` connections at any time."""
        done = self.run(PYTHON, HERE / "client.py", address, count, parallel, timeout=120)
        return collections.Counter(json.loads(done))


class Lab:
    def __init__(self, name, directory):
        # The number of the process keeps runs apart that go on at the same time.
        short = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
        self.prefix = f"sl{os.getpid()}-{short}"
        self.directory = pathlib.Path(directory)
        self.processes = []
        self.nodes = {}
        self.logs = []
        self.numbers = itertools.count()
        self.remove_remains()
        self.switch = self.node("switch")

    def node(self, name):
        self.nodes[name] = node = Node(self, name)
        return node

    def bridge(self, name):
        self.switch.run("ip", "link", "add", name, "type", "bridge", "mcast_snooping", "0")
        self.switch.run("ip", "link", "set", name, "up")
        return name

    def connect(self, node, interface, bridge):
        """Gives `node` an interface with a cable to `bridge`."""
        port = f"port{next(self.numbers)}"
        execute(["ip", "link", "add", port, "netns", self.switch.namespace, "type", "veth",
                 "peer", "name", interface, "netns", node.namespace])
        self.switch.run("ip", "link", "set", port, "master", bridge, "up")
        node.run("ip", "link", "set", interface, "up")
        node.interfaces.append(interface)
        node.ports.append(port)

    def serve(self, node, name=None, port=80):
        """Starts server.py on `node`, waits until it listens and returns its process."""
        name = name or node.name
        ready = self.directory / f"ready-{name}-{next(self.numbers)}"
        process = node.start(PYTHON, HERE / "server.py", "--name", name, "--port", port,
                             "--ready", ready)
        wait_until(ready.exists, f"server {name} listens")
        return process

    # Cleaning up.

    def attachments(self):
        """BPF programs on interfaces of nodes that ran a daemon, and pins, in words."""
        left = [f"{hook} program on {program.get('devname')} of {node.name}"
                for node in self.nodes.values() if node.had_daemon
                for hooks in json.loads(node.run("bpftool", "-j", "net", "list"))
                for hook, programs in hooks.items() if isinstance(programs, list)
                for program in programs]
        return left + [f"pins of {node.name}" for node in self.nodes.values()
                       if node.had_daemon and node.pins().exists()]

    def remove_pins_of_killed(self):
        """A director that was killed leaves its pins to the next, which there is none."""
        for node in self.nodes.values():
            if any(daemon.poll() == -signal.SIGKILL for daemon in node.daemons):
                shutil.rmtree(node.pins(), ignore_errors=True)

    def namespaces(self):
        listed = json.loads(execute(["ip", "-j", "netns", "list"]).stdout or "[]")
        return [entry["name"] for entry in listed if entry["name"].startswith(self.prefix + "-")]

    @staticmethod
    def remove_remains():
        """Removes namespaces of runs that were killed."""
        for entry in json.loads(execute(["ip", "-j", "netns", "list"]).stdout or "[]"):
            owner = re.match(r"sl(\d+)-", entry["name"])
            if owner and not pathlib.Path("/proc", owner.group(1)).exists():
                execute(["ip", "netns", "delete", entry["name"]], check=False)

    def remove_namespaces(self):
        for name in self.namespaces():
            execute(["ip", "netns", "delete", name], check=False)

    def close(self):
        """Ends and removes everything; returns what could not be removed, as a list of words."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        left = []
        self.remove_pins_of_killed()
        try:
            # A program goes some time after the process that held it.
            wait_until(lambda: not self.attachments(), "nothing is attached")
        except Failure:
            left = self.attachments()
        self.remove_namespaces()
        return left + [f"namespace {name}" for name in self.namespaces()]

    def dump(self):
        """All that may tell why a test failed."""
        parts = []
        for log in self.logs:
            parts.append(f"--- {log.name}\n{log.read_text(errors='replace')[-8000:]}")
        for node in self.nodes.values():
            parts.append(f"--- {node.name}")
            for words in (["ip", "-br", "address"], ["ip", "route"], ["ip", "-6", "route"],
                          ["ip", "neigh"], ["bpftool", "net", "list"]):
                parts.append(f"$ {' '.join(words)}\n" + node.attempt(*words).stdout)
            for interface in node.interfaces:
                counts = node.attempt("ethtool", "-S", interface).stdout
                counts = [line.strip() for line in counts.splitlines()
                          if not line.rstrip().endswith(": 0")]
                parts.append(f"{interface}: " + ", ".join(counts))
        return "\n".join(parts)


class Sluiced:
    """A daemon on a node."""

    def __init__(self, node, *arguments, interfaces=None, program=BIN / "sluiced"):
        self.node = node
        node.had_daemon = True
        number = next(node.lab.numbers)
        self.log = node.lab.directory / f"sluiced-{number}.log"
        node.lab.logs.append(self.log)
        notify_path = str(node.lab.directory / f"notify-{number}")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(notify_path)
        notify.setblocking(False)
        names = node.interfaces if interfaces is None else interfaces
        words = list(itertools.chain.from_iterable(("--interface", name) for name in names))
        with self.log.open("wb") as log:
            self.process = node.start(program, *words, *arguments, stderr=log,
                                      env={**os.environ, "NOTIFY_SOCKET": notify_path})
        node.daemons.append(self.process)

        def is_ready():
            if self.process.poll() is not None:
                raise Failure(f"sluiced ended with status {self.process.returncode}: "
                              f"{self.log.read_text()}")
            try:
                return b"READY=1" in notify.recv(4096)
            except BlockingIOError:
                return False

        try:
            wait_until(is_ready, "sluiced is ready", seconds=30.0)
        finally:
            notify.close()

    def stop(self, number=signal.SIGTERM, timeout=10):
        """Ends the daemon and returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def ipvsadm(self, *words, **options):
        """Runs ipvsadm; words may hold several separated by blanks."""
        split = list(itertools.chain.from_iterable(str(word).split() for word in words))
        return self.node.run(BIN / "ipvsadm", *split, **options)

    def connection_counts(self, vip):
        """{destination: connections} of all services of the address, as -Ln --stats counts them."""
        counts = collections.Counter()
        is_ours = False
        for line in self.ipvsadm("-Ln --stats --exact").splitlines():
            words = line.split()
            if words and words[0] in ("TCP", "UDP", "SCTP", "FWM"):
                is_ours = vip in words[1]
            elif words and words[0] == "->" and is_ours:
                counts[words[1]] += int(words[2])
        return counts
