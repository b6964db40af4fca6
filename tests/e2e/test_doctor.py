# SPDX-License-Identifier: Apache-2.0
"""`sluice doctor`: real faults, made on real hosts, are found; without them nothing is reported."""

import contextlib
import json
import os

import pytest

from cluster import CLIENT, DIRECTOR, INSIDE, VIP, Cluster, bracketed, server_address
from lab import BIN, HERE, PYTHON, Sluiced, execute, wait_until


def examine(node, *words, program="sluice"):
    """{check: [findings]} and the exit status, which has to agree with them."""
    done = node.attempt(BIN / program, "doctor", "--json", *words)
    assert done.returncode in (0, 1, 2), done
    said = json.loads(done.stdout)
    severities = {finding["severity"] for finding in said["findings"]}
    assert done.returncode == (2 if "error" in severities else 1 if "warning" in severities else 0)
    found = {}
    for finding in said["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return found


def expect_only(node, check, *words, severity=None, text="", program="sluice"):
    found = examine(node, *words, program=program)
    assert list(found) == [check], found
    if severity:
        assert {finding["severity"] for finding in found[check]} == {severity}, found
    assert any(text in finding["what"] + finding["remedy"] for finding in found[check]), found


@contextlib.contextmanager
def setting(node, name, value):
    before = node.run("sysctl", "-n", name).strip()
    node.sysctl(name, value)
    yield
    node.sysctl(name, before)


def start(lab, method, **options):
    cluster = Cluster(lab, method, servers=2, **options)
    cluster.start()
    for family in (4, 6):
        cluster.add_service(family)
    return cluster


def test_faults_of_a_director_with_direct_routing(lab):
    cluster = start(lab, "dr")
    director, (first, second) = cluster.director, cluster.servers
    assert examine(director) == {}

    # A real server answers for the virtual address.
    both = f"{server_address(1, 4)}, {server_address(1, 6)}"
    with setting(first, "net.ipv4.conf.all.arp_ignore", 0), \
            setting(first, "net.ipv4.conf.eth0.arp_ignore", 0):
        expect_only(director, "vip-answered", severity="error",
                    text=f"{first.mac('eth0')} (real server {both}) answers ARP for {VIP[4]}")
    first.address("eth0", f"{VIP[6]}/128")
    expect_only(director, "vip-answered", severity="error",
                text=f"(real server {both}) answers neighbour discovery for {VIP[6]}")
    first.run("ip", "address", "del", f"{VIP[6]}/128", "dev", "eth0")
    assert examine(director) == {}

    # The virtual address is not here.
    director.run("ip", "address", "del", f"{VIP[4]}/32", "dev", "eth0")
    expect_only(director, "vip-missing", severity="error", text=f"ip address add {VIP[4]}/32")
    director.address("eth0", f"{VIP[4]}/32")

    # A server is gone.
    second.run("ip", "link", "set", "eth0", "down")
    found = examine(director)
    assert list(found) == ["server-unresolved"] and len(found["server-unresolved"]) == 2
    second.run("ip", "link", "set", "eth0", "up")
    second.address("eth0", f"{server_address(2, 6)}/64")  # IPv6 addresses went with the link
    assert examine(director) == {}

    # A server behind a router, and one without a route.
    virtual = f"{VIP[4]}:80"
    director.route("203.0.113.0/24", "via", server_address(1, 4))
    cluster.sluiced.ipvsadm(f"-a -t {virtual} -r 203.0.113.9:80 -g")
    expect_only(director, "dr-other-subnet", severity="error", text="behind the router")
    director.run("ip", "route", "del", "203.0.113.0/24")
    expect_only(director, "server-unresolved", severity="error", text="no route to")
    cluster.sluiced.ipvsadm(f"-d -t {virtual} -r 203.0.113.9:80")
    assert examine(director) == {}

    # All servers quiescent.
    cluster.sluiced.ipvsadm(f"-A -u {virtual} -s rr")
    expect_only(director, "no-server", severity="warning", text="no real servers")
    cluster.sluiced.ipvsadm(f"-a -u {virtual} -r {server_address(1, 4)}:80 -g -w 0")
    expect_only(director, "no-server", severity="warning", text="only real servers of weight 0")
    cluster.sluiced.ipvsadm(f"-D -u {virtual}")

    # A firewall does not see what is balanced: only a note.
    director.run("nft", "add table ip filter; add chain ip filter input "
                 "{ type filter hook input priority 0; policy accept; }; "
                 "add rule ip filter input counter")
    expect_only(director, "firewall", severity="note", text="do not pass them")
    director.run("nft", "flush ruleset")
    assert examine(director) == {}


def test_faults_of_a_director_with_nat(lab):
    cluster = start(lab, "nat", arms=2)
    director, first = cluster.director, cluster.servers[0]
    cluster.client.fetch_many(VIP[4], 10)
    assert examine(director) == {}

    # The server answers past the director.
    cluster.sluiced.ipvsadm("-Z")
    for server in cluster.servers:
        server.run("ip", "route", "replace", "default", "via", "10.0.0.254")
    cluster.client.attempt("sh", "-c", f"for i in $(seq 24); do curl -s -m 2 http://{VIP[4]}/ & "
                           "done; wait")
    found = examine(director)
    assert list(found) == ["nat-return-path"], found
    assert "none came back" in found["nat-return-path"][0]["what"]
    for server in cluster.servers:
        server.run("ip", "route", "replace", "default", "via", INSIDE[4])
    cluster.sluiced.ipvsadm("-Z")
    cluster.client.fetch_many(VIP[4], 10)
    assert examine(director) == {}

    with setting(director, "net.ipv4.ip_forward", 0):
        expect_only(director, "ip-forward", severity="warning", text="net.ipv4.ip_forward=1")
    with setting(director, "net.ipv6.conf.all.forwarding", 0):
        expect_only(director, "ip-forward", severity="warning", text="IPv6")
    assert examine(director) == {}

    # On the real server itself.
    words = ("--mode", "nat", "--vip", VIP[4], "--director", INSIDE[4])
    first.sysctl("net.ipv4.conf.all.accept_redirects", 0)
    assert examine(first, *words) == {}
    first.run("ip", "route", "replace", "default", "via", "10.0.0.254")
    expect_only(first, "default-route", *words, severity="error",
                text=f"ip route replace default via {INSIDE[4]}")
    first.run("ip", "route", "replace", "default", "via", INSIDE[4])
    with setting(first, "net.ipv4.conf.eth0.accept_redirects", 1):
        expect_only(first, "redirects", *words, severity="warning")
    assert examine(first, *words) == {}


def test_nat_with_one_arm_and_redirects(lab):
    cluster = start(lab, "nat")
    director = cluster.director
    assert examine(director) == {}
    with setting(director, "net.ipv4.conf.eth0.send_redirects", 1):
        expect_only(director, "redirects", severity="warning", text="send_redirects=0")
    assert examine(director) == {}


def test_interfaces_that_are_not_served(lab):
    cluster = Cluster(lab, "nat", arms=2, servers=1)
    cluster.sluiced = Sluiced(cluster.director, interfaces=["eth0"])
    cluster.add_service(4)
    expect_only(cluster.director, "not-served", severity="error", text="behind eth1")


def test_generic_xdp_and_a_full_table(lab):
    cluster = Cluster(lab, "dr", servers=1)
    cluster.start("--xdp-mode", "generic", "--table-size", 256)
    cluster.add_service(4)
    expect_only(cluster.director, "xdp-generic", severity="warning", text="veth")
    cluster.client.fetch_many(VIP[4], 240)
    found = examine(cluster.director)
    assert sorted(found) in (["table-full", "xdp-generic"], ["health", "table-full", "xdp-generic"])
    assert "of 256" in found["table-full"][0]["what"]


def test_a_tunnel_that_is_too_small(lab):
    cluster = start(lab, "tun")
    director = cluster.director
    found = examine(director)
    assert list(found) == ["tunnel-mtu"] and len(found["tunnel-mtu"]) == 4
    assert any("holds 1480 bytes" in one["what"] for one in found["tunnel-mtu"])
    # Room on the way, and clients that send no more than before.
    director.run("ip", "link", "set", "eth0", "mtu", 1560)
    # The virtual addresses on a link with the old MTU, which stands for the clients' side.
    director.run("ip", "link", "add", "clients", "type", "veth", "peer", "name", "peer")
    director.run("ip", "link", "set", "peer", "up")
    director.run("ip", "link", "set", "clients", "mtu", 1500, "up")
    for family, length in ((4, 32), (6, 128)):
        director.run("ip", "address", "del", f"{VIP[family]}/{length}", "dev", "eth0")
        director.address("clients", f"{VIP[family]}/{length}")
    found = examine(director)
    assert "tunnel-mtu" not in found, found


def status_counter(node, name, interface=None):
    status = json.loads(node.attempt(BIN / "sluice", "status", "--json").stdout)
    if interface is None:
        return status["counters"][name]
    return next(one for one in status["interfaces"] if one["name"] == interface)["counters"][name]


def send_datagrams(node, address, ports, each, *prefix):
    """Sends `each` datagrams from each of `ports` ports of `node` to port 80 of `address`."""
    node.run(*prefix, PYTHON, HERE / "datagrams.py", address, ports, each)


def drop_answers(server):
    """Takes datagrams of services without an answer, which would pass the director as well."""
    server.run("nft", "add table ip quiet; add chain ip quiet input "
               "{ type filter hook input priority 0; policy accept; }; "
               "add rule ip quiet input udp dport 80 drop")


def queued_cable(lab, node, interface, other, other_interface, queues):
    """A cable of two nodes whose ends have several queues."""
    execute(["ip", "link", "add", interface, "netns", node.namespace, "numrxqueues", queues,
             "numtxqueues", queues, "type", "veth", "peer", "name", other_interface, "netns",
             other.namespace, "numrxqueues", queues, "numtxqueues", queues])
    for end, name in ((node, interface), (other, other_interface)):
        end.run("ip", "link", "set", name, "up")
        end.interfaces.append(name)


def test_all_traffic_on_one_queue(lab):
    """One flow fills one of four queues; many share them."""
    client, director, server = lab.node("client"), lab.node("director"), lab.node("rs1")
    queued_cable(lab, director, "eth0", client, "eth0", 4)
    queued_cable(lab, director, "eth1", server, "eth0", 4)
    client.address("eth0", f"{CLIENT[4]}/24")
    director.address("eth0", f"{DIRECTOR[4]}/24", f"{VIP[4]}/32")
    director.address("eth1", f"{INSIDE[4]}/24")
    server.address("eth0", f"{server_address(1, 4)}/24")
    server.address("lo", f"{VIP[4]}/32")
    server.sysctl("net.ipv4.conf.all.arp_ignore", 1)
    drop_answers(server)
    sluiced = Sluiced(director, "--fast-path", "off")
    sluiced.ipvsadm(f"-A -u {VIP[4]}:80")
    sluiced.ipvsadm(f"-a -u {VIP[4]}:80 -r {server_address(1, 4)} -g")

    def received():
        return status_counter(director, "packets_received", "eth0")

    assert examine(director) == {}
    send_datagrams(client, VIP[4], 1, 15000)
    wait_until(lambda: received() > 10000, "the flood has come")
    expect_only(director, "one-queue", severity="warning", text="of the 4 receive queues of eth0")
    sluiced.stop()
    sluiced = Sluiced(director, "--fast-path", "off")
    sluiced.ipvsadm(f"-A -u {VIP[4]}:80")
    sluiced.ipvsadm(f"-a -u {VIP[4]}:80 -r {server_address(1, 4)} -g")
    send_datagrams(client, VIP[4], 200, 75)
    wait_until(lambda: received() > 10000, "the flood has come")
    assert examine(director) == {}


def test_all_traffic_on_one_processor(lab):
    """What XDP forwards is counted where it runs: with veth, on the sender's processor."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        pytest.skip("one processor: nothing to share")
    cluster = Cluster(lab, "dr", servers=1, fast=True)
    cluster.start()
    cluster.add_service(4, protocol="-u")
    drop_answers(cluster.servers[0])

    def forwarded(name="xdp_forwarded"):
        return status_counter(cluster.director, name)

    def send(processor):
        send_datagrams(cluster.client, VIP[4], 4, 5000, "taskset", "-c", processor)

    assert examine(cluster.director) == {}
    send(processors[0])
    wait_until(lambda: forwarded() > 15000, "XDP forwards")
    # Interrupts of another processor may have had a share.
    wait_until(lambda: send(processors[0]) or forwarded("xdp_forwarded_by_busiest") >
               0.95 * forwarded(), "one processor does it", seconds=60)
    expect_only(cluster.director, "one-queue", severity="warning", text="does nearly all")
    wait_until(lambda: send(processors[1]) or forwarded("xdp_forwarded_by_busiest") <
               0.85 * forwarded(), "two share it", seconds=60)
    assert examine(cluster.director) == {}


@pytest.mark.parametrize("is_left", [True, False])
def test_checksums_left_to_a_veth(lab, is_left):
    cluster = Cluster(lab, "dr", servers=1, fast=True)
    if is_left:
        cluster.client.run("ethtool", "-K", "eth0", "tx", "on")
    cluster.start()
    cluster.add_service(4, protocol="-u")
    drop_answers(cluster.servers[0])
    assert examine(cluster.director) == {}
    send_datagrams(cluster.client, VIP[4], 4, 1000)
    if is_left:
        wait_until(lambda: status_counter(cluster.director, "packets_received", "eth0") > 1000,
                   "the engine has them")
        expect_only(cluster.director, "veth-offload", severity="warning",
                    text="eth0 is a veth whose peer left the checksums")
    else:
        wait_until(lambda: status_counter(cluster.director, "xdp_forwarded") > 1000,
                   "XDP forwards them")
        assert examine(cluster.director) == {}


def test_a_driver_without_xdp(lab):
    """A macvlan takes the place of the director's interface; its driver knows no XDP."""
    cluster = Cluster(lab, "dr", servers=1)
    director = cluster.director
    director.run("ip", "link", "add", "link", "eth0", "name", "mac0", "type", "macvlan")
    for family, length in ((4, 32), (6, 128)):
        director.run("ip", "address", "del", f"{VIP[family]}/{length}", "dev", "eth0")
    director.address("mac0", f"{VIP[4]}/32")
    for name, value in (("arp_ignore", 1), ("arp_announce", 2)):
        director.sysctl(f"net.ipv4.conf.all.{name}", value)
    director.run("ip", "link", "set", "mac0", "up")
    cluster.sluiced = Sluiced(director, interfaces=["eth0", "mac0"])
    cluster.add_service(4)
    expect_only(director, "xdp-generic", severity="warning",
                text="the driver (macvlan) has no native XDP")
    cluster.sluiced.stop()
    cluster.sluiced = Sluiced(director, interfaces=["eth0"])
    director.run("ip", "link", "del", "mac0")
    director.address("eth0", f"{VIP[4]}/32")
    cluster.add_service(4)
    assert examine(director) == {}


def fill_conntrack(node, interface):
    """Has netfilter follow more connections than nine tenths of its table (the limit is the
    machine's, the table this host's)."""
    most = int(node.run("sysctl", "-n", "net.netfilter.nf_conntrack_max"))
    if most > 1_000_000:
        pytest.skip(f"a table of {most} connections takes too long to fill")
    node.run("ip", "neigh", "replace", "10.0.0.99", "lladdr", "02:00:00:00:00:99", "dev",
             interface)
    node.run(PYTHON, HERE / "datagrams.py", "--everywhere", "10.0.0.99", most * 92 // 100)


@pytest.mark.parametrize("role", ["director", "server"])
def test_a_full_connection_tracking_table(lab, role):
    cluster = start(lab, "nat", arms=2)
    server = cluster.servers[0]
    server.sysctl("net.ipv4.conf.all.accept_redirects", 0)
    node, interface, words = (cluster.director, "eth1", ()) if role == "director" else (
        server, "eth0", ("--mode", "nat", "--vip", VIP[4], "--director", INSIDE[4]))
    node.run("nft", "add table ip track; add chain ip track output "
             "{ type filter hook output priority 0; policy accept; }; "
             "add rule ip track output ct state established counter")
    assert examine(node, *words) == {}
    fill_conntrack(node, interface)
    expect_only(node, "conntrack", *words, severity="warning", text="nf_conntrack_max")
    node.run("conntrack", "--flush")
    assert examine(node, *words) == {}


def test_firewalls_of_a_director(lab):
    cluster = start(lab, "dr")
    director = cluster.director
    assert examine(director) == {}

    # The old iptables.
    director.run("iptables-legacy", "-A", "INPUT", "-m", "conntrack", "--ctstate", "INVALID",
                 "-j", "DROP")
    expect_only(director, "firewall", severity="note", text="do not pass them")


def test_a_firewall_before_a_server_on_the_director(lab):
    cluster = start(lab, "dr")
    director = cluster.director
    director.run("nft", "add table inet filter; add chain inet filter input "
                 "{ type filter hook input priority 0; policy drop; }; "
                 "add rule inet filter input ct state established,related accept; "
                 "add rule inet filter input meta l4proto { icmp, icmpv6 } accept")
    expect_only(director, "firewall", severity="note")  # no server here is behind it
    cluster.sluiced.ipvsadm(f"-a -t {VIP[4]}:80 -r 127.0.0.1:80 -m")
    found = examine(director)
    assert list(found) == ["firewall"], found
    assert [one["severity"] for one in found["firewall"]] == ["note", "warning"]
    assert "inet filter input drops what no rule accepts" in found["firewall"][1]["what"]
    director.run("nft", "flush ruleset")
    assert examine(director) == {}


def test_faults_of_a_real_server(lab):
    """The program for real servers, by what `up' has set up, and with each part of it undone."""
    cluster = start(lab, "nat")  # plain hosts: nothing is set up yet
    server = cluster.servers[0]
    program = "sluice-realserver"
    state = ("--state", lab.directory / "state")
    for family in (4, 6):
        server.run("ip", *(["-6"] if family == 6 else []), "route", "replace", "default", "via",
                   server_address(2, family))
    server.run(BIN / program, "up", *state, "--vip", f"{VIP[4]},{VIP[6]}", "--mode", "dr",
               "--director", INSIDE[4])

    def expect(check, **more):
        expect_only(server, check, *state, program=program, **more)

    assert examine(server, *state, program=program) == {}
    with setting(server, "net.ipv4.conf.all.arp_ignore", 0):
        expect("arp-ignore", severity="error")
    with setting(server, "net.ipv4.conf.all.arp_announce", 0):
        expect("arp-announce", severity="warning")
    server.run("ip", "address", "del", f"{VIP[4]}/32", "dev", "lo")
    expect("vip-missing", severity="error", text=f"{VIP[4]} is not on lo")
    server.address("lo", f"{VIP[4]}/32")
    server.address("eth0", f"{VIP[6]}/128")
    expect("vip-missing", severity="error", text=f"{VIP[6]} is an address of eth0")
    server.run("ip", "address", "del", f"{VIP[6]}/128", "dev", "eth0")

    # Strict, and the way to clients is another interface.
    lab.connect(server, "eth1", "ext")
    with setting(server, "net.ipv4.conf.eth0.rp_filter", 1):
        assert examine(server, *state, program=program) == {}
        server.run("ip", "route", "replace", "default", "dev", "eth1")
        expect("rp-filter", severity="error", text="net.ipv4.conf.eth0.rp_filter=2")
    server.run("ip", "route", "replace", "default", "via", INSIDE[4])
    expect("default-route", severity="error", text="leads through the director")
    server.run("ip", "route", "del", "default")
    expect("default-route", severity="warning", text="no IPv4 default route")
    server.route("default", "via", server_address(2, 4))

    # Another real server answers as well.
    cluster.servers[1].address("eth0", f"{VIP[4]}/32")
    expect("vip-answered", severity="error", text=f"2 hosts answer for {VIP[4]}")
    cluster.servers[1].run("ip", "address", "del", f"{VIP[4]}/32", "dev", "eth0")

    server.run("nft", "add table inet filter; add chain inet filter input "
               "{ type filter hook input priority 0; policy drop; }")
    expect("firewall", severity="warning", text="inet filter input drops")
    server.run("nft", "flush ruleset")
    assert examine(server, *state, program=program) == {}


def test_tunnels_that_nothing_unwraps(lab):
    cluster = start(lab, "tun")
    server = cluster.servers[0]
    words = ("--mode", "tun", "--vip", VIP[4], "--interface", "eth0")
    server.route("default", "via", DIRECTOR[4], "dev", "eth0", "onlink", "advmss", 1400)
    assert examine(server, *words) == {}
    server.run("ip", "route", "change", "default", "via", DIRECTOR[4], "dev", "eth0", "onlink")
    expect_only(server, "tunnel-mtu", *words, severity="note", text="advmss 1400")
    server.run("ip", "route", "change", "default", "via", DIRECTOR[4], "dev", "eth0", "onlink",
               "advmss", 1400)
    server.run(BIN / "sluice", "realserver", "decap", "--interface", "eth0", "--detach")
    expect_only(server, "decapsulation", *words, severity="error")


def test_it_says_when_it_cannot_tell(lab):
    node = lab.node("nobody")
    lab.connect(node, "eth0", lab.bridge("ext"))
    done = node.attempt(BIN / "sluice", "doctor")
    assert done.returncode == 3 and "no director runs" in done.stderr
    for wrong in (["--mode", "fast"], ["--vip", "192.0.2.300"], ["--nosuch"], ["more"],
                  ["--interface", "eth7", "--vip", VIP[4]]):
        done = node.attempt(BIN / "sluice", "doctor", *wrong)
        assert done.returncode == 3 and "sluice doctor: " in done.stderr and not done.stdout
    unprivileged = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                    "--bounding-set", "-all"]
    done = node.attempt(*unprivileged, BIN / "sluice", "doctor")
    assert done.returncode == 3 and "run as root" in done.stderr


def test_text_for_people(lab):
    cluster = start(lab, "dr")
    done = cluster.director.attempt(BIN / "sluice", "doctor")
    assert done.returncode == 0
    assert "this host is a director; " in done.stdout
    assert done.stdout.endswith("checks: 0 errors, 0 warnings, 0 notes\n")
    cluster.sluiced.ipvsadm(f"-A -t {bracketed(VIP[6])}:81 -s rr")
    done = cluster.director.attempt(BIN / "sluice", "doctor")
    assert done.returncode == 1
    assert f"warning: no-server: {bracketed(VIP[6])}:81 has no real servers" in done.stdout
    assert "what to do: ipvsadm -a" in done.stdout
    assert "vip-answered" in cluster.director.run(BIN / "sluice", "doctor", "--list")
