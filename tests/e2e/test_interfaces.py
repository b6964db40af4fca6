# SPDX-License-Identifier: Apache-2.0
"""Interfaces, addresses, routes and neighbours change while the director runs."""

import collections
import hashlib
import re
import signal
import subprocess
import time

import pytest
from cluster import CLIENT, DIRECTOR, HOST, INSIDE, LENGTH, VIP, Cluster, server_address
from lab import BIN, PYTHON, Sluiced, wait_until
from server import pattern

MODES = pytest.mark.parametrize("mode", ["native", "generic"])
ALL = {"rs1": 1, "rs2": 1, "rs3": 1}


def works(cluster, vip=VIP[4]):
    return cluster.client.curl(vip, timeout=1, check=False).startswith("rs")


def wait_until_works(cluster, vip=VIP[4]):
    wait_until(lambda: works(cluster, vip), f"{vip} answers")


def log_of(cluster):
    return cluster.sluiced.log.read_text()


def remove_cable(cluster, interface="eth0"):
    """Takes the director's interface away, as a hot-unplugged card."""
    director = cluster.director
    index = director.interfaces.index(interface)
    director.run("ip", "link", "delete", interface)
    del director.interfaces[index], director.ports[index]


def connect_again(cluster, interface="eth0", bridge="ext"):
    director = cluster.director
    cluster.lab.connect(director, interface, bridge)
    for family in (4, 6):
        director.address(interface, f"{DIRECTOR[family]}/{LENGTH[family]}",
                         f"{VIP[family]}/{HOST[family]}", f"{INSIDE[family]}/{LENGTH[family]}")


@MODES
def test_an_interface_goes_and_comes_back(lab, mode):
    """Time after time: nothing is used up by that, and both families work on."""
    cluster = Cluster(lab)
    cluster.start("--xdp-mode", mode)
    cluster.add_service(4)
    cluster.add_service(6)
    assert cluster.client.fetch_many(VIP[4], 3) == ALL
    for round_number in range(5):
        remove_cable(cluster)
        wait_until(lambda: log_of(cluster).count("it is gone") == round_number + 1,
                   "the daemon sees it go")
        connect_again(cluster)
        wait_until_works(cluster)
        assert cluster.client.fetch_many(VIP[4], 30) == {"rs1": 10, "rs2": 10, "rs3": 10}
        wait_until_works(cluster, VIP[6])
        assert cluster.director.has_xdp("eth0")
    assert cluster.sluiced.stop() == 0
    assert not cluster.director.has_xdp("eth0")


def test_one_of_two_interfaces_goes(lab):
    """The other serves on; clients of the first are served again when it is back."""
    cluster = Cluster(lab, arms=2)
    cluster.start()
    cluster.add_service(4)
    assert cluster.client.fetch_many(VIP[4], 3) == ALL
    remove_cable(cluster, "eth1")
    wait_until(lambda: "eth1: it is gone" in log_of(cluster), "the daemon sees it go")
    done = cluster.director.attempt(BIN / "sluice", "status")
    assert done.returncode == 2, done
    assert done.stdout.startswith("CRITICAL: interface eth1 is gone"), done
    assert "interface eth1, XDP none" in done.stdout, done
    assert not works(cluster)
    cluster.client.run("ping", "-c", 1, "-W", 5, DIRECTOR[4])
    lab.connect(cluster.director, "eth1", "int")
    for family in (4, 6):
        cluster.director.address("eth1", f"{INSIDE[family]}/{LENGTH[family]}")
    wait_until_works(cluster)
    # And the first one, which the sockets were opened on first.
    remove_cable(cluster, "eth0")
    wait_until(lambda: "eth0: it is gone" in log_of(cluster), "the daemon sees it go")
    lab.connect(cluster.director, "eth0", "ext")
    for family in (4, 6):
        cluster.director.address("eth0", f"{DIRECTOR[family]}/{LENGTH[family]}",
                                 f"{VIP[family]}/{HOST[family]}")
    wait_until_works(cluster)
    assert cluster.client.fetch_many(VIP[4], 30) == {"rs1": 10, "rs2": 10, "rs3": 10}


