# SPDX-License-Identifier: Apache-2.0
"""`sluice snat` against a real daemon: rules, errors, saving, restoring, applying."""

import json

import pytest

from lab import BIN, Sluiced

OFFICE = "office --inside 10.0.0.0/8 --out-interface eth0 --pool 192.0.2.10-192.0.2.12 " \
         "--ports 1024-2047 --limit 1000 --timeout-udp 30"
DESK = "desk --inside 10.1.0.0/16 --proto tcp --pool 192.0.2.20"
WEB = "web --static 10.0.0.5=192.0.2.30 --ports 80"
SIX = "six --inside 2001:db8:1::/64 --pool 2001:db8:2::1-2001:db8:2::4"
ALL = (OFFICE, DESK, WEB, SIX)


@pytest.fixture
def director(lab):
    node = lab.node("director")
    lab.connect(node, "eth0", lab.bridge("ext"))
    node.address("eth0", "198.51.100.1/24")
    node.sluiced = Sluiced(node)
    return node


def sluice(node, *words, **options):
    split = [part for word in words for part in str(word).split()]
    return node.run(BIN / "sluice", *split, **options)


def refused(node, *words, status, **options):
    """What a command that fails says; it must not do a part of it."""
    before = rules(node)
    split = [part for word in words for part in str(word).split()]
    done = node.attempt(BIN / "sluice", *split, **options)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert rules(node) == before
    return done.stderr


def rules(node):
    """Name and words of each rule, in order."""
    lines = sluice(node, "snat list").splitlines()
    assert lines[0].split() == ["name", "active", "inactive", "clients", "refused", "rule"]
    return [" ".join([line.split()[0], *line.split()[5:]]) for line in lines[1:]]


def add_all(node):
    for rule in ALL:
        assert sluice(node, "snat add", rule) == ""


def test_rules_come_and_go(director):
    assert rules(director) == []
    assert sluice(director, "save") == ""
    add_all(director)
    # IPv4 before IPv6, the most specific inside prefix first, whatever came first.
    assert rules(director) == [WEB, DESK, OFFICE, SIX]
    lines = sluice(director, "snat list --stats office").splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["office"] + ["0"] * 8
    assert sluice(director, "snat zero") == "" and sluice(director, "snat zero web") == ""
    assert sluice(director, "snat delete web") == ""
    assert rules(director) == [DESK, OFFICE, SIX]
    assert sluice(director, "snat flush") == ""
    assert rules(director) == []
    # The words of iptables.
    sluice(director, "snat add gate -s 10.0.0.0/8 -o eth0 -j SNAT --to-source 192.0.2.10:4000-5000")
    assert rules(director) == [
        "gate --inside 10.0.0.0/8 --out-interface eth0 --pool 192.0.2.10 --ports 4000-5000"]
    # What ipvsadm lists stays as it is.
    assert "192.0.2" not in director.sluiced.ipvsadm("-Ln")
    assert director.sluiced.ipvsadm("-S") == ""


def test_errors_say_what_is_wrong_and_what_to_do(director):
    add_all(director)
    sluice(director, "snat add mail --static 10.0.0.6=192.0.2.40")
    for words, status, said in (
            ("add other --inside 10.0.0.0/8 --out-interface eth0 --pool 192.0.2.99", 1,
             "other: the rule `office' asks for the same packets"),
            ("add office --inside 10.9.0.0/16 --pool 192.0.2.99", 1,
             "there is a rule `office' already; take another name, or delete it first"),
            ("add other --inside 10.9.0.0/16 --pool 192.0.2.38-192.0.2.42", 1,
             "192.0.2.40 is an address of the rule `mail'"),
            ("add other --static 10.0.0.9=192.0.2.11", 1,
             "192.0.2.11 is an address of the rule `office'"),
            ("add other --inside 10.9.0.1/16 --pool 192.0.2.99", 2, "is 10.9.0.0/16 meant"),
            ("add other --inside 10.9.0.0/16 --pool 2001:db8::1", 2, "make a rule for each family"),
            ("add other --inside 10.9.0.0/16", 2, "which addresses do hosts get?"),
            ("add", 2, "a rule begins with its name"),
            ("delete nosuch", 1, "there is no such rule"),
            ("delete averyveryverylongname", 1, "there is no rule"),
            ("delete", 2, "which rule?"),
            ("delete web desk", 2, "unexpected argument `desk'"),
            ("zero nosuch", 1, "there is no such rule"),
            ("list nosuch", 1, "there is no rule `nosuch'"),
            ("list --wide", 2, "unknown option `--wide'"),
            ("flush now", 2, "unexpected argument `now'"),
            ("dance", 2, "unknown command `dance'"),
            ("", 2, "a command is needed")):
        if words.startswith("list"):
            done = director.attempt(BIN / "sluice", "snat", *words.split())
            assert done.returncode == status and said in done.stderr
            continue
        error = refused(director, "snat", words, status=status)
        assert said in error and error.startswith("sluice: snat: "), (words, error)
    director.sluiced.stop()
    done = director.attempt(BIN / "sluice", "snat", "list")
    assert done.returncode == 1 and "no director runs" in done.stderr


