# SPDX-License-Identifier: Apache-2.0
"""New connections while no director runs: XDP forwards them by the tables that the last one
published, and the next director takes them over."""

import re
import signal
import time

import pytest

from cluster import CLIENT, VIP, Cluster, server_address
from lab import BIN, HERE, PYTHON, wait_until

ECHO_PORT = 7


def counter(sluiced, name):
    status = sluiced.node.attempt(BIN / "sluice", "status", "--all").stdout
    return int(re.search(rf"^ *{name} +(\d+)", status, re.M).group(1))


def start(lab, method, family, port, servers=3):
    """A cluster whose service on `port` every server was reached by, and has a table."""
    cluster = Cluster(lab, method, arms=2 if method == "nat" else 1, servers=servers, fast=True)
    sluiced = cluster.start()
    cluster.add_service(family, port=port)
    wait_until(lambda: counter(sluiced, "stand_in_tables") == 1, "the table is published")
    return cluster, sluiced


def serve_echo(cluster):
    for server in cluster.servers:
        server.start(PYTHON, HERE / "echo_many.py", "serve", ECHO_PORT)
        wait_until(lambda s=server: f":{ECHO_PORT} " in s.run("ss", "-tlnH"), "it listens")


def hold(cluster, family, count, name="go-on"):
    """Connections that are open and have had one answer, and the file that makes them go on."""
    go_on = cluster.lab.directory / name
    go_on.unlink(missing_ok=True)
    client = cluster.client.start(PYTHON, HERE / "echo_many.py", "hold", VIP[family], ECHO_PORT,
                                  count, go_on, stdout=-1, text=True)
    assert client.stdout.readline() == f"{count} answered\n"
    return client, go_on


def end(client, go_on, count):
    go_on.touch()
    assert client.communicate(timeout=60)[0] == f"{count} answered\n"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("method", ["dr", "tun", "nat"])
def test_new_connections_work_without_a_director(lab, method, family):
    cluster, sluiced = start(lab, method, family, 80)
    assert cluster.client.fetch_many(VIP[family], 12).total() == 12  # neighbours are known
    sluiced.stop(signal.SIGKILL)
    answers = cluster.client.fetch_many(VIP[family], 60)
    assert "" not in answers
    assert set(answers) == {"rs1", "rs2", "rs3"}
    again = cluster.start()
    assert counter(again, "xdp_stood_in") > 60 * 3
    assert counter(again, "journal_flows") == counter(again, "journal_adopted") == 60
    assert counter(again, "journal_lost") == 0
    assert "" not in cluster.client.fetch_many(VIP[family], 12)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("method", ["dr", "tun", "nat"])
def test_connections_that_began_without_a_director_go_on(lab, method, family):
    count = 100
    cluster, sluiced = start(lab, method, family, ECHO_PORT)
    serve_echo(cluster)
    end(*hold(cluster, family, 100), 100)  # every server was reached
    sluiced.stop(signal.SIGKILL)
    client, go_on = hold(cluster, family, count)
    again = cluster.start()
    assert again.ipvsadm("-Lnc").count("ESTABLISHED") == count
    end(client, go_on, count)
    wait_until(lambda: "ESTABLISHED" not in again.ipvsadm("-Lnc"), "the director saw them end")


@pytest.mark.parametrize("method", ["dr", "nat"])
def test_a_daemon_that_hangs_is_absent_and_goes_on(lab, method):
    held, count = 100, 30
    cluster, sluiced = start(lab, method, 4, ECHO_PORT)
    cluster.add_service(4, port=80)
    wait_until(lambda: counter(sluiced, "stand_in_tables") == 2, "the tables are published")
    serve_echo(cluster)
    assert cluster.client.fetch_many(VIP[4], 12).total() == 12  # neighbours are known
    before, go_on_before = hold(cluster, 4, held)
    sluiced.process.send_signal(signal.SIGSTOP)
    hung = time.monotonic()
    try:
        # What XDP handed over before it saw that nobody takes it is sent again by the clients.
        wait_until(lambda: cluster.client.curl(VIP[4], check=False, timeout=2), "a page comes")
        assert "" not in cluster.client.fetch_many(VIP[4], count)
        during, go_on_during = hold(cluster, 4, held, "go-on-2")
        assert time.monotonic() - hung > 3  # of those of a moment ago it cannot know
    finally:
        sluiced.process.send_signal(signal.SIGCONT)
    wait_until(lambda: counter(sluiced, "journal_flows") == counter(sluiced, "journal_adopted"),
               "it has the connections that began meanwhile")
    assert counter(sluiced, "journal_flows") >= count + held
    assert counter(sluiced, "journal_lost") == 0
    assert "" not in cluster.client.fetch_many(VIP[4], 12)
    end(before, go_on_before, held)
    end(during, go_on_during, held)
    wait_until(lambda: not [line for line in sluiced.ipvsadm("-Lnc").splitlines()
                            if "ESTABLISHED" in line and f"{VIP[4]}:{ECHO_PORT} " in line],
               "the director saw them end")