@MODES
def test_link_down_and_up(lab, mode):
    cluster = Cluster(lab)
    cluster.start("--xdp-mode", mode)
    cluster.add_service(4)
    for _ in range(3):
        cluster.director.run("ip", "link", "set", "eth0", "down")
        assert not works(cluster)
        cluster.director.run("ip", "link", "set", "eth0", "up")
        wait_until_works(cluster)
    assert sum(cluster.client.fetch_many(VIP[4], 30).values()) == 30


def test_the_directors_own_mac_changes(lab):
    cluster = Cluster(lab)
    cluster.start()
    cluster.add_service(4)
    assert cluster.client.fetch_many(VIP[4], 3) == ALL
    cluster.director.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:77")
    for node in (cluster.client, *cluster.servers):
        node.run("ip", "neigh", "flush", "dev", "eth0")
    assert cluster.client.fetch_many(VIP[4], 3) == ALL
    # What the director sends names the new address: servers have learnt no other.
    assert "02:00:00:00:00:77" in cluster.client.run("ip", "neigh", "show", VIP[4])


@MODES
def test_the_mtu_shrinks_and_grows(lab, mode):
    """Inside MTU below the clients': they are told (ICMP), and transfers go on."""
    cluster = Cluster(lab, arms=2, servers=1)
    cluster.start("--xdp-mode", mode)
    cluster.add_service(4)
    upload = lab.directory / "upload"
    upload.write_bytes(b"".join(pattern(2_000_000)))
    digest = hashlib.sha256(upload.read_bytes()).hexdigest()
    for mtu in (1300, 1500):
        cluster.director.run("ip", "link", "set", "eth1", "mtu", mtu)
        got = cluster.client.curl(VIP[4], "/", timeout=20, extra=["--data-binary", f"@{upload}"])
        assert got == digest, mtu


def test_an_mtu_that_is_too_large_is_told(lab):
    cluster = Cluster(lab, servers=1)
    cluster.director.run("ip", "link", "set", "eth0", "mtu", 9000)
    done = cluster.director.attempt(BIN / "sluiced", "--interface", "eth0")
    assert done.returncode != 0
    assert "the MTU is 9000" in done.stderr and "ip link set eth0 mtu" in done.stderr, done.stderr


def test_addresses_come_and_go(lab):
    cluster = Cluster(lab)
    sluiced = cluster.start()
    second = "198.51.100.11"
    sluiced.ipvsadm(f"-A -t {second}:80 -s rr")
    for number in (1, 2, 3):
        sluiced.ipvsadm(f"-a -t {second}:80 -r {server_address(number, 4)}:80 -m")
    for _ in range(2):
        cluster.director.address("eth0", f"{second}/32")
        wait_until_works(cluster, second)
        cluster.director.run("ip", "address", "delete", f"{second}/32", "dev", "eth0")
        wait_until(lambda: not works(cluster, second), "it is no address of the director any more")
        cluster.client.run("ip", "neigh", "flush", "dev", "eth0")


