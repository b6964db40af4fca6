# SPDX-License-Identifier: Apache-2.0
"""XDP forwards established connections by itself; and what becomes of them when the director ends:
killed, restarted, stopped with forwarding kept."""

import json
import re
import signal
import time

import pytest

from cluster import VIP, Cluster
from lab import BIN, HERE, PYTHON, wait_until

IPERF_PORT = 5201


def counter(sluiced, name):
    status = sluiced.node.attempt(BIN / "sluice", "status", "--all").stdout
    return int(re.search(rf"^ *{name} +(\d+)", status, re.M).group(1))


def received(node):
    link = json.loads(node.run("ip", "-s", "-j", "link", "show", "eth0"))[0]
    return link["stats64"]["rx"]["bytes"]


def start_iperf(cluster, family, *options):
    server = cluster.servers[0]
    server.start("iperf3", "--server", "--one-off", "--port", IPERF_PORT)
    wait_until(lambda: f":{IPERF_PORT} " in server.run("ss", "-tlnH"), "iperf3 listens")
    return cluster.client.start("iperf3", "--client", VIP[family], "--port", IPERF_PORT,
                                *options, stdout=open(cluster.lab.directory / "iperf", "wb"),
                                stderr=-2)


def wait_for(client, cluster, seconds=60):
    assert client.wait(seconds) == 0, (cluster.lab.directory / "iperf").read_text()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("method", ["nat", "dr", "tun"])
def test_established_connections_are_forwarded_by_xdp(lab, method, family):
    cluster = Cluster(lab, method, arms=2 if method == "nat" else 1, servers=1, fast=True)
    sluiced = cluster.start()
    cluster.add_service(family, port=IPERF_PORT)
    wait_for(start_iperf(cluster, family, "--bytes", "50M"), cluster)
    forwarded = counter(sluiced, "xdp_forwarded")
    by_engine = counter(sluiced, "xdp_to_virtual") + counter(sluiced, "xdp_from_real")
    assert forwarded > 20000
    assert by_engine < forwarded / 50
    # What XDP counted is in the counters of the service.
    line = [line for line in sluiced.ipvsadm("-Ln --stats --exact").splitlines()
            if line.startswith("TCP")][0].split()
    # Answers pass here with NAT only; else what the director says about a narrow tunnel counts as
    # answers.
    answers = int(line[4]) if method == "nat" else 0
    assert int(line[3]) + answers == forwarded + by_engine


@pytest.mark.parametrize("method", ["nat", "dr"])
def test_without_receive_offload_traffic_goes_by_the_engine(lab, method):
    cluster = Cluster(lab, method, arms=2 if method == "nat" else 1, servers=1, offload=False)
    sluiced = cluster.start()
    cluster.add_service(4, port=IPERF_PORT)
    wait_for(start_iperf(cluster, 4, "--bytes", "5M"), cluster)
    assert counter(sluiced, "xdp_forwarded") == 0
    assert "no fast path out of it" in sluiced.log.read_text()


def test_the_fast_path_can_be_turned_off_and_on(lab):
    cluster = Cluster(lab, "nat", arms=2, servers=1, fast=True)
    sluiced = cluster.start("--fast-path", "off")
    cluster.add_service(4, port=IPERF_PORT)
    client = start_iperf(cluster, 4, "--time", "6", "--bitrate", "50M")
    wait_until(lambda: counter(sluiced, "xdp_to_virtual") > 1000, "the engine forwards")
    assert counter(sluiced, "xdp_forwarded") == 0
    cluster.director.run(BIN / "sluice", "sysctl", "sluice.fast_path=1")
    wait_until(lambda: counter(sluiced, "xdp_forwarded") > 1000, "XDP forwards")
    cluster.director.run(BIN / "sluice", "sysctl", "sluice.fast_path=0")
    before = counter(sluiced, "xdp_forwarded")
    time.sleep(0.2)
    assert counter(sluiced, "xdp_forwarded") == before
    wait_for(client, cluster)


def end_director(cluster, sluiced, end):
    if end == "--keep-forwarding":
        cluster.director.run(BIN / "sluice", "stop", end)
        assert sluiced.process.wait(0.1) == 0
    else:
        sluiced.stop(end)


@pytest.mark.parametrize("method", ["nat", "dr"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGUSR2, "--keep-forwarding"])
def test_transfers_survive_the_director(lab, method, end):
    """A transfer goes on while no director runs, and the next one knows it."""
    cluster = Cluster(lab, method, arms=2 if method == "nat" else 1, servers=1, fast=True)
    sluiced = cluster.start()
    cluster.add_service(4, port=IPERF_PORT)
    client = start_iperf(cluster, 4, "--time", "6")
    wait_until(lambda: counter(sluiced, "xdp_forwarded") > 2000, "XDP forwards")
    listed = sluiced.ipvsadm("-Ln")
    end_director(cluster, sluiced, end)
    before = received(cluster.servers[0])
    time.sleep(1)
    assert received(cluster.servers[0]) > before + 1_000_000
    again = cluster.start()
    assert "2 connections of the director before" in again.log.read_text()
    assert again.ipvsadm("-Ln") == listed
    assert again.ipvsadm("-Lnc").count("ESTABLISHED") == 2
    wait_for(client, cluster)
    line = [line for line in again.ipvsadm("-Ln --stats --exact").splitlines()
            if line.startswith("TCP")][0].split()
    assert int(line[2]) == 2 and int(line[3]) > 10000
    assert again.stop() == 0
    assert not cluster.director.has_xdp("eth0")


