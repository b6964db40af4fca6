# SPDX-License-Identifier: Apache-2.0
"""Operating the daemon: watchdog, reload, log, health, a full table."""

import json
import os
import re
import signal
import socket

import pytest
from cluster import VIP, Cluster
from lab import BIN, Sluiced, wait_until


def log_of(sluiced):
    return sluiced.log.read_text()



class Manager:
    """The service manager's end of the notification socket."""

    def __init__(self, lab):
        self.path = str(lab.directory / "manager")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(5)

    def next(self):
        return self.socket.recv(4096).decode()

    def wait_for(self, text):
        while True:
            said = self.next()
            if text in said:
                return said


def test_the_watchdog_is_fed_while_the_loop_runs(lab, director):
    manager = Manager(lab)
    process = director.start(BIN / "sluiced", "--interface", "eth0",
                             env={**os.environ, "NOTIFY_SOCKET": manager.path,
                                  "WATCHDOG_USEC": "200000"})
    manager.wait_for("READY=1")
    for _ in range(5):
        assert manager.next() == "WATCHDOG=1"
    # A daemon that hangs gives no sign, and one that goes on does again.
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        manager.socket.settimeout(0.6)
        while True:
            manager.next()
    process.send_signal(signal.SIGCONT)
    manager.socket.settimeout(5)
    manager.wait_for("WATCHDOG=1")
    # A reload is told as sd_notify(3) wants it.
    process.send_signal(signal.SIGHUP)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", manager.wait_for("RELOADING=1"))
    manager.wait_for("READY=1")
    process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    assert process.wait(5) == 0


@pytest.mark.parametrize("configured,word,is_kept", [
    ("false", None, False), ("true", None, True),
    ("false", "--keep-forwarding", True), ("true", "--remove", False)])
def test_stop_by_command(lab, director, configured, word, is_kept):
    """The command returns when the daemon is gone, with or without what it leaves behind."""
    file = lab.directory / "sluiced.toml"
    file.write_text(f'interfaces = ["eth0"]\nkeep_forwarding = {configured}\n')
    sluiced = Sluiced(director, "--config", file, interfaces=[])
    sluiced.ipvsadm("-A -t 198.51.100.10:80 -s rr")
    done = director.attempt(BIN / "sluice", "stop", *([word] if word else []))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sluiced.process.wait(0.1) == 0
    assert "stopping: a client of the control socket asked for it" in log_of(sluiced)
    assert director.has_xdp("eth0") == is_kept
    again = Sluiced(director, "--config", file, interfaces=[])
    assert ("198.51.100.10:80" in again.ipvsadm("-Ln")) == is_kept
    director.run(BIN / "sluice", "stop", "--remove")


def test_stop_that_can_not_be(lab, director):
    def attempt(*words, **options):
        done = director.attempt(BIN / "sluice", "stop", *words, **options)
        assert done.stdout == ""
        return done.returncode, done.stderr

    status, said = attempt()
    assert status == 1 and "no director runs" in said
    sluiced = Sluiced(director)
    for words in (["--now"], ["--keep-forwarding", "--remove"]):
        status, said = attempt(*words)
        assert status == 2 and said.startswith("sluice stop: ")
    unprivileged = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                    "--bounding-set", "-all"]
    done = director.attempt(*unprivileged, BIN / "sluice", "stop")
    assert done.returncode == 1 and "stop" in done.stderr
    assert sluiced.process.poll() is None
    assert sluiced.stop() == 0


def test_stop_keeps_nothing_where_nothing_can_be_pinned(lab, director):
    """A director that can leave nothing behind says so, and goes on."""
    hidden = ["unshare", "--mount", "sh", "-c",
              "mount -t bpf -o ro none /sys/fs/bpf && exec \"$0\" \"$@\""]
    manager = Manager(lab)
    process = director.start(*hidden, BIN / "sluiced", "--interface", "eth0",
                             env={**os.environ, "NOTIFY_SOCKET": manager.path})
    manager.socket.settimeout(30)
    manager.wait_for("READY=1")
    done = director.attempt(BIN / "sluice", "stop", "--keep-forwarding")
    assert done.returncode == 1 and "can't leave its connections to XDP" in done.stderr
    assert process.poll() is None
    director.run(BIN / "sluice", "stop")
    assert process.wait(5) == 0


def reload(sluiced):
    """Sends SIGHUP; returns what the log says of it."""
    before = len(log_of(sluiced))
    sluiced.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload: " in log_of(sluiced)[before:], "the reload is logged")
    # What needs a restart is said in the line after, from the same turn of the loop.
    sluiced.ipvsadm("-Ln")
    return log_of(sluiced)[before:]


