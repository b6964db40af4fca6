# SPDX-License-Identifier: Apache-2.0
"""`sluice status` as people and as monitoring see it."""

import json

from cluster import VIP, Cluster, server_address
from lab import BIN


def status(node, *words):
    done = node.attempt(BIN / "sluice", "status", *words)
    return done.returncode, done.stdout


def test_one_screen(lab):
    cluster = Cluster(lab, "nat", arms=2, servers=2)
    sluiced = cluster.start()
    virtual = cluster.add_service(4)
    cluster.client.fetch_many(VIP[4], 20)
    code, text = status(cluster.director)
    assert code == 0
    assert text.startswith("OK\ndirector ")
    assert "services 1, servers 2: 2 up, 0 quiescent" in text
    assert f"TCP {VIP[4]}:80" in text
    assert "interface eth0, XDP native" in text and "interface eth1, XDP native" in text
    assert len(text.splitlines()) <= 50

    code, text = status(cluster.director, "--json")
    told = json.loads(text)
    assert code == 0 and told["state"] == "OK"
    assert told["totals"]["connections"] == 20
    assert told["connections"] <= told["connection_capacity"] == 65536
    (service,) = told["services"]
    assert service["statistics"]["connections"] == 20
    assert sum(server["statistics"]["connections"] for server in service["servers"]) == 20
    assert set(told["drops"]) >= {"table_full", "no_route"}

    for number in (1, 2):
        sluiced.ipvsadm(f"-e -t {virtual} -r {server_address(number, 4)}:80 -m -w 0")
    code, text = status(cluster.director)
    assert code == 1 and text.startswith("WARNING: 1 services without a server\n")
    assert "0 up, 2 quiescent (weight 0)" in text and "NO SERVER" in text
    assert json.loads(status(cluster.director, "--json")[1])["state"] == "WARNING"

    sluiced.ipvsadm("--start-daemon", "master", "--mcast-interface", "eth0", "--syncid", "7")
    assert "sync: master on eth0, id 7" in status(cluster.director)[1]


def test_exit_status_when_there_is_nobody(lab):
    node = lab.node("nobody")
    done = node.attempt(BIN / "sluice", "status")
    assert done.returncode == 2 and "no director runs" in done.stderr
    done = node.attempt(BIN / "sluice", "status", "--fast")
    assert done.returncode == 3 and "unexpected argument `--fast'" in done.stderr
