# SPDX-License-Identifier: Apache-2.0
"""Two directors that tell each other of connections, by real sockets."""

import pytest
from cluster import VIP, Cluster
from lab import BIN, Sluiced, wait_until

LINK = "eth9"


class Pair:
    """A cluster whose director has a partner, and a link between the two."""

    def __init__(self, lab, settings=""):
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
        file = lab.directory / "sluiced.toml"
        file.write_text(f"[settings]\n{settings}\n")
        self.master = Sluiced(self.cluster.director, "--config", file, interfaces=["eth0"])
        self.cluster.sluiced = self.master
        self.backup = Sluiced(partner, "--config", file, interfaces=["eth0"])

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