def test_reload(lab, director):
    file = lab.directory / "sluiced.toml"
    file.write_text('interfaces = ["eth0"]\nlog_level = "info"\n')
    sluiced = Sluiced(director, "--config", file, interfaces=[])
    sluiced.ipvsadm("-A -t 198.51.100.10:80 -s rr")
    assert "nothing to apply" in reload(sluiced)

    file.write_text('interfaces = ["eth0"]\nsocket_group = "nogroup"\n'
                    "[settings]\nexpire_nodest_conn = 1\n")
    said = reload(sluiced)
    assert "applied socket_group, expire_nodest_conn" in said
    assert "restart" not in said
    member = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
              "--bounding-set", "-all"]
    assert "198.51.100.10:80" in director.run(*member, BIN / "ipvsadm", "-Ln")

    # What can't be changed is named each time, and stays as it is.
    file.write_text('interfaces = ["eth0"]\nxdp_mode = "generic"\ntable_size = 1000\nlog_level = "warning"\n'
                    '[settings]\nexpire_nodest_conn = 1\n')
    said = reload_quiet(sluiced)
    assert "xdp_mode, table_size changed, which needs a restart" in said
    assert "of 65536" in director.attempt(BIN / "sluice", "status").stdout
    assert director.attempt(*member, BIN / "ipvsadm", "-Ln").returncode != 0
    assert "198.51.100.10:80" in sluiced.ipvsadm("-Ln")


def reload_quiet(sluiced):
    """As `reload`, for a level at which only the warning is written."""
    before = len(log_of(sluiced))
    sluiced.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "restart" in log_of(sluiced)[before:], "the warning is logged")
    return log_of(sluiced)[before:]


@pytest.mark.parametrize("text,reason", [
    ('log_level = "error"\n[settings]\ndrop_entry = 9\n', r":3:14: 'drop_entry' must be"),
    ('log_level = "error"\nsocket_group = "nosuch"\n', "no group 'nosuch'"),
    ('log_level = "error"\ninterfaces = [\n', "toml:"),
    (None, "No such file"),
], ids=["value", "group", "syntax", "no-file"])
def test_a_wrong_file_changes_nothing(lab, director, text, reason):
    file = lab.directory / "sluiced.toml"
    file.write_text('interfaces = ["eth0"]\n')
    sluiced = Sluiced(director, "--config", file, interfaces=[])
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    said = reload(sluiced)
    assert re.search(reason, said) and "nothing was changed" in said, said
    # Had the level been changed, this line would be missing.
    file.write_text('interfaces = ["eth0"]\n')
    assert "nothing to apply" in reload(sluiced)


