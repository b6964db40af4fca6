# SPDX-License-Identifier: Apache-2.0
"""Two directors that tell each other of connections, by real sockets."""

import time

import pytest
from cluster import VIP, Cluster
from lab import BIN, PYTHON, Sluiced, wait_until

LINK = "eth9"


class Pair:
    """A cluster whose director has a partner, and a link between the two."""

    def __init__(self, lab, settings="", key=None):
        self.cluster = Cluster(lab, servers=2)
        lab.bridge("sync")
        partner = lab.node("partner")
        lab.connect(partner, "eth0", "ext")
        # Not asked for on the clients' link before it takes over.
        partner.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        partner.address("lo", f"{VIP[4]}/32")
        for number, node in enumerate((self.cluster.director, partner), 1):
            lab.connect(node, LINK, "sync")
            node.address(LINK, f"192.0.2.{number}/24", f"2001:db8:9::{number}/64")
        self.master, self.backup = (
            Sluiced(node, "--config", self.configure(lab, node.name, settings, key, peer),
                    interfaces=["eth0"])
            for node, peer in ((self.cluster.director, "192.0.2.2"), (partner, "192.0.2.1")))
        self.cluster.sluiced = self.master

    @staticmethod
    def configure(lab, name, settings, key, peer):
        """The daemon's file. `key`: of {director's name: secret}; without, there are no peers."""
        file = lab.directory / f"{name}.toml"
        text = f"[settings]\n{settings}\n"
        if key is not None:
            secret = lab.directory / f"{name}.key"
            secret.touch(0o600)
            secret.write_text(key[name])
            text += f'[sync]\nkey_file = "{secret}"\npeers = ["{peer}", "2001:db8:9::99"]\n'
        file.write_text(text)
        return file

    def fetch(self, count):
        assert self.cluster.client.fetch_many(VIP[4], count)[""] == 0


def listed(sluiced):
    """(client, destination) of each connection."""
    lines = sluiced.ipvsadm("-Lnc").splitlines()[2:]
    return {(words[3], words[5]) for words in map(str.split, lines)}


def counter(sluiced, name):
    for line in sluiced.node.attempt(BIN / "sluice", "status", "--all").stdout.splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1])
    raise AssertionError(f"no counter {name}")


@pytest.mark.parametrize("ports, group", [
    (1, ""), (4, "--mcast-group 239.1.1.1 --mcast-port 9000 --mcast-ttl 3"),
    (1, "--mcast-group ff05::81"), (2, "--mcast-group ff02::81 --sync-maxlen 200")])
def test_the_backup_learns_connections(lab, ports, group):
    pair = Pair(lab, f'sync_ports = {ports}\nsync_threshold = "0 1"')
    for sluiced, role in ((pair.master, "master"), (pair.backup, "backup")):
        sluiced.ipvsadm(f"--start-daemon {role} --mcast-interface {LINK} --syncid 5 {group}")
        assert f"{role} sync daemon (mcast={LINK}, syncid=5" in sluiced.ipvsadm("-L --daemon")
    pair.cluster.add_service(4)
    pair.fetch(12)
    wait_until(lambda: len(listed(pair.master)) == 12 and
               listed(pair.backup) == listed(pair.master),
               "the backup has the connections of the master")
    assert counter(pair.backup, "sync_messages_rejected") == 0
    assert counter(pair.master, "sync_send_failures") == 0


def test_a_daemon_that_is_stopped_hears_nothing(lab):
    pair = Pair(lab, 'sync_threshold = "0 1"')
    backup = pair.backup
    backup.ipvsadm(f"--start-daemon backup --mcast-interface {LINK}")
    pair.master.ipvsadm(f"--start-daemon master --mcast-interface {LINK} --syncid 5")
    backup.ipvsadm("--stop-daemon backup")
    assert backup.ipvsadm("-L --daemon") == ""
    assert "No daemon is running" in backup.node.attempt(
        BIN / "ipvsadm", "--stop-daemon", "backup").stderr
    pair.cluster.add_service(4)
    pair.fetch(2)
    wait_until(lambda: counter(pair.master, "sync_messages_sent") > 0, "a message is sent")
    assert counter(backup, "sync_messages_received") == 0
    # The port can be used again, and what is meant for others is left alone.
    backup.ipvsadm(f"--start-daemon backup --mcast-interface {LINK} --syncid 9")
    pair.fetch(2)
    wait_until(lambda: counter(backup, "sync_messages_foreign") > 0, "a message is foreign")
    assert listed(backup) == set()