@pytest.mark.parametrize("options", ["", "--atomic", "--replace", "--atomic --replace"])
def test_saved_rules_are_restored(director, options):
    add_all(director)
    director.sluiced.ipvsadm("-A -t 198.51.100.10:80 -s rr")
    saved = sluice(director, "save")
    assert [line for line in saved.splitlines() if line.startswith("snat")] == [
        f"snat add {rule}" for rule in (WEB, DESK, OFFICE, SIX)]
    if "--replace" in options:
        sluice(director, "snat delete six")
        sluice(director, "snat add gone --inside 10.7.0.0/16 --pool 192.0.2.70")
    else:
        sluice(director, "snat flush")
        director.sluiced.ipvsadm("-C")
    assert sluice(director, "restore", options, input=saved) == ""
    assert sluice(director, "save") == saved
    # A file with a rule that is wrong, and one that another is in the way of.
    for line, said in (("snat add bad --inside 10.0.0.0/8", "which addresses"),
                       (f"snat add {OFFICE}", "there is a rule"),
                       ("snat flush", "only `snat add' can stand here")):
        text = f"snat add first --inside 10.8.0.0/16 --pool 192.0.2.80\n{line}\n"
        done = director.attempt(BIN / "sluice", "restore", "--atomic", input=text)
        assert done.returncode == 1
        assert done.stderr.startswith("standard input:2: ") and said in done.stderr, done.stderr
        assert "nothing was changed" in done.stderr
        assert sluice(director, "save") == saved


def test_a_daemon_starts_with_them_and_keeps_them(lab, director):
    director.sluiced.stop()
    file = lab.directory / "rules"
    file.write_text("# gateway\n" + "".join(f"snat add {rule}\n" for rule in ALL))
    sluiced = Sluiced(director, "--rules", file)
    assert rules(director) == [WEB, DESK, OFFICE, SIX]
    # What outlives the process: the rules are there again, and the file is not read.
    sluice(director, "snat delete desk")
    sluice(director, "stop --keep-forwarding")
    assert sluiced.process.wait(1) == 0
    again = Sluiced(director, "--rules", file)
    assert rules(director) == [WEB, OFFICE, SIX]
    assert again.stop() == 0
    # One that is wrong is refused with its place, and nothing is served.
    file.write_text(f"snat add {WEB}\nsnat add web --pool 192.0.2.99\n")
    done = director.attempt(BIN / "sluiced", "--interface", "eth0", "--rules", file)
    assert done.returncode == 1 and f"{file}:2: " in done.stderr
    assert "there is a rule `web' already" in done.stderr


def test_apply_makes_them_equal(lab, director):
    add_all(director)
    exported = sluice(director, "export")
    assert sluice(director, "apply", input=exported) == ""
    wanted = f'snat_rules = [\n  "{WEB}",\n  "{DESK} --limit 5",\n  "new --pool 192.0.2.77",\n]\n'
    expected = [f"- snat add {rule}" for rule in (DESK, OFFICE, SIX)] + [
        f"+ snat add {DESK} --limit 5", "+ snat add new --pool 192.0.2.77"]
    before = rules(director)
    assert sluice(director, "apply --dry-run", input=wanted).splitlines() == expected
    assert rules(director) == before
    assert sluice(director, "apply", input=wanted).splitlines() == expected
    assert rules(director) == [WEB, f"{DESK} --limit 5", "new --pool 192.0.2.77"]
    # What a file does not name stays.
    assert sluice(director, "apply", input="[timeouts]\ntcp = 800\n") != ""
    assert rules(director) == [WEB, f"{DESK} --limit 5", "new --pool 192.0.2.77"]
    # One rule that can't be: nothing changes, and the place is told.
    error = refused(director, "apply", status=1, input=(
        'snat_rules = [\n  "a --pool 192.0.2.1",\n  "b --pool 192.0.2.2",\n]\n'))
    assert "standard input:3:3: " in error and "nothing was changed" in error
    error = refused(director, "apply", status=1, input='snat_rules = ["a --pool here"]\n')
    assert "standard input:1:15: snat_rules: --pool: `here'" in error
    assert sluice(director, "apply", input=exported) != ""
    assert sluice(director, "export") == exported
    assert sluice(director, "apply", input="snat_rules = []\n") != ""
    assert rules(director) == []


def test_status_tells_of_them(director):
    status = json.loads(director.attempt(BIN / "sluice", "status", "--json").stdout)
    assert status["snat"] == []
    assert "source NAT" not in director.attempt(BIN / "sluice", "status").stdout
    add_all(director)
    status = json.loads(director.attempt(BIN / "sluice", "status", "--json").stdout)
    assert [one["name"] for one in status["snat"]] == ["web", "desk", "office", "six"]
    office = status["snat"][2]
    assert f"office {office['rule']}" == OFFICE
    assert office["active_connections"] == 0 and office["clients"] == 0
    assert office["refused"] == {"no_port": 0, "limit": 0, "no_room": 0}
    text = director.attempt(BIN / "sluice", "status").stdout
    assert "source NAT: 4 rules, 0 inside hosts, 0 connections, 0 refused" in text
