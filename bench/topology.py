# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end benchmarks have in common: three namespaces in a row, and who forwards.

    client c0 ───── d0 director d1 ───── s0 server

A generator (bin/sluice_traffic) makes UDP packets of many clients on c0, inside the kernel, and
counts at s0 (or c0) those that arrive. All has the same shape whoever forwards: Sluice, a bare XDP
program, the host's routes, nftables or iptables.
"""

import fcntl
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "e2e"))

from cluster import FLAG, HOST, INSIDE, LENGTH, bracketed, server_address  # noqa: E402
from lab import BIN, Failure, Lab, Sluiced, execute, wait_until  # noqa: E402,F401

PORT = 80
SERVERS = 4
CLIENTS = {4: "198.18.0.0", 6: "2001:db8:c::"}
CLIENTS_LENGTH = {4: 15, 6: 64}
CLIENT = {4: "192.0.2.254", 6: "2001:db8:1::fe"}
DIRECTOR = {4: "192.0.2.1", 6: "2001:db8:1::1"}
OUTSIDE = {4: "192.0.2.0/24", 6: "2001:db8:1::/64"}
VIP = {4: "192.0.2.10", 6: "2001:db8:1::10"}
ETHERNET, UDP = 14, 8
IP = {4: 20, 6: 40}
GENERATOR_CPU = 0


def build(*targets):
    """Builds what a benchmark needs, unless SLUICE_BIN names a folder where it is."""
    if "SLUICE_BIN" in os.environ:
        return
    folder = HERE.parent / "build"
    if not (folder / "build.ninja").exists():
        execute(["cmake", "--preset", "release"], cwd=HERE.parent, timeout=120)
    execute(["ninja", "-C", folder, *targets], timeout=3600)


class Traffic:
    """A generator on c0 whose packets are counted at a sink."""

    def __init__(self, row, family, destination, sink, overhead=0, counted=0):
        client, director, _ = row.nodes
        node, interface = sink
        self.process = client.lab.start_here(
            ["taskset", "-c", str(GENERATOR_CPU), "nice", "-n", "-20", BIN / "sluice_traffic",
             "generate", client.namespace, "c0", node.namespace, interface,
             ETHERNET + IP[family] + UDP + overhead, CLIENTS[family], destination, PORT,
             director.mac("d0"), counted],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise Failure("the generator did not start")

    def stop(self):
        """Ends a run with `seconds` that another thread waits for."""
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()

    def run(self, packets, **options):
        words = " ".join(f"{name}={int(value)}" for name, value in options.items())
        self.process.stdin.write(f"run packets={int(packets)} {words}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failure("the generator ended")
        return json.loads(line)


class BenchLab(Lab):
    def start_here(self, words, **options):
        """Starts a process that is not in a namespace yet; the lab ends it."""
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, words)], **options)
        self.processes.append(process)
        return process


class Row:
    """Client, director and server, connected by two cables, with fixed neighbours."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.nodes = [lab.node(f"{name}-{part}") for part in ("c", "d", "s")]
        self.client, self.director, self.server = self.nodes
        self.cable(self.client, "c0", self.director, "d0")
        self.cable(self.director, "d1", self.server, "s0")
        self.director.sysctl("net.ipv4.ip_forward", 1)
        self.director.sysctl("net.ipv6.conf.all.forwarding", 1)
        for family in (4, 6):
            self.set_up(family)

    @staticmethod
    def cable(one, name, other, other_name):
        execute(["ip", "link", "add", name, "netns", one.namespace, "type", "veth",
                 "peer", "name", other_name, "netns", other.namespace])
        for node, interface in ((one, name), (other, other_name)):
            node.run("ip", "link", "set", interface, "up")
            # XDP sends to a cable whose other end does receive offload.
            node.run("ethtool", "-K", interface, "gro", "on", "tx", "off")
            node.interfaces.append(interface)

    def set_up(self, family):
        client, director, server = self.nodes
        client.address("c0", f"{CLIENT[family]}/{LENGTH[family]}")
        director.address("d0", f"{DIRECTOR[family]}/{LENGTH[family]}",
                         f"{VIP[family]}/{HOST[family]}")
        director.address("d1", f"{INSIDE[family]}/{LENGTH[family]}")
        director.route(f"{CLIENTS[family]}/{CLIENTS_LENGTH[family]}", "via", CLIENT[family])
        client.route("default", "via", DIRECTOR[family])
        server.route(f"{CLIENTS[family]}/{CLIENTS_LENGTH[family]}", "dev", "s0")
        self.neighbour(director, CLIENT[family], "d0", client.mac("c0"))
        self.neighbour(client, DIRECTOR[family], "c0", director.mac("d0"))
        self.neighbour(client, VIP[family], "c0", director.mac("d0"))
        self.neighbour(server, INSIDE[family], "s0", director.mac("d1"))
        for number in range(1, SERVERS + 1):
            address = server_address(number, family)
            server.address("s0", f"{address}/{LENGTH[family]}")
            self.neighbour(director, address, "d1", server.mac("s0"))

    @staticmethod
    def neighbour(node, address, interface, mac):
        node.run("ip", "neighbour", "replace", address, "lladdr", mac, "dev", interface)


