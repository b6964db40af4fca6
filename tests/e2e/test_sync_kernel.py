# SPDX-License-Identifier: Apache-2.0
"""A director that is a kernel with IPVS and one that is sluiced share their connections.

Both run both sync daemons, as keepalived sets them up. The addresses move from one to the other
while TCP connections are open, and back.
"""

import subprocess

from cluster import (DIRECTOR, HOST, INSIDE, LENGTH, VIP, Cluster, bracketed,
                     server_address)
from guest import Guest
from lab import PYTHON, Sluiced, wait_until

LINK = "eth9"
# What moves: the virtual address and those by which clients and servers know their router.
MOVING = [f"{address[family]}/{length[family]}" for family in (4, 6)
          for address, length in ((DIRECTOR, LENGTH), (INSIDE, LENGTH), (VIP, HOST))]

# Asks for the server's name over one and the same connection, as often as a line comes in.
CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=20)
connection.connect()
connection.auto_open = 0
print(connection.sock.getsockname()[1], flush=True)
for line in sys.stdin:
    try:
        connection.request("GET", "/")
        print(connection.getresponse().read().decode(), flush=True)
    except (OSError, http.client.HTTPException) as error:
        print(f"failed: {error!r}", flush=True)
"""


class Conversation:
    """A TCP connection of the client that stays open."""

    def __init__(self, client, family):
        self.process = client.start(PYTHON, "-c", CLIENT, VIP[family], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def ports_of(listing):
    """{client port: state} of the connections in a listing of ipvsadm -Lnc."""
    rows = [line.split() for line in listing.splitlines()[2:]]
    return {int(row[3].rpartition(":")[2]): row[2] for row in rows}


def received(listing):
    """Packets from clients, of a listing of ipvsadm -Ln --stats --exact."""
    return sum(int(line.split()[3]) for line in listing.splitlines()
               if line.startswith("TCP"))


class Directors:
    def __init__(self, lab):
        # The guest takes frames as they are: whole ones, with their checksums.
        self.cluster = Cluster(lab, servers=1, offload=False)
        lab.bridge("sync")
        self.guest = Guest(lab, ["ext", "sync"])
        self.node = self.cluster.director
        lab.connect(self.node, LINK, "sync")
        self.node.address(LINK, "192.0.2.1/24", "2001:db8:9::1/64")
        self.sluiced = Sluiced(self.node, interfaces=["eth0"])
        self.cluster.sluiced = self.sluiced
        self.guest.run("ip address add 192.0.2.2/24 dev vec1\n"
                       "ip address add 2001:db8:9::2/64 dev vec1 nodad\n"
                       "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
                       "net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.vec0.send_redirects=0")
        for family in (4, 6):
            self.cluster.add_service(family)
            virtual = f"{bracketed(VIP[family])}:80"
            real = f"{bracketed(server_address(1, family))}:80"
            self.guest.run(f"ipvsadm -A -t {virtual} -s rr\n"
                           f"ipvsadm -a -t {virtual} -r {real} -m")

    def start_daemons(self, words=""):
        for role in ("master", "backup"):
            self.sluiced.ipvsadm(f"--start-daemon {role} --mcast-interface {LINK} "
                                 f"--syncid 7 {words}")
            self.guest.run(f"ipvsadm --start-daemon {role} --mcast-interface vec1 "
                           f"--syncid 7 {words}")

    def stop_daemons(self):
        for role in ("master", "backup"):
            self.sluiced.ipvsadm(f"--stop-daemon {role}")
            self.guest.run(f"ipvsadm --stop-daemon {role}")

    def give_addresses(self, to_guest):
        lines = [f"ip address {{}} {address} dev {{}}" + (" nodad" if ":" in address else "")
                 for address in MOVING]

        def script(verb, device):
            return "\n".join(line.format(verb, device) for line in lines)

        if to_guest:
            self.node.run("sh", "-ec", script("del", "eth0"))
            self.guest.run("set -e\n" + script("add", "vec0"))
        else:
            self.guest.run("set -e\n" + script("del", "vec0"))
            self.node.run("sh", "-ec", script("add", "eth0"))
        # What gratuitous ARP and unsolicited advertisements tell.
        for node in (self.cluster.client, *self.cluster.servers):
            node.run("ip", "neigh", "flush", "dev", "eth0")

    def talk(self, conversations):
        for conversation in conversations:
            for _ in range(5):
                assert conversation.ask() == "rs1"

    def tell(self, conversations, ports, expected, what):
        """Talks until the other director knows `expected`. Which packet of a connection makes the
        kernel tell of it is its matter (sync_threshold), and a datagram may be lost."""

        def known():
            self.talk(conversations)
            return ports() == expected

        wait_until(known, what, seconds=40)

    def guest_received(self):
        return received(self.guest.run("ipvsadm -Ln --stats --exact"))

    def sluiced_ports(self):
        return ports_of(self.sluiced.ipvsadm("-Lnc"))

    def guest_ports(self):
        return ports_of(self.guest.run("ipvsadm -Lnc"))


def test_connections_move_between_a_kernel_and_sluiced(lab):
    directors = Directors(lab)
    client = directors.cluster.client
    directors.start_daemons()
    directors.give_addresses(to_guest=True)

    # Made at the kernel, told to sluiced, taken on by it.
    of_kernel = [Conversation(client, family) for family in (4, 6)]
    told = {conversation.port: "ESTABLISHED" for conversation in of_kernel}
    directors.tell(of_kernel, directors.sluiced_ports, told, "sluiced knows the kernel's connections")
    assert received(directors.sluiced.ipvsadm("-Ln --stats --exact")) == 0
    directors.give_addresses(to_guest=False)
    directors.talk(of_kernel)
    assert received(directors.sluiced.ipvsadm("-Ln --stats --exact")) >= 10

    # Made at sluiced, told to the kernel by another group, taken on by it.
    directors.stop_daemons()
    directors.start_daemons("--mcast-group ff05::81 --mcast-port 9000 --mcast-ttl 2 "
                            "--sync-maxlen 400")
    of_sluiced = [Conversation(client, family) for family in (4, 6)]
    told |= {conversation.port: "ESTABLISHED" for conversation in of_sluiced}
    directors.tell(of_sluiced, directors.guest_ports, told, "the kernel knows sluiced's connections")
    before = directors.guest_received()
    directors.give_addresses(to_guest=True)
    directors.talk(of_kernel + of_sluiced)
    # The kernel adds up what its CPUs have counted every two seconds.
    wait_until(lambda: directors.guest_received() >= before + 20, "it went by the kernel")