KEY = "0123456789abcdef0123456789abcdef\n"


DATAGRAMS = """
import socket, sys
for number in range(int(sys.argv[2])):
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("", int(sys.argv[3]) + number))
    sender.sendto(b"x", (sys.argv[1], 9999))
"""


def send_datagrams(pair, count, first_port):
    """One for each of `count` connections."""
    client = pair.cluster.client
    client.run("ping", "-c1", VIP[4])  # what waits for ARP is not kept for long
    client.run(PYTHON, "-c", DATAGRAMS, VIP[4], count, first_port)


def start_daemons(pair, *roles):
    for sluiced, role in roles:
        sluiced.ipvsadm(f"--start-daemon {role} --mcast-interface {LINK} --syncid 5")


def test_a_new_backup_gets_the_whole_table(lab):
    pair = Pair(lab, key={"director": KEY, "partner": KEY})
    master, backup = pair.master, pair.backup
    pair.cluster.add_service(4, port=9999, protocol="-u")
    # Too few packets of each for the threshold: nothing of them is ever told by the group.
    send_datagrams(pair, 500, 20000)
    wait_until(lambda: len(listed(master)) == 500, "the master has connections")
    start_daemons(pair, (master, "master"), (backup, "backup"))
    begun = time.monotonic()
    wait_until(lambda: listed(backup) == listed(master), "the backup has the table", seconds=5)
    print(f"after {time.monotonic() - begun:.2f} s")
    assert counter(backup, "sync_tables_taken") == 1
    assert counter(backup, "sync_messages_rejected") == 0
    assert counter(backup, "sync_lag_ms") == 0
    assert counter(backup, "sync_peers_silent") == 1, "one is not there"
    assert counter(master, "sync_table_parts_sent") > 10
    # Messages that get lost on the way show as a lag, and the table is got again.
    blocked = ["iptables", "-A", "INPUT", "-i", LINK, "-p", "udp", "--dport", "8848", "-j", "DROP"]
    backup.node.run(*blocked)
    master.node.run(BIN / "sluice", "sysctl", "net.ipv4.vs.sync_threshold=0 1")
    send_datagrams(pair, 100, 30000)
    wait_until(lambda: counter(backup, "sync_messages_missed") > 0, "loss is noticed", seconds=20)
    wait_until(lambda: counter(backup, "sync_tables_taken") == 2 and
               listed(backup) == listed(master), "the table came again")


def test_without_the_key_there_is_no_table(lab):
    pair = Pair(lab, key={"director": KEY, "partner": KEY.replace("0", "1")})
    master, backup = pair.master, pair.backup
    pair.cluster.add_service(4, port=9999, protocol="-u")
    send_datagrams(pair, 5, 20000)
    start_daemons(pair, (master, "master"), (backup, "backup"))
    wait_until(lambda: counter(master, "sync_table_messages_rejected") > 1, "a greeting is refused")
    assert counter(master, "sync_table_parts_sent") == 0
    assert counter(backup, "sync_peers_silent") == 2
    assert counter(backup, "sync_tables_taken") == 0
    assert listed(backup) == set()
    # Any bytes from the peer's address and from others.
    before = counter(backup, "sync_table_messages_rejected")
    master.node.run(PYTHON, "-c", NOISE, "192.0.2.2", 8849)
    wait_until(lambda: counter(backup, "sync_table_messages_rejected") >= before + 200,
               "noise is counted")
    assert listed(backup) == set()


NOISE = """
import random, socket, sys
random.seed(1)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for size in range(200):
    sender.sendto(b"SLTB\\x01" + random.randbytes(size * 9), (sys.argv[1], int(sys.argv[2])))
"""
