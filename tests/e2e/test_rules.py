# SPDX-License-Identifier: Apache-2.0
"""Whole files of rules: ipvsadm-save, ipvsadm-restore, sluice save and restore."""

import pytest
from cluster import VIP
from lab import BIN, Sluiced

RULES = f"""\
-A -t {VIP[4]}:80 -s rr
-a -t {VIP[4]}:80 -r 10.0.0.11:80 -m -w 1
-a -t {VIP[4]}:80 -r 10.0.0.12:80 -m -w 2
-A -u {VIP[4]}:53 -s wlc -p 300
-a -u {VIP[4]}:53 -r 10.0.0.11:53 -g -w 1
"""


@pytest.fixture
def daemon(lab):
    director = lab.node("director")
    lab.connect(director, "eth0", lab.bridge("ext"))
    director.address("eth0", "198.51.100.1/24", f"{VIP[4]}/32", "10.0.0.1/24")
    return Sluiced(director)


def sluice(daemon, *words, **options):
    return daemon.node.attempt(BIN / "sluice", *words, **options)


def saved(daemon):
    return daemon.node.run(BIN / "ipvsadm-save", "-n")


def test_debians_names(daemon):
    node = daemon.node
    node.run(BIN / "ipvsadm-restore", input="# a comment\n" + RULES)
    assert sorted(saved(daemon).splitlines()) == sorted(RULES.splitlines())
    assert ":http" in node.run(BIN / "ipvsadm-save")
    # It replaces what is there.
    node.run(BIN / "ipvsadm-restore", input="".join(RULES.splitlines(True)[:2]))
    assert saved(daemon) == "".join(RULES.splitlines(True)[:2])
    assert node.attempt(BIN / "ipvsadm-save", "-x").returncode == 1


def test_atomic_restore_is_all_or_nothing(daemon, tmp_path):
    file = tmp_path / "rules"
    file.write_text(RULES + "mark add -p tcp --dport 443 -j MARK --set-mark 7\n")
    assert sluice(daemon, "restore", "--atomic", file).returncode == 0
    before = sluice(daemon, "save").stdout
    assert "mark add" in before and before.count("\n-a") == 3

    file.write_text("-C\n-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.1:80 -s rr\n")
    done = sluice(daemon, "restore", "--atomic", file)
    assert done.returncode == 1
    assert done.stderr == (f"{file}:3: Service already exists (-A -t 192.0.2.1:80 -s rr); "
                           "nothing was changed\n")
    assert sluice(daemon, "save").stdout == before

    # ipvsadm itself goes on after a wrong line.
    done = daemon.node.attempt(BIN / "ipvsadm", "-R", input=file.read_text())
    assert done.stderr == "Service already exists\n"
    assert saved(daemon) == "-A -t 192.0.2.1:80 -s rr\n"

    # What was saved replaces all that.
    assert sluice(daemon, "restore", "--atomic", "--replace", "-", input=before).returncode == 0
    assert sluice(daemon, "save").stdout == before


def test_a_transaction_ends_with_its_client(daemon, tmp_path):
    file = tmp_path / "rules"
    file.write_text(RULES + "-A -t 192.0.2.1:80 -s nosuch\n")
    done = sluice(daemon, "restore", "--atomic", file)
    assert f"{file}:6: " in done.stderr and saved(daemon) == ""
    file.write_text(RULES)
    assert sluice(daemon, "restore", "--atomic", file).returncode == 0
    assert saved(daemon).count("\n") == 5