@pytest.mark.parametrize("end", [signal.SIGKILL, "--keep-forwarding"])
def test_open_connections_survive(lab, end):
    """Ten thousand connections are open. All of them answer while no director runs, and when there
    is one again."""
    count = 10_000
    cluster = Cluster(lab, "nat", arms=2, servers=2, fast=True)
    sluiced = cluster.start()
    virtual = cluster.add_service(4, port=7)
    for server in cluster.servers:
        server.start(PYTHON, HERE / "echo_many.py", "serve", "7")
        wait_until(lambda s=server: ":7 " in s.run("ss", "-tlnH"), "the echo server listens")
    in_absence, after = lab.directory / "in-absence", lab.directory / "after"
    client = cluster.client.start(PYTHON, HERE / "echo_many.py", "hold", VIP[4], "7", count, in_absence,
                                  after, stdout=-1, text=True)
    assert client.stdout.readline() == f"{count} answered\n"
    assert sluiced.ipvsadm("-Lnc").count("ESTABLISHED") == count
    end_director(cluster, sluiced, end)
    in_absence.touch()
    assert client.stdout.readline() == f"{count} answered\n"
    again = cluster.start()
    assert again.ipvsadm("-Lnc").count("ESTABLISHED") == count
    after.touch()
    assert client.stdout.readline() == f"{count} answered\n"
    assert virtual in again.ipvsadm("-Ln")


def test_another_build_goes_on(lab):
    """An upgrade: another program takes over all of it, under traffic."""
    cluster = Cluster(lab, "nat", arms=2, servers=1, fast=True)
    sluiced = cluster.start()
    cluster.add_service(4, port=IPERF_PORT)
    client = start_iperf(cluster, 4, "--time", "5")
    wait_until(lambda: counter(sluiced, "xdp_forwarded") > 2000, "XDP forwards")
    other = lab.directory / "sluiced-other"
    program = (BIN / "sluiced").read_bytes()
    version = cluster.director.run(BIN / "sluiced", "--version").split()[1]
    text, changed = (f"sluiced {first}{version[1:]}\0".encode() for first in (version[0], "9"))
    assert program.count(text) == 1
    other.write_bytes(program.replace(text, changed))
    other.chmod(0o755)
    sluiced.stop(signal.SIGUSR2)
    again = cluster.start(program=other)
    assert f"sluiced 9{version[1:]} serves" in again.log.read_text()
    assert "2 connections of the director before" in again.log.read_text()
    wait_for(client, cluster)


def test_memory_of_another_layout_is_not_misread(lab):
    """An upgrade to a build whose records are others: it says so, and begins with nothing."""
    cluster = Cluster(lab, "nat", arms=2, servers=1, fast=True)
    sluiced = cluster.start()
    cluster.add_service(4)
    sluiced.stop(signal.SIGKILL)
    cluster.director.run(PYTHON, HERE / "change_layout.py")
    again = cluster.start()
    assert "starting anew" in again.log.read_text()
    assert VIP[4] not in again.ipvsadm("-Ln")
    cluster.add_service(4)
    assert cluster.client.run("curl", "-s", f"http://{VIP[4]}/") == "rs1"


def test_another_table_size_starts_anew_and_says_so(lab):
    cluster = Cluster(lab, "nat", arms=2, servers=1, fast=True)
    sluiced = cluster.start()
    cluster.add_service(4)
    sluiced.stop(signal.SIGKILL)
    again = cluster.start("--table-size", "1000")
    assert "starting anew" in again.log.read_text()
    assert VIP[4] not in again.ipvsadm("-Ln")


@pytest.mark.parametrize("family", [4, 6])
def test_the_room_in_xdp_may_change_with_a_restart(lab, family):
    """Connections go on, and XDP learns their flows anew."""
    cluster = Cluster(lab, "nat", arms=2, servers=1, fast=True)
    sluiced = cluster.start()
    cluster.add_service(family, port=IPERF_PORT)
    client = start_iperf(cluster, family, "--time", "6")
    wait_until(lambda: counter(sluiced, "xdp_forwarded") > 2000, "XDP forwards")
    listed = sluiced.ipvsadm("-Ln")
    sluiced.stop(signal.SIGKILL)
    again = cluster.start("--fast-path-ipv4", 3000, "--fast-path-ipv6", 2000)
    assert "2 connections of the director before" in again.log.read_text()
    assert again.ipvsadm("-Ln") == listed
    before = counter(again, "xdp_forwarded")
    wait_until(lambda: counter(again, "xdp_forwarded") > before + 2000, "XDP forwards again")
    wait_for(client, cluster)


def test_connections_without_room_in_xdp_go_by_the_engine(lab):
    count = 1000
    cluster = Cluster(lab, "nat", arms=2, servers=2, fast=True)
    sluiced = cluster.start("--fast-path-ipv4", 0, "--fast-path-ipv6", 0)
    cluster.add_service(4, port=7)
    for server in cluster.servers:
        server.start(PYTHON, HERE / "echo_many.py", "serve", "7")
        wait_until(lambda s=server: ":7 " in s.run("ss", "-tlnH"), "the echo server listens")
    again, after = lab.directory / "again", lab.directory / "after"
    client = cluster.client.start(PYTHON, HERE / "echo_many.py", "hold", VIP[4], "7", count, again,
                                  after, stdout=-1, text=True)
    assert client.stdout.readline() == f"{count} answered\n"
    again.touch()
    assert client.stdout.readline() == f"{count} answered\n"
    assert sluiced.ipvsadm("-Lnc").count("ESTABLISHED") == count
    assert 0 < counter(sluiced, "xdp_flows") <= 64
    assert counter(sluiced, "xdp_flows_refused") > 0
    after.touch()
    assert client.stdout.readline() == f"{count} answered\n"
