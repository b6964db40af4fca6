# SPDX-License-Identifier: Apache-2.0
"""What is not for a virtual service stays with the host's own stack."""

import signal

import pytest
from cluster import DIRECTOR, INSIDE, VIP, Cluster, server_address
from lab import wait_until


def check_host_services(cluster, family):
    """ARP or ND from nothing, ping, and a TCP service of the director itself."""
    client = cluster.client
    client.run("ip", "neigh", "flush", "dev", "eth0")
    for address in (VIP[family], DIRECTOR[family], INSIDE[family]):
        client.run("ping", "-c", 2, "-i", 0.05, "-W", 5, address)
        assert client.curl(address, port=2222) == "director"
    # The MAC behind the virtual address is the director's, not that of a server with it on lo.
    neighbours = client.run("ip", "neigh", "show", VIP[family])
    assert cluster.director.mac("eth0") in neighbours


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_host_services_keep_working(lab, family, mode):
    cluster = Cluster(lab, method="dr")
    lab.serve(cluster.director, port=2222)
    check_host_services(cluster, family)
    sluiced = cluster.start("--xdp-mode", mode)
    cluster.add_service(family)
    check_host_services(cluster, family)
    assert cluster.client.fetch_many(VIP[family], 3) == {"rs1": 1, "rs2": 1, "rs3": 1}
    assert sluiced.stop() == 0
    check_host_services(cluster, family)


def test_plain_forwarding_keeps_working(lab):
    """The director stays a router: the client reaches a real server by its own address."""
    cluster = Cluster(lab, arms=2)
    cluster.start()
    cluster.add_service(4)
    address = server_address(1, 4)
    assert cluster.client.curl(address) == "rs1"
    assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 1, "rs2": 1, "rs3": 1}


def test_an_unserved_port_of_the_virtual_address_is_the_hosts(lab):
    cluster = Cluster(lab)
    cluster.start()
    cluster.add_service(4)
    # Nobody listens: the director's own stack refuses, at once.
    done = cluster.client.attempt("curl", "-sS", "--max-time", 5, f"http://{VIP[4]}:81/")
    assert done.returncode == 7, done


def test_the_host_works_after_the_daemon_was_killed(lab):
    """What SIGKILL leaves behind takes no packet that is the host's."""
    cluster = Cluster(lab)
    lab.serve(cluster.director, port=2222)
    sluiced = cluster.start()
    cluster.add_service(4)
    assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 1, "rs2": 1, "rs3": 1}
    sluiced.stop(signal.SIGKILL)
    check_host_services(cluster, 4)
    # Nothing of a service is given to the host, which would refuse it.
    assert cluster.client.curl(VIP[4], timeout=0.5, check=False) == ""
    # The next one goes on where the old one was.
    cluster.start()
    assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 1, "rs2": 1, "rs3": 1}


def test_a_silent_neighbour_costs_only_its_own_connections(lab):
    """A server that never answers ARP: its clients wait, others are served."""
    cluster = Cluster(lab, servers=2)
    sluiced = cluster.start()
    virtual = cluster.add_service(4)
    sluiced.ipvsadm(f"-a -t {virtual} -r {server_address(9, 4)}:80 -m")
    answers = [cluster.client.curl(VIP[4], timeout=0.5, check=False) for _ in range(9)]
    assert sorted(answers) == [""] * 3 + ["rs1"] * 3 + ["rs2"] * 3
    # It appears late: the neighbour is asked again, and it gets its share.
    late = lab.node("late")
    lab.connect(late, "eth0", "ext")
    late.address("eth0", f"{server_address(9, 4)}/24")
    late.route("default", "via", INSIDE[4])
    lab.serve(late)
    wait_until(lambda: cluster.client.curl(VIP[4], timeout=0.5, check=False) == "late",
               "the late server answers", seconds=20)


def test_traffic_survives_a_servers_new_mac(lab):
    """A replaced network card: the director follows the neighbour's new address."""
    cluster = Cluster(lab, servers=1)
    cluster.start()
    cluster.add_service(4)
    assert cluster.client.fetch_many(VIP[4], 2) == {"rs1": 2}
    server = cluster.servers[0]
    server.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    server.run("ping", "-c", 1, "-W", 5, INSIDE[4])  # its ARP request tells the director
    wait_until(lambda: cluster.client.curl(VIP[4], timeout=1, check=False) == "rs1",
               "the server is reached again")