class Subject:
    """Somebody who forwards from d0 to the servers. `flows`: as many connections will be made."""

    label = ""
    has_connections = True
    overhead = 0
    configuration = ""  # of the daemon, if there is one

    def __init__(self, lab, family, flows, counted=0):
        self.row = Row(lab, self.__class__.__name__.lower())
        self.director = self.row.director
        self.family, self.flows = family, flows
        self.set_up()
        self.traffic = Traffic(self.row, family, self.destination(), self.sink(),
                               self.overhead, counted)

    def destination(self):
        return VIP[self.family]

    def sink(self):
        return self.row.server, "s0"

    def set_up(self):
        pass

    def attach(self, *words):
        process = self.row.lab.start_here(
            [BIN / "sluice_traffic", "attach", self.director.namespace, "d0", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if process.stdout.readline() != "ready\n":
            raise Failure("the bare program did not start")

    def establish(self, rate=250_000, until_fast=True):
        """Makes the connections: each gets a packet; then (`until_fast`) two more, after which XDP
        knows it. What was lost is sent again."""
        if not self.has_connections:
            return
        for _ in range(8):
            done = self.traffic.run(self.flows, rate=rate, batch=16)
            if self.are_made(done):
                break
        if not until_fast:
            return
        for _ in range(8):
            self.traffic.run(2 * self.flows, each=2, block=self.flows, rate=rate, batch=16)
            if self.is_established():
                return
        raise Failure(f"{self.label}: {self.flows} connections could not be made; "
                      f"{self.connections()} were")

    def are_made(self, done):
        """True if all connections are there, by what became of their packets."""
        return done["received"] == self.flows or self.connections() >= self.flows

    def is_established(self):
        """True if all connections (but few) are as fast as they get."""
        return self.connections() >= self.flows

    def connections(self):
        """How many connections there are."""
        return 0

    def cpu_seconds(self):
        """Processor time of the process that forwards, if there is one."""
        return 0.0

    def steer_to(self, cpu):
        """The host's stack handles on that processor what d0 receives (RPS)."""
        execute(["ip", "netns", "exec", self.director.namespace, "sh", "-c",
                 f"echo {1 << cpu:x} > /sys/class/net/d0/queues/rx-0/rps_cpus"])


class Drop(Subject):
    label, has_connections = "generator alone", False

    def set_up(self):
        self.attach("drop")


class BareTx(Subject):
    label, has_connections = "bare XDP_TX", False

    def set_up(self):
        self.attach("tx")

    def sink(self):
        return self.row.client, "c0"


class BareRedirect(Subject):
    label, has_connections = "bare XDP_REDIRECT", False

    def set_up(self):
        self.attach("redirect", "d1")


class Forward(Subject):
    label, has_connections = "ip_forward", False

    def destination(self):
        return server_address(1, self.family)


class Tracked(Subject):
    """Connection tracking of the kernel, whose table Conntrack has made large."""

    def set_up(self):
        self.director.sysctl("net.netfilter.nf_conntrack_udp_timeout", 3600)
        self.director.sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", 3600)
        self.add_rules()

    def connections(self):
        return int(self.director.run("sysctl", "-n", "net.netfilter.nf_conntrack_count"))

    def remove_connections(self):
        self.director.run("conntrack", "-F", timeout=300)



class Nftables(Tracked):
    label = "nftables DNAT"

    def add_rules(self):
        family = "ip" if self.family == 4 else "ip6"
        servers = ", ".join(f"{number} : {server_address(number + 1, self.family)}"
                            for number in range(SERVERS))
        self.director.run("nft", "-f", "-", input=(
            f"table {family} balance {{\nchain requests {{\n"
            "type nat hook prerouting priority dstnat; policy accept;\n"
            f"{family} daddr {VIP[self.family]} udp dport {PORT} "
            f"dnat to numgen inc mod {SERVERS} map {{ {servers} }}\n}}\n}}\n"))


class Iptables(Tracked):
    label = "iptables DNAT"

    def add_rules(self):
        program = "iptables" if self.family == 4 else "ip6tables"
        for number in range(SERVERS):
            rest = SERVERS - number
            self.director.run(
                program, "-t", "nat", "-A", "PREROUTING", "-d", VIP[self.family], "-p", "udp",
                "--dport", PORT, "-m", "statistic", "--mode", "nth", "--every", rest,
                "--packet", 0, "-j", "DNAT", "--to-destination",
                f"{bracketed(server_address(number + 1, self.family))}:{PORT}")


class Sluice(Subject):
    method = "nat"
    spare = 1.0  # table size for a connection
    limit = 200_000  # sluice.punt_limit; this is the default

    def set_up(self):
        file = self.row.lab.directory / f"{self.row.name}.toml"
        file.write_text(self.configuration)
        self.daemon = Sluiced(self.director, "--config", file, "--table-size",
                              str(max(1024, int(self.flows * self.spare))))
        # What runs beside it must not decide how fast it is; the kernel's own way is in softirqs.
        os.setpriority(os.PRIO_PROCESS, self.daemon.process.pid, -20)
        self.set_limit(self.limit)
        self.daemon.ipvsadm("--set 0 0 7200")
        virtual = f"{bracketed(VIP[self.family])}:{PORT}"
        self.daemon.ipvsadm(f"-A -u {virtual} -s rr")
        for number in range(1, SERVERS + 1):
            real = f"{bracketed(server_address(number, self.family))}:{PORT}"
            self.daemon.ipvsadm(f"-a -u {virtual} -r {real} {FLAG[self.method]}")

    def set_limit(self, limit):
        self.director.run(BIN / "sluice", "sysctl", f"sluice.punt_limit={limit}")

    def establish(self, *arguments, **options):
        """All become connections, up to the last place."""
        self.set_limit(0)
        super().establish(*arguments, **options)
        self.set_limit(self.limit)

    def counter(self, name):
        status = self.director.attempt(BIN / "sluice", "status", "--all").stdout
        found = re.search(rf"^ *{name} +(\d+)", status, re.M)
        if not found:
            raise Failure(f"no {name} in the status:\n{status}")
        return int(found.group(1))

    def connections(self):
        status = json.loads(self.director.attempt(BIN / "sluice", "status", "--json").stdout)
        return status["connections"]

    def are_made(self, done):
        # Packets that come may be of connections that XDP sent on without the daemon.
        return self.connections() >= self.flows

    def is_established(self):
        return self.counter("xdp_flows") >= self.flows * 0.95

    def remove_connections(self):
        self.director.run(BIN / "sluice", "connections", "delete", "-u",
                          f"{bracketed(VIP[self.family])}:{PORT}", timeout=300)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.daemon.process.pid}/stat").read_text()
        user, system = fields.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class SluiceNat(Sluice):
    label = "Sluice NAT"


class SluiceDr(Sluice):
    label, method = "Sluice DR", "dr"


class SluiceTun(Sluice):
    label, method = "Sluice TUN", "tun"

    @property
    def overhead(self):
        return IP[self.family]


class OneArm:
    """The servers are beside the client: packets leave by the interface that they came in by, as
    where a director has a single one. Mixed into a subject."""

    configuration = 'xdp_tx = "on"\n'  # the sink is an XDP program

    def set_up(self):
        for number in range(1, SERVERS + 1):
            address = server_address(number, self.family)
            self.director.route(f"{address}/{HOST[self.family]}", "dev", "d0")
            self.row.neighbour(self.director, address, "d0", self.row.client.mac("c0"))
        for interface in ("all", "d0"):
            self.director.sysctl(f"net.ipv4.conf.{interface}.send_redirects", 0)
        super().set_up()

    def sink(self):
        return self.row.client, "c0"


class NftablesOneArm(OneArm, Nftables):
    label = "nftables DNAT, one arm"


class SluiceNatOneArm(OneArm, SluiceNat):
    label = "Sluice NAT, one arm"


class SluiceDrOneArm(OneArm, SluiceDr):
    label = "Sluice DR, one arm"


class Conntrack:
    """Makes the kernel's table large enough for so many connections while it is open: the sizes are
    the machine's, not a namespace's. One at a time."""

    def __init__(self, connections):
        self.wanted = {"net.netfilter.nf_conntrack_max": 2 * connections,
                       "net.netfilter.nf_conntrack_buckets": min(connections, 1 << 20)}
        self.before = {}

    def __enter__(self):
        self.lock = open("/run/lock/sluice-bench", "w", encoding="ascii")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        for name, value in self.wanted.items():
            now = int(execute(["sysctl", "-n", name]).stdout)
            if now < value:
                self.before[name] = now
                self.write(name, value)
        return self

    def __exit__(self, *_):
        for name, value in self.before.items():
            self.write(name, value)
        self.lock.close()

    @staticmethod
    def write(name, value):
        execute(["sysctl", "-q", "-w", f"{name}={value}"])


def spread(values, digits=2):
    """Median (lowest to highest)."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}-{max(values):.{digits}f})")


def ratios(values, base):
    """Ratios of rounds that were run as pairs."""
    return [value / other if other else float("nan") for value, other in zip(values, base)]


def machine():
    """What a table must say of where it was measured."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = execute(["git", "-C", HERE.parent, "rev-parse", "--short", "HEAD"], check=False)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg()[:2])
    return (f"{cpu.group(1) if cpu else 'unknown CPU'}, {os.cpu_count()} processors, Linux "
            f"{os.uname().release}, commit {commit.stdout.strip() or 'unknown'}, load {load}, "
            f"`{' '.join(['bench/' + pathlib.Path(sys.argv[0]).name, *sys.argv[1:]])}`")


def table(header, rows):
    """Prints a table as docs/performance.md has it."""
    print("| " + " | ".join(header) + " |")
    print("| " + " | ".join("---" if number == 0 else "---:" for number in range(len(header)))
          + " |")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)