def test_json_log(lab, director):
    sluiced = Sluiced(director, "--log-format", "json")
    sluiced.stop()
    lines = [json.loads(line) for line in log_of(sluiced).splitlines()]
    assert len(lines) >= 2
    for line in lines:
        assert set(line) == {"time", "level", "name", "message"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert ("info", "stopping: Terminated") in [(line["level"], line["message"])
                                                for line in lines]
    done = director.attempt(BIN / "sluiced", "--log-format", "json", "--interface", 'no"such')
    assert done.returncode == 1
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["level"] == "error" and 'no"such' in last["message"]


def health(node):
    return re.search("^health: (.*)$", node.attempt(BIN / "sluice", "status").stdout, re.M).group(1)


def test_health_tells_of_a_gone_interface(lab, director):
    lab.connect(director, "eth1", "ext")
    sluiced = Sluiced(director)
    assert health(director) == "ok"
    director.run("ip", "link", "delete", "eth1")
    wait_until(lambda: health(director) == "degraded: interface eth1 is gone", "it is noticed")
    director.interfaces.remove("eth1")
    lab.connect(director, "eth1", "ext")
    wait_until(lambda: health(director) == "ok", "it is served again")
    assert "health: degraded: interface eth1 is gone" in log_of(sluiced)


FILL = """
import socket, sys
address, first, last, patience = sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4])
answered = 0
for port in range(first, last):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(patience)
    udp.bind(("", port))
    udp.connect((address, 80))
    udp.send(b"x")
    try:
        udp.recv(100)
        answered += 1
    except OSError:
        pass
print(answered)
"""


def test_a_full_table_refuses_new_connections_and_says_so(lab):
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start("--table-size", 100)
    # Else half-open connections make room.
    cluster.director.run(BIN / "sluice", "sysctl", "sluice.punt_limit=0")
    cluster.add_service(4, protocol="-u")

    def fill(first, last, patience=2):
        return int(cluster.client.run("python3", "-c", FILL, VIP[4], first, last, patience))

    assert fill(20000, 20100) == 100
    assert "of 100" in cluster.director.attempt(BIN / "sluice", "status").stdout
    wait_until(lambda: "table" in health(cluster.director), "a full table is told")
    assert health(cluster.director) == "degraded: the connection table is nearly full"
    assert fill(30000, 30010, 0.05) == 0
    status = cluster.director.attempt(BIN / "sluice", "status").stdout
    assert re.search(r"^ +table_full +10$", status, re.M), status
    wait_until(lambda: "refused" in health(cluster.director), "refusals are told")
    # Connections that exist pass as before.
    assert fill(20000, 20100) == 100
    assert fill(30000, 30010, 0.05) == 0
    assert log_of(sluiced).count("the connection table is full (100 of 100)") == 1


def test_a_wrong_line_of_many_rules_is_named(lab, director):
    lines = ["-A -t 198.51.100.10:80 -s rr"]
    lines += [f"-a -t 198.51.100.10:80 -r 10.{n // 62500}.{n // 250 % 250}.{n % 250 + 1}:80 -m"
              for n in range(9999)]
    good = lines[4999]
    rules = lab.directory / "rules"
    for wrong, reason in (("-a -t 198.51.100.10:80 -r 10.0.0.1:80 -m", "already exists"),
                          ("-a -t 198.51.100.99:80 -r 10.0.0.1:80 -m", "not defined"),
                          ("-a -t 198.51.100.10:80 -r nonsense::1:99999 -m", "illegal")):
        lines[4999] = wrong
        rules.write_text("\n".join(lines) + "\n")
        done = director.attempt(BIN / "sluiced", "--interface", "eth0", "--rules", rules)
        assert done.returncode == 1
        assert f"{rules}:5000: " in done.stderr and wrong in done.stderr, done.stderr
        assert reason in done.stderr.lower(), done.stderr
        assert not director.has_xdp("eth0")
    lines[4999] = good
    rules.write_text("\n".join(lines) + "\n")
    sluiced = Sluiced(director, "--rules", rules)
    assert len(sluiced.ipvsadm("-Sn").splitlines()) == 10000


def test_ipvsadm_restores_around_a_wrong_line(lab, director):
    """As ipvsadm -R has it: what the director refuses is told and passed over, the rest is done; a
    line that is no command ends it, and what came before stays."""
    sluiced = Sluiced(director)
    lines = ["-A -t 198.51.100.10:80 -s rr"]
    lines += [f"-a -t 198.51.100.10:80 -r 10.{n // 62500}.{n // 250 % 250}.{n % 250 + 1}:80 -m"
              for n in range(9999)]
    for wrong, status, told, left in (
            ("-a -t 198.51.100.99:80 -r 10.0.0.1:80 -m", 0, "Service not defined", 9999),
            ("-a -t 198.51.100.10:80 -r nonsense::1:99999 -m", 2,
             "illegal real server address[:port] specified", 4999)):
        sluiced.ipvsadm("-C")
        rules = "\n".join(lines[:4999] + [wrong] + lines[5000:]) + "\n"
        done = director.attempt(BIN / "ipvsadm", "-R", input=rules, timeout=30)
        assert done.returncode == status and done.stderr.strip() == told, done.stderr
        assert len(sluiced.ipvsadm("-Sn").splitlines()) == left


def test_every_setting_of_the_kernel(lab, director):
    """Each net.ipv4.vs.* can be in the file and be changed by its name."""
    file = lab.directory / "sluiced.toml"
    file.write_text('[settings]\nest_cpulist = "0-1"\nconn_max = 5\nsync_threshold = "4 60"\n'
                    "sluice.quirk_icmpv6_checksum = 1\n")
    Sluiced(director, "--config", file)
    found = dict(line.split(" = ") for line in
                 director.run(BIN / "sluice", "sysctl").splitlines())
    short = {name.removeprefix("net.ipv4.vs.") for name in found}
    assert short >= set("""amemthresh am_droprate drop_entry drop_packet conntrack secure_tcp
        snat_reroute sync_version sync_ports sync_persist_mode sync_qlen_max sync_sock_size
        cache_bypass expire_nodest_conn sloppy_tcp sloppy_sctp expire_quiescent_template
        sync_threshold sync_refresh_period sync_retries nat_icmp_send pmtu_disc backup_only
        conn_reuse_mode schedule_icmp ignore_tunneled run_estimation est_cpulist est_nice
        debug_level lblc_expiration lblcr_expiration conn_lfactor svc_lfactor conn_max""".split())
    assert found["net.ipv4.vs.est_cpulist"] == "0-1"
    assert found["net.ipv4.vs.conn_max"] == "5"
    assert found["net.ipv4.vs.sync_threshold"] == "4\t60"
    assert found["sluice.quirk_icmpv6_checksum"] == "1"
    for name, value in found.items():
        fresh = {"net.ipv4.vs.est_cpulist": "1", "net.ipv4.vs.sync_threshold": "1\t2"}.get(
            name, str(1 - int(value[0] == "1")) if name != "net.ipv4.vs.sync_ports" else "2")
        told = director.run(BIN / "sluice", "sysctl", f"{name}={fresh}")
        assert told == f"{name} = {fresh}\n"
    wrong = director.attempt(BIN / "sluice", "sysctl", "est_nice=20")
    assert wrong.returncode == 1 and "net.ipv4.vs.est_nice cannot be `20'" in wrong.stderr
