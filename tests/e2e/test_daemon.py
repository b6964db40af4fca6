# SPDX-License-Identifier: Apache-2.0
"""The daemon's life: starting, refusing, being asked, ending."""

import os
import re
import signal
import subprocess
import time

from cluster import VIP, Cluster
from lab import BIN, Sluiced, wait_until


def refusal(node, *words, **options):
    """Starts a daemon that must refuse at once; returns what it says."""
    done = node.attempt(BIN / "sluiced", *words, timeout=10, **options)
    assert done.returncode != 0, done
    return done.stderr


def test_sigterm_leaves_nothing(lab, director):
    for number in (signal.SIGTERM, signal.SIGINT):
        sluiced = Sluiced(director)
        assert director.has_xdp("eth0")
        assert sluiced.stop(number) == 0
        wait_until(lambda: not director.has_xdp("eth0"), "the XDP program is gone")
        links = director.run("ip", "-br", "link").split("\n")
        names = sorted(line.split()[0].split("@")[0] for line in links if line)
        assert names == ["eth0", "lo"]
        assert "qdisc clsact" not in director.run("tc", "qdisc", "show")
        assert lab.attachments() == []


def test_a_second_daemon_is_refused(director):
    first = Sluiced(director)
    first.ipvsadm("-A -t 198.51.100.10:80 -s rr")
    said = refusal(director, "--interface", "eth0")
    assert "another sluiced serves this network namespace already" in said
    # The first one is untouched.
    assert director.has_xdp("eth0")
    assert "198.51.100.10:80" in first.ipvsadm("-Ln")


def test_each_namespace_has_its_own(lab, director):
    other = lab.node("other")
    lab.connect(other, "eth0", "ext")
    first, second = Sluiced(director), Sluiced(other)
    first.ipvsadm("-A -t 198.51.100.10:80 -s rr")
    assert "198.51.100.10:80" in first.ipvsadm("-Ln")
    assert "198.51.100.10:80" not in second.ipvsadm("-Ln")


def test_an_unknown_interface_is_named(director):
    assert "nosuch0" in refusal(director, "--interface", "nosuch0")
    assert not director.has_xdp("eth0")


def test_wrong_options_are_named(director, lab):
    assert "unknown option --quick" in refusal(director, "--quick")
    assert "unknown XDP mode 'fast'" in refusal(director, "--xdp-mode", "fast")
    file = lab.directory / "sluiced.toml"
    file.write_text('interfaces = ["eth0"]\ntable_sise = 5\n')
    assert f"{file}:2:1: unknown key 'table_sise'" in refusal(director, "--config", file)
    assert "there is no group 'nosuch'" in refusal(director, "--socket-group", "nosuch")


def test_no_privileges(director):
    unprivileged = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                    "--bounding-set", "-all"]
    done = director.attempt(*unprivileged, BIN / "sluiced", "--interface", "eth0")
    assert done.returncode == 1
    assert "no privileges" in done.stderr and "run as root" in done.stderr
    # A client without privileges is answered as the kernel answers it.
    sluiced = Sluiced(director)
    done = director.attempt(*unprivileged, BIN / "ipvsadm", "-Ln")
    assert done.returncode != 0
    assert done.stdout == ""
    assert re.search("permission|permitted", done.stderr, re.I), done.stderr
    sluiced.ipvsadm("-Ln")


def test_a_group_may_be_admitted(director):
    Sluiced(director, "--socket-group", "nogroup")
    member = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
              "--bounding-set", "-all"]
    done = director.attempt(*member, BIN / "ipvsadm", "-Ln")
    assert done.returncode == 0, done.stderr
    outsider = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups",
                "--bounding-set", "-all"]
    assert director.attempt(*outsider, BIN / "ipvsadm", "-Ln").returncode != 0


def test_no_daemon(director):
    done = director.attempt(BIN / "ipvsadm", "-Ln")
    assert done.returncode != 0
    assert done.stderr


def test_rules_at_the_start(lab, director):
    rules = lab.directory / "rules"
    rules.write_text("-A -t 198.51.100.10:80 -s wrr\n"
                     "-a -t 198.51.100.10:80 -r 10.0.0.2:80 -m -w 5\n")
    sluiced = Sluiced(director, "--rules", rules)
    assert sluiced.ipvsadm("-Sn") == rules.read_text()
    sluiced.stop()

    rules.write_text("-A -t 198.51.100.10:80 -s nosuchscheduler\n")
    said = refusal(director, "--interface", "eth0", "--rules", rules)
    assert str(rules) in said
    assert not director.has_xdp("eth0")
    said = refusal(director, "--interface", "eth0", "--rules", lab.directory / "none")
    assert "No such file" in said