def test_the_default_route_changes(lab):
    """Answers to a client behind routers leave by the router that the host's route names."""
    cluster = Cluster(lab, arms=2)
    outer, far = "ext", lab.bridge("far")
    client = lab.node("distant")
    lab.connect(client, "eth0", far)
    client.address("eth0", "203.0.113.7/24")
    routers = []
    for number in (1, 2):
        router = lab.node(f"router{number}")
        lab.connect(router, "eth0", outer)
        lab.connect(router, "eth1", far)
        router.address("eth0", f"198.51.100.{200 + number}/24")
        router.address("eth1", f"203.0.113.{number}/24")
        router.sysctl("net.ipv4.ip_forward", 1)
        routers.append(router)
    client.route("default", "via", "203.0.113.1")
    cluster.director.route("default", "via", "198.51.100.201")
    cluster.start()
    cluster.add_service(4)
    assert client.fetch_many(VIP[4], 3) == ALL
    # The first router goes; one that came by way of it gets its answers by the other.
    routers[0].run("ip", "link", "set", "eth0", "down")
    client.run("ip", "route", "replace", "default", "via", "203.0.113.2")
    cluster.director.run("ip", "route", "replace", "default", "via", "198.51.100.202")
    assert client.fetch_many(VIP[4], 3) == ALL
    # Without a route an answer cannot leave; with it again it can.
    cluster.director.run("ip", "route", "delete", "default")
    assert client.curl(VIP[4], timeout=0.5, check=False) == ""
    cluster.director.route("default", "via", "198.51.100.202")
    assert client.curl(VIP[4]).startswith("rs")


def test_a_server_gets_another_mac_in_silence(lab):
    """No announcement: the kernel, told of the use, finds that the old MAC no longer answers."""
    cluster = Cluster(lab, servers=1)
    for setting, value in (("delay_first_probe_time", 1), ("retrans_time_ms", 100),
                           ("base_reachable_time_ms", 1000)):
        cluster.director.sysctl(f"net.ipv4.neigh.eth0.{setting}", value)
    cluster.start()
    cluster.add_service(4)
    assert works(cluster)
    server = cluster.servers[0]
    client = cluster.client
    server.sysctl("net.ipv4.conf.eth0.arp_notify", 0)
    # It must not ask for the director's MAC either: that would tell its own.
    director_mac = cluster.director.mac("eth0")
    server.run("ip", "neigh", "replace", INSIDE[4], "lladdr", director_mac, "dev", "eth0")
    server.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    server.run("ip", "neigh", "replace", INSIDE[4], "lladdr", director_mac, "dev", "eth0")
    wait_until(lambda: client.curl(VIP[4], timeout=0.5, check=False) == "rs1",
               "the server is found under its new MAC", seconds=20)


def test_fixed_neighbours_stay(lab):
    """Entries of an administrator, for servers that answer no ARP and no neighbour discovery."""
    cluster = Cluster(lab, servers=1)
    cluster.start()
    director, server = cluster.director, cluster.servers[0]
    entries = {}
    for family in (4, 6):
        cluster.add_service(family)
        entries[server_address(1, family)] = server.mac("eth0")
        director.run("ip", "neigh", "replace", server_address(1, family), "lladdr",
                     server.mac("eth0"), "dev", "eth0", "nud", "permanent")
    server.run("ip", "link", "set", "eth0", "arp", "off")
    for family in (4, 6):  # without ARP of its own, it knows the way back
        for address in (CLIENT[family], INSIDE[family], DIRECTOR[family]):
            node = cluster.client if address == CLIENT[family] else director
            server.run("ip", "neigh", "replace", address, "lladdr", node.mac("eth0"), "dev", "eth0",
                       "nud", "permanent")
    end = time.monotonic() + 12  # the kernel is told of neighbours in use every 5 s
    while time.monotonic() < end:
        for family in (4, 6):
            assert works(cluster, VIP[family])
    for address, mac in entries.items():
        told = director.run("ip", "neigh", "show", address)
        assert f"lladdr {mac}" in told and "PERMANENT" in told, told


def test_a_neighbour_fails_and_returns(lab):
    cluster = Cluster(lab, servers=2)
    cluster.start()
    cluster.add_service(4)
    assert cluster.client.fetch_many(VIP[4], 2) == {"rs1": 1, "rs2": 1}
    cluster.servers[0].run("ip", "link", "set", "eth0", "down")
    cluster.director.run("ip", "neigh", "flush", "dev", "eth0")
    answers = [cluster.client.curl(VIP[4], timeout=0.4, check=False) for _ in range(4)]
    assert sorted(answers) == ["", "", "rs2", "rs2"]
    cluster.servers[0].run("ip", "link", "set", "eth0", "up")
    cluster.servers[0].route("default", "via", INSIDE[4])
    wait_until(lambda: cluster.client.fetch_many(VIP[4], 4) == {"rs1": 2, "rs2": 2},
               "both servers answer", seconds=20)