def handed_over(sluiced):
    """Packets of clients that the daemon was asked about; not all that was sent has arrived. (With
    NAT less: answers that XDP sent on are taken off as well.)"""
    return counter(sluiced, "xdp_to_virtual") - counter(sluiced, "xdp_stood_in")


def flood(cluster, port, count, *kind):
    # The way of answers, which the client drops.
    cluster.director.route("198.18.0.0/15", "via", CLIENT[4])
    return cluster.client.start(PYTHON, HERE / "syn_flood.py", "eth0", cluster.director.mac("eth0"),
                                VIP[4], port, count, *kind, stdout=-1, text=True)


@pytest.mark.parametrize("method, limit", [("dr", 500), ("nat", 500), ("dr", None), ("nat", None),
                                           ("dr", 0)])
def test_a_flood_of_syns_stays_with_xdp(lab, method, limit):
    """Beyond the limit the table of connections does not see it; by default (more than this flood
    has) its last tenth is kept for those that prove real; without a limit it runs full."""
    count, held, table = 60_000, 100, 2_000 if limit is None else 20_000
    cluster = Cluster(lab, method, arms=2 if method == "nat" else 1, servers=2, fast=True)
    sluiced = cluster.start("--table-size", table)
    if limit is not None:
        cluster.director.run(BIN / "sluice", "sysctl", f"sluice.punt_limit={limit}")
    for port in (80, ECHO_PORT):
        cluster.add_service(4, port=port)
    wait_until(lambda: counter(sluiced, "stand_in_tables") == 2, "the tables are published")
    serve_echo(cluster)
    client, go_on = hold(cluster, 4, held)
    flooding = flood(cluster, 80, count)
    stood_in = lambda: counter(sluiced, "xdp_stood_in")
    if limit != 0:
        wait_until(lambda: stood_in() > 1000, "XDP stands in", seconds=30)
        while flooding.poll() is None:
            assert set(cluster.client.fetch_at_once(VIP[4], 5, 1)) <= {"rs1", "rs2"}
    assert flooding.wait(60) == 0
    seconds = float(flooding.stdout.read())
    connections = len(sluiced.ipvsadm("-Lnc").splitlines()) - 2
    print(f"{count / seconds:.0f} SYNs a second, {connections} connections, {stood_in()} by XDP")
    status = cluster.director.attempt(BIN / "sluice", "status").stdout
    if limit is not None:
        assert ("table_full" in status.split("dropped, by reason")[1]) == (limit == 0)
    if limit == 0:
        assert connections == table
        assert stood_in() == 0
    else:
        if limit is not None:
            assert connections < limit * (seconds + 2) + 1000
            assert handed_over(sluiced) < 2 * limit * (seconds + 2) + 2000
        assert "\nstand-in: XDP decides about new flows by itself now" in status
        assert set(cluster.client.fetch_at_once(VIP[4], 10, 1)) == {"rs1", "rs2"}
    end(client, go_on, held)


@pytest.mark.parametrize("method", ["dr", "nat"])
def test_a_flood_of_datagrams_stays_with_xdp(lab, method):
    count, limit, port = 60_000, 500, 53
    cluster = Cluster(lab, method, arms=2 if method == "nat" else 1, servers=2, fast=True)
    sluiced = cluster.start("--table-size", 20_000)
    cluster.director.run(BIN / "sluice", "sysctl", f"sluice.punt_limit={limit}")
    cluster.add_service(4, port=port, protocol="-u")
    wait_until(lambda: counter(sluiced, "stand_in_tables") == 1, "the table is published")
    for number, server in enumerate(cluster.servers, 1):
        address = VIP[4] if method == "dr" else server_address(number, 4)
        server.start(PYTHON, HERE / "udp_echo.py", "serve", server.name, address, port)
        wait_until(lambda s=server: f":{port} " in s.run("ss", "-ulnH"), "it listens")

    def ask(clients):
        return cluster.client.run(PYTHON, HERE / "udp_echo.py", "ask", VIP[4], port,
                                  clients).splitlines()

    assert set(ask(8)) == {"rs1", "rs2"}
    flooding = flood(cluster, port, count, "udp")
    stood_in = lambda: counter(sluiced, "xdp_stood_in")
    wait_until(lambda: stood_in() > 1000, "XDP stands in", seconds=30)
    answers = []
    while flooding.poll() is None:
        answers += ask(5)
    answers += ask(5)
    assert flooding.wait(60) == 0
    seconds = float(flooding.stdout.read())
    # Each of them had one server all the time.
    assert set(answers) == {"rs1", "rs2"}
    connections = len(sluiced.ipvsadm("-Lnc").splitlines()) - 2
    assert connections < limit * (seconds + 2) + 1000
    assert handed_over(sluiced) < 2 * limit * (seconds + 2) + 2000
    assert "table_full" not in cluster.director.attempt(BIN / "sluice", "status").stdout
