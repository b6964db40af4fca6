# SPDX-License-Identifier: Apache-2.0
"""`sluice doctor`: real faults, made on real hosts, are found; without them nothing is reported."""

import contextlib
import json

from cluster import DIRECTOR, INSIDE, VIP, Cluster, bracketed, server_address
from lab import BIN, Sluiced


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