@MODES
def test_several_queues(lab, mode):
    """Packets of all queues get to the engine and leave."""
    cluster = Cluster(lab)
    director, port = cluster.director, "queues"
    remove_cable(cluster)
    lab.switch.run("ip", "link", "add", port, "numrxqueues", 4, "numtxqueues", 4, "type", "veth",
                   "peer", "name", "eth0", "numrxqueues", 4, "numtxqueues", 4, "netns",
                   f"/run/netns/{director.namespace}")
    lab.switch.run("ip", "link", "set", port, "master", "ext", "up")
    director.interfaces.append("eth0")
    director.ports.append(port)
    director.run("ip", "link", "set", "eth0", "up")
    for family in (4, 6):
        director.address("eth0", f"{DIRECTOR[family]}/{LENGTH[family]}",
                         f"{VIP[family]}/{HOST[family]}", f"{INSIDE[family]}/{LENGTH[family]}")
    cluster.start("--xdp-mode", mode)
    queues = int(re.search(r"eth0: \w+ XDP, (\d+) queue", log_of(cluster))[1])
    assert queues == 4
    cluster.add_service(4)
    answers = cluster.client.fetch_at_once(VIP[4], 120, parallel=10)
    assert answers == {"rs1": 40, "rs2": 40, "rs3": 40}
    # Come back with another number of queues.
    remove_cable(cluster)
    connect_again(cluster)
    wait_until_works(cluster)


@pytest.mark.parametrize("method", ["nat", "dr", "tun"])
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_generic_mode_with_merged_segments(lab, method, family):
    """Veth peers leave segmentation to their device, so generic XDP sees frames of 64 KiB: they
    are cut up, to what the path takes."""
    cluster = Cluster(lab, method=method, servers=1, decap_mode="generic")
    cluster.start("--xdp-mode", "generic")
    cluster.add_service(family)
    upload = lab.directory / "upload"
    upload.write_bytes(b"".join(pattern(5_000_000)))
    digest = hashlib.sha256(upload.read_bytes()).hexdigest()
    got = cluster.client.curl(VIP[family], "/", timeout=20,
                              extra=["--data-binary", f"@{upload}"])
    assert got == digest
    down = lab.directory / "down"
    cluster.client.curl(VIP[family], "/bytes/5000000", timeout=20, extra=["-o", down])
    assert hashlib.sha256(down.read_bytes()).hexdigest() == digest
    assert "frames for the director were lost" not in log_of(cluster)



VLAN_CLIENT = """
import socket, struct, sys
# Sends one tagged datagram to the virtual address and prints tag and payload of what comes back.
mac, own_mac, client, vip, tags = sys.argv[1:6]
from scapy.layers.l2 import Ether, Dot1Q
from scapy.layers.inet import IP, UDP
frame = Ether(dst=mac, src=own_mac)
for tag in tags.split(","):
    frame /= Dot1Q(vlan=int(tag))
frame /= IP(src=client, dst=vip) / UDP(sport=5000, dport=80) / b"question"
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA: the kernel takes the outer tag off
link.bind(("eth0", 0))
link.settimeout(5)
link.send(bytes(frame))
while True:
    data, ancillary, _, address = link.recvmsg(2048, 256)
    if address[2] == socket.PACKET_OUTGOING:
        continue
    seen = []
    for _, _, value in ancillary:
        status, tci = struct.unpack_from("=I", value)[0], struct.unpack_from("=H", value, 16)[0]
        if status & 0x10:  # TP_STATUS_VLAN_VALID
            seen.append(tci & 0xfff)
    packet = Ether(data)
    layer = packet
    while layer is not None and Dot1Q in layer:
        seen.append(layer[Dot1Q].vlan)
        layer = layer[Dot1Q].payload
    if UDP in packet and packet[UDP].sport == 80:
        print(",".join(map(str, seen)), bytes(packet[UDP].payload).decode())
        break
"""