def test_configuration_file(lab, director):
    file = lab.directory / "sluiced.toml"
    file.write_text('interfaces = ["eth0"]\nxdp_mode = "generic"\ntable_size = 1000\n')
    Sluiced(director, "--config", file, interfaces=[])
    assert "xdpgeneric" in director.run("ip", "link", "show", "eth0")


def test_interfaces_are_found_without_being_named(director):
    Sluiced(director, interfaces=[])
    assert director.has_xdp("eth0")


def cpu_seconds(process):
    fields = open(f"/proc/{process.pid}/stat", encoding="ascii").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_costs_nothing(director):
    sluiced = Sluiced(director)
    sluiced.ipvsadm("-A -t 198.51.100.10:80 -s rr")
    before, start = cpu_seconds(sluiced.process), time.monotonic()
    wait_until(lambda: time.monotonic() - start > 2, "two seconds pass")
    assert cpu_seconds(sluiced.process) - before <= 0.05


def test_a_listing_that_nobody_reads_holds_up_nothing(lab):
    """A client asks for 20,000 connections and does not read; another lists them; packets pass."""
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start("--table-size", 60000)
    cluster.add_service(4, protocol="-u")
    make_connections(cluster.client, 20000)
    everything = sluiced.ipvsadm("-Lnc")
    count = len(re.findall("^UDP ", everything, re.M))
    assert count == 20000

    stuck = subprocess.Popen(cluster.director.command(BIN / "ipvsadm", "-Lnc"),
                             stdout=subprocess.PIPE)
    lab.processes.append(stuck)
    os.kill(stuck.pid, signal.SIGSTOP)
    try:
        cluster.add_service(4)
        assert cluster.client.fetch_many(VIP[4], 5) == {"rs1": 5}
        assert len(re.findall("^UDP ", sluiced.ipvsadm("-Lnc"), re.M)) == 20000
    finally:
        os.kill(stuck.pid, signal.SIGCONT)
    # It left in the middle of its answer. That is no error, and nobody noticed.
    stuck.kill()
    stuck.wait()
    sluiced.ipvsadm("-Ln")
    assert "error" not in sluiced.log.read_text()


FLOOD = """
import socket, sys
address, count = sys.argv[1], int(sys.argv[2])
made = 0
for first in range(0, count, 500):
    sockets = []
    for number in range(first, min(first + 500, count)):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.settimeout(2)
        # Ports in order: each is used once.
        udp.bind(("", 10000 + number))
        udp.connect((address, 80))
        sockets.append(udp)
    for udp in sockets:
        for attempt in range(5):
            udp.send(b"x")
            try:
                udp.recv(100)
                break
            except TimeoutError:
                pass
    for udp in sockets:
        udp.close()
"""


def make_connections(client, count):
    client.run("python3", "-c", FLOOD, VIP[4], count, timeout=60)


SENDER = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect((sys.argv[1], 80))
while True:
    try:
        udp.send(b"x" * 18)
    except OSError:
        pass
"""


def test_control_is_answered_under_a_flood(lab):
    """Packets as fast as a client can send them: the administrator is still heard."""
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start()
    virtual = cluster.add_service(4, protocol="-u")
    for _ in range(2):
        cluster.client.start("python3", "-c", SENDER, VIP[4])

    def packets():
        return int(re.search(r"^UDP +\S+ +\d+ +(\d+)",
                             sluiced.ipvsadm("-Ln --stats --exact", timeout=5), re.M).group(1))

    wait_until(lambda: packets() > 1000, "the flood comes")
    for _ in range(5):
        sluiced.ipvsadm(f"-e -u {virtual} -r 10.0.0.11:80 -m -w 7", timeout=5)
        sluiced.ipvsadm("-Ln", timeout=5)
    assert sluiced.stop(timeout=5) == 0


def test_bytes_that_are_no_request(director):
    """The control socket takes anything and goes on."""
    sluiced = Sluiced(director)
    junk = """
import os, random, socket
random.seed(7)
for number in range(300):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect("\\0sluice/ipvs")
    client.send(random.randbytes(random.choice([1, 15, 16, 20, 100, 5000])))
    client.close()
"""
    director.run("python3", "-c", junk)
    assert sluiced.process.poll() is None
    sluiced.ipvsadm("-Ln")
