# SPDX-License-Identifier: Apache-2.0
"""A director set up word for word as LVS how-tos teach it: direct routing, the virtual address as an
alias on lo of the real servers, the classic ipvsadm commands."""

import re

from lab import BIN, Lab, Sluiced, wait_until

VIP = "192.0.2.110"
CLIENT = "192.0.2.254"
DIRECTOR = "192.0.2.1"
SERVERS = ["192.0.2.2", "192.0.2.3"]


def set_up_real_server(lab: Lab, number, address, bridge):
    server = lab.node(f"rs{number}")
    lab.connect(server, "eth0", bridge)
    server.address("eth0", f"{address}/24")
    server.run("sh", "-ec", f"""
        echo 1 > /proc/sys/net/ipv4/conf/lo/arp_ignore
        echo 2 > /proc/sys/net/ipv4/conf/lo/arp_announce
        echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
        echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce
        ip address add {VIP}/32 broadcast {VIP} dev lo label lo:0
        ip route add {VIP} dev lo
    """)
    lab.serve(server)
    return server


def set_up(lab):
    bridge = lab.bridge("lan")
    client = lab.node("client")
    lab.connect(client, "eth0", bridge)
    client.address("eth0", f"{CLIENT}/24")
    director = lab.node("director")
    lab.connect(director, "eth0", bridge)
    director.address("eth0", f"{DIRECTOR}/24")
    director.run("sh", "-ec", f"""
        echo 1 > /proc/sys/net/ipv4/ip_forward
        echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
        echo 0 > /proc/sys/net/ipv4/conf/eth0/send_redirects
        ip address add {VIP}/32 broadcast {VIP} dev eth0 label eth0:110
    """)
    for number, address in enumerate(SERVERS, 1):
        set_up_real_server(lab, number, address, bridge)
    return client, director


class Shell:
    """A root shell on the director, where `ipvsadm` is ours."""

    def __init__(self, node):
        self.node = node

    def __call__(self, line):
        return self.node.run("sh", "-ec", f'PATH="{BIN}:$PATH"; {line}')


def table(shell):
    return [line.split() for line in shell("ipvsadm -L -n").splitlines()]


def test_direct_routing_by_the_book(lab, tmp_path):
    client, director = set_up(lab)
    Sluiced(director)
    shell = Shell(director)

    shell("ipvsadm -C")
    shell(f"ipvsadm -A -t {VIP}:80 -s rr")
    for server in SERVERS:
        shell(f"ipvsadm -a -t {VIP}:80 -r {server} -g -w 1")
    lines = table(shell)
    assert lines[0][:5] == ["IP", "Virtual", "Server", "version", "1.2.1"]
    assert lines[1] == ["Prot", "LocalAddress:Port", "Scheduler", "Flags"]
    assert lines[2][:2] == ["->", "RemoteAddress:Port"]
    assert lines[3] == ["TCP", f"{VIP}:80", "rr"]
    assert [line[:4] for line in lines[4:]] == [["->", f"{server}:80", "Route", "1"]
                                               for server in SERVERS]

    # The real servers do not answer ARP for the address: all goes by the director, in turn.
    assert client.fetch_many(VIP, 10) == {"rs1": 5, "rs2": 5}
    neighbours = client.run("ip", "neigh", "show", VIP)
    assert director.mac("eth0") in neighbours

    # The counters of both directions that DR sees: answers do not come by.
    stats = shell("ipvsadm -L -n --stats").splitlines()
    service = next(line for line in stats if line.startswith("TCP")).split()
    assert service[1:3] == [f"{VIP}:80", "10"] and int(service[3]) >= 50 and service[4] == "0"
    rates = shell("ipvsadm -L -n --rate").splitlines()
    assert rates[1].split() == ["Prot", "LocalAddress:Port", "CPS", "InPPS", "OutPPS", "InBPS",
                                "OutBPS"]
    assert len(rates) == 6
    assert shell("ipvsadm -L --timeout") == "Timeout (tcp tcpfin udp): 900 120 300\n"
    shell("ipvsadm --set 600 60 200")
    assert shell("ipvsadm -L --timeout") == "Timeout (tcp tcpfin udp): 600 60 200\n"

    connections = shell("ipvsadm -L -n -c").splitlines()
    assert connections[0] == "IPVS connection entries"
    assert len(connections) == 2 + 10
    for line in connections[2:]:
        # With direct routing the director does not see what a server ends by a reset.
        assert re.match(rf"TCP \d\d:\d\d +(ESTABLISHED|FIN_WAIT|CLOSE) +{re.escape(CLIENT)}:\d+ +"
                        rf"{re.escape(VIP)}:80 +192\.0\.2\.[23]:80$", line.rstrip()), line

    # Saved, cleared, restored.
    rules = tmp_path / "ipvsadm.rules"
    shell(f"ipvsadm -S -n > {rules}")
    assert rules.read_text() == (f"-A -t {VIP}:80 -s rr\n" + "".join(
        f"-a -t {VIP}:80 -r {server}:80 -g -w 1\n" for server in SERVERS))
    shell("ipvsadm -C")
    assert len(table(shell)) == 3
    assert client.fetch_many(VIP, 1, port=80)[""] == 1, "nobody listens on the director itself"
    shell(f"ipvsadm -R < {rules}")
    assert [line[:4] for line in table(shell)[4:]] == [["->", f"{server}:80", "Route", "1"]
                                                      for server in SERVERS]
    assert client.fetch_many(VIP, 10) == {"rs1": 5, "rs2": 5}

    # A server is taken out for a while: quiescent, then removed.
    shell(f"ipvsadm -e -t {VIP}:80 -r {SERVERS[0]} -g -w 0")
    assert client.fetch_many(VIP, 4) == {"rs2": 4}
    shell(f"ipvsadm -d -t {VIP}:80 -r {SERVERS[0]}")
    assert client.fetch_many(VIP, 4) == {"rs2": 4}
    shell("ipvsadm -Z")
    wait_until(lambda: int(shell("ipvsadm -L -n --stats").splitlines()[3].split()[2]) == 0,
               "the counters are zero")
    shell(f"ipvsadm -D -t {VIP}:80")
    assert len(table(shell)) == 3