VLAN_SERVER = """
import socket, struct, sys
# Answers one tagged datagram in the VLANs that it came by.
from scapy.layers.l2 import Ether, Dot1Q
from scapy.layers.inet import IP, UDP
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.setsockopt(263, 8, 1)
link.bind(("eth0", 0))
print("ready", flush=True)
while True:
    data, ancillary, _, address = link.recvmsg(2048, 256)
    packet = Ether(data)
    if address[2] == socket.PACKET_OUTGOING or UDP not in packet or packet[UDP].dport != 80:
        continue
    seen = []
    for _, _, value in ancillary:
        status, tci = struct.unpack_from("=I", value)[0], struct.unpack_from("=H", value, 16)[0]
        if status & 0x10:
            seen.append(tci & 0xfff)
    layer = packet
    while Dot1Q in layer:
        seen.append(layer[Dot1Q].vlan)
        layer = layer[Dot1Q].payload
    answer = Ether(dst=packet.src, src=packet.dst)
    for tag in seen:
        answer /= Dot1Q(vlan=tag)
    ip, udp = packet[IP], packet[UDP]
    answer /= IP(src=ip.dst, dst=ip.src) / UDP(sport=80, dport=udp.sport) / b"answer"
    link.send(bytes(answer))
    break
"""


@MODES
@pytest.mark.parametrize("tags", ["7", "7,9"], ids=["one-tag", "two-tags"])
def test_vlan_tags_in_the_packet(lab, mode, tags):
    """A request of a VLAN is forwarded and answered in that VLAN (one arm, NAT).

    This kernel has no VLAN devices; frames are built and read by packet sockets."""
    cluster = Cluster(lab, servers=1)
    director, client, server = cluster.director, cluster.client, cluster.servers[0]
    for node in (director, client, server):
        # Otherwise veth carries the tag beside the packet, where XDP does not see it.
        lab.switch.run("ethtool", "-K", node.ports[0], "txvlan", "off")
        node.run("ethtool", "-K", "eth0", "txvlan", "off")
    sluiced = cluster.start("--xdp-mode", mode)
    sluiced.ipvsadm(f"-A -u {VIP[4]}:80 -s rr")
    sluiced.ipvsadm(f"-a -u {VIP[4]}:80 -r {server_address(1, 4)}:80 -m")
    # Neighbours are found without tags, as the host itself would.
    for peer in (CLIENT[4], server_address(1, 4)):
        director.run("ping", "-c", 1, "-W", 5, peer)
    answerer = server.start(PYTHON, "-c", VLAN_SERVER, stdout=subprocess.PIPE)
    assert answerer.stdout.readline() == b"ready\n"
    got = client.run(PYTHON, "-c", VLAN_CLIENT, director.mac("eth0"),
                     client.mac("eth0"), CLIENT[4], VIP[4], tags)
    assert got.split() == [tags, "answer"]


def test_more_packets_than_the_ring_holds(lab):
    """They are counted and told, and the daemon works on."""
    cluster = Cluster(lab)
    sluiced = cluster.start()
    cluster.add_service(4)
    cluster.add_service(4, protocol="-u")
    assert cluster.client.fetch_many(VIP[4], 3) == ALL
    sluiced.process.send_signal(signal.SIGSTOP)
    cluster.client.run("python3", "-c", f"""
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("{VIP[4]}", 80))
for _ in range(6000):
    udp.send(b"x")
""")
    sluiced.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "frames for the director were lost" in log_of(cluster), "it is told")
    assert collections.Counter(cluster.client.fetch_many(VIP[4], 9)) == {
        "rs1": 3, "rs2": 3, "rs3": 3}


def test_too_few_open_files(lab):
    """An error that says what to do, and nothing left behind."""
    cluster = Cluster(lab, servers=1)
    cluster.director.had_daemon = True
    for limit in range(8, 60, 7):
        done = cluster.director.attempt("timeout", "1", "prlimit", f"--nofile={limit}",
                                        BIN / "sluiced", "--interface", "eth0")
        if done.returncode == 124:  # it ran
            break
        assert done.returncode == 1, done
        assert "file descriptors may be open" in done.stderr and "ulimit -n" in done.stderr, done.stderr
    assert limit > 8
    assert not cluster.director.has_xdp("eth0")


def test_too_little_locked_memory(lab):
    """Frames of AF_XDP are locked memory for who may not lock as much as it likes."""
    cluster = Cluster(lab, servers=1)
    cluster.director.had_daemon = True
    done = cluster.director.attempt(
        "timeout", "5", "prlimit", "--memlock=1048576", "setpriv", "--bounding-set",
        "-ipc_lock,-sys_resource", "--inh-caps", "-ipc_lock,-sys_resource",
        BIN / "sluiced", "--interface", "eth0")
    assert done.returncode == 1, done
    assert "allow locked memory" in done.stderr, done.stderr
    assert not cluster.director.has_xdp("eth0")


def config_with(lab, *names):
    file = lab.directory / "sluiced.toml"
    file.write_text(f"interfaces = {list(names)}\n".replace("'", '"'))
    return file


def reload_with(sluiced, *names, says):
    config_with(sluiced.node.lab, *names)
    before = len(sluiced.log.read_text())
    sluiced.process.send_signal(signal.SIGHUP)
    wait_until(lambda: says in sluiced.log.read_text()[before:], f"the log says: {says}")


def test_interfaces_by_reload(lab):
    """A third interface is served and left again while a transfer runs over the other two."""
    cluster = Cluster(lab, "nat", arms=2, servers=1)
    more = lab.node("more")
    bridge = lab.bridge("more")
    lab.connect(more, "eth0", bridge)
    lab.connect(cluster.director, "eth2", bridge)
    more.address("eth0", "203.0.113.7/24")
    cluster.director.address("eth2", "203.0.113.1/24")
    more.route("default", "via", "203.0.113.1")
    cluster.sluiced = Sluiced(cluster.director, "--config", config_with(lab, "eth0", "eth1"),
                              interfaces=[])
    cluster.add_service(4)
    sluiced, director = cluster.sluiced, cluster.director

    def reached():
        return more.attempt("curl", "-sS", "--max-time", "2", f"http://{VIP[4]}/").returncode == 0

    transfer = cluster.client.start("curl", "-sS", "-o", lab.directory / "got", "-w",
                                    "%{size_download}", "--limit-rate", "30M",
                                    f"http://{VIP[4]}/bytes/100000000", stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
    programs = director.run("bpftool", "net", "list", "dev", "eth0")
    assert not reached()
    for _ in range(2):
        reload_with(sluiced, "eth0", "eth1", "eth2", says="applied interfaces")
        wait_until(lambda: director.has_xdp("eth2"), "eth2 is served")
        assert reached()
        reload_with(sluiced, "eth0", "eth1", "eth9", says="none of this name")
        assert reached()
        reload_with(sluiced, "eth0", "eth1", says="applied interfaces")
        wait_until(lambda: not director.has_xdp("eth2"), "eth2 is the host's")
        assert not reached()
    assert transfer.communicate(timeout=60) == ("100000000", "")
    assert director.run("bpftool", "net", "list", "dev", "eth0") == programs
    assert "interface eth2" not in director.attempt(BIN / "sluice", "status").stdout
    # Another takes the place that is free now.
    lab.connect(director, "eth3", bridge)
    reload_with(sluiced, "eth0", "eth1", "eth3", says="applied interfaces")
    wait_until(lambda: director.has_xdp("eth3"), "eth3 is served")
    assert sluiced.process.poll() is None
