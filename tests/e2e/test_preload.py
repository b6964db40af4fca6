# SPDX-License-Identifier: Apache-2.0
"""The preload library (`sluice run`): what programs of the kernel's IPVS see of `sluiced`."""

import json
import signal
import subprocess

import pytest
from cluster import VIP, Cluster
from lab import BIN, HERE, PYTHON, Sluiced

HINT = ("sluice: no sluiced runs in this network namespace; start it with "
        "`systemctl start sluiced'\n")


@pytest.fixture
def director(lab):
    """A node with a daemon."""
    node = lab.node("director")
    lab.bridge("ext")
    lab.connect(node, "eth0", "ext")
    node.address("eth0", "198.51.100.1/24", f"{VIP[4]}/32")
    node.sluiced = Sluiced(node)
    return node


def preloaded(node, *words, **options):
    return node.attempt(BIN / "sluice", "run", "--", *words, **options)


def client(node, what):
    done = preloaded(node, PYTHON, HERE / "netlink_client.py", what)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def test_the_older_interface_is_the_kernels(director):
    """setsockopt() and getsockopt(): the same bytes and errors as recorded from Linux 6.1."""
    done = preloaded(director, PYTHON, HERE / "socket_options.py")
    assert done.stdout == (HERE / "socket_options.expected").read_text("utf-8")
    assert done.stderr == ""


def test_netlink(director):
    assert client(director, "ways_to_talk") == {
        "kinds": [[True]] * 4, "sender": [[0, 0]] * 2, "flags": 0, "read": [True, True]}
    assert client(director, "peek") == {"same": True, "then": True}
    assert client(director, "names") == {"kept": True, "peer": [0, 0], "kind": [16, 3, 16]}
    assert client(director, "copies") == {"errors": [0, 0], "child": 0, "number": True}
    assert client(director, "waiting") == "would block"
    assert client(director, "polling") == {"before": [], "after": True, "then": []}
    assert client(director, "others") == {
        "controller": 16, "after": "ENOENT", "missing": "ENOENT", "links": True, "reused": True,
        "received": "x", "name": ""}


def test_long_list(director):
    rules = "".join(f"-A -t {VIP[4]}:{port} -s rr\n" for port in range(1, 1001))
    assert preloaded(director, "ipvsadm", "-R", input=rules).returncode == 0
    assert client(director, "long_list") == {"services": 1000, "error": 0}
    assert director.run(BIN / "ipvsadm", "-S", "-n") == \
        preloaded(director, "ipvsadm", "-S", "-n").stdout


def test_the_daemon_is_started_anew(director):
    """A program with a socket that it keeps, as keepalived: an error while there is no daemon, then
    the new one."""
    director.sluiced.ipvsadm(f"-A -t {VIP[4]}:80 -s rr")
    with director.start(BIN / "sluice", "run", "--", PYTHON, HERE / "netlink_client.py", "lasting",
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                        text=True) as process:
        def ask():
            process.stdin.write("\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        process.stdout.readline()
        assert ask() == {"services": 1, "error": 0}
        director.sluiced.stop(signal.SIGKILL)
        assert ask() == ask() == {"services": 0, "error": "ECONNREFUSED"}
        director.sluiced = Sluiced(director)
        director.sluiced.ipvsadm(f"-A -t {VIP[4]}:81 -s rr", )
        assert ask() == {"services": 2, "error": 0}
        process.stdin.close()
        assert process.wait(10) == 0 and process.stderr.read() == HINT


def test_files(director):
    """cat, ls, sysctl, a shell and Python on the files of IPVS under /proc."""
    def out(*words):
        done = preloaded(director, *words)
        assert done.returncode == 0 and done.stderr == "", done
        return done.stdout

    director.sluiced.ipvsadm(f"-A -t {VIP[4]}:80 -s rr")
    assert f"TCP  {bytes(map(int, VIP[4].split('.'))).hex().upper()}:0050 rr" in \
        out("cat", "/proc/net/ip_vs")
    for name, first in (("ip_vs_conn", "Pro FromIP"), ("ip_vs_conn_sync", "Pro FromIP"),
                        ("ip_vs_stats", "   Total"), ("ip_vs_stats_percpu", "       Total")):
        assert out("cat", f"/proc/self/net/{name}").startswith(first)
    assert out("ls", "-l", "/proc/net/ip_vs").startswith("-r--r--r-- 1 root root ")
    folder = "/proc/sys/net/ipv4/vs"
    out("test", "-d", folder)
    assert out("sysctl", "-w", "net.ipv4.vs.drop_entry=1") == "net.ipv4.vs.drop_entry = 1\n"
    assert out("bash", "-c", f"echo 2 > {folder}/drop_entry; cat {folder}/drop_entry") == "2\n"
    python = f"""
f = open("{folder}/sync_threshold", "w"); f.write("5 60"); f.close()
print(open("{folder}/sync_threshold").read(), end="")
try: open("{folder}/drop_entry", "w", buffering=1).write("9\\n")
except OSError as error: print(error.errno)
"""
    assert out(PYTHON, "-c", python) == "5\t60\n22\n"
    assert director.run(BIN / "sluice", "sysctl", "sync_threshold", "drop_entry") == \
        "net.ipv4.vs.sync_threshold = 5\t60\nnet.ipv4.vs.drop_entry = 2\n"
    refused = preloaded(director, "bash", "-c", f"echo 9 > {folder}/drop_entry")
    assert refused.stderr == "sluice: sluiced refuses the value of a setting\n"
    for path in ("/proc/net/ip_vs_none", f"{folder}/none"):
        assert "No such file" in preloaded(director, "cat", path).stderr
    assert "Permission denied" in preloaded(director, "tee", "/proc/net/ip_vs").stderr


def test_connections(lab):
    """ipvsadm -Lnc reads /proc/net/ip_vs_conn."""
    cluster = Cluster(lab)
    sluiced = cluster.start()
    for family in (4, 6):
        cluster.add_service(family)
        assert cluster.client.fetch_many(VIP[family], 6)[""] == 0

    def connections(text):
        return sorted(line.split()[:1] + line.split()[2:] for line in text.splitlines()[2:])

    stock = connections(preloaded(sluiced.node, "ipvsadm", "-Lnc").stdout)
    assert len(stock) == 12 and stock == connections(sluiced.ipvsadm("-Lnc"))
    assert preloaded(sluiced.node, "ipvsadm", "-Ln", "--stats").stdout == \
        sluiced.ipvsadm("-Ln --stats")


def test_modules(director):
    """The kernel's IPVS must not be loaded beside the director; other modules are not concerned."""
    for words in (("sh", "-c", "modprobe ip_vs"), ("sh", "-c", "/sbin/modprobe -va ip_vs_rr"),
                  (PYTHON, "-c", "import os; os.execv('/sbin/modprobe', ['modprobe', 'ip_vs'])")):
        done = preloaded(director, *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), words
    other = preloaded(director, "modprobe", "sluice_no_such_module")
    assert other.returncode == 1 and "sluice_no_such_module not found" in other.stderr


def test_without_a_daemon(lab):
    """As if the kernel's module were missing, and a hint."""
    node = lab.node("director")
    done = preloaded(node, "ipvsadm", "-Ln")
    assert done.returncode == 2
    assert done.stderr == HINT + ("Can't initialize ipvs: Protocol not available\n"
                                  "Are you sure that IP Virtual Server is built in the kernel "
                                  "or as module?\n")
    done = preloaded(node, "cat", "/proc/net/ip_vs")
    assert done.returncode == 1
    assert done.stderr == HINT + "cat: /proc/net/ip_vs: No such file or directory\n"
    assert preloaded(node, "sh", "-c", "modprobe ip_vs").returncode == 127
    assert preloaded(node, "test", "-e", "/proc/sys/net/ipv4/vs").returncode == 1


def test_without_privileges(director):
    """A user is told what the kernel tells: ipvsadm finds the family, and is refused."""
    done = preloaded(director, "setpriv", "--reuid", 65534, "--clear-groups", "ipvsadm", "-Ln")
    assert done.returncode != 0 and "Permission denied (you must be root)" in done.stderr


def test_sluice_run(director, tmp_path):
    assert preloaded(director, "sh", "-c", "exit 7").returncode == 7
    done = preloaded(director, "sh", "-c", "echo $LD_PRELOAD",
                     env={"PATH": "/usr/bin:/bin", "LD_PRELOAD": "/lib/x86_64-linux-gnu/libdl.so.2"})
    assert done.stdout == f"{BIN.parent}/lib/libsluice-ipvs.so:/lib/x86_64-linux-gnu/libdl.so.2\n"
    assert preloaded(director, "no-such-program").returncode == 127
    assert preloaded(director, tmp_path).returncode == 126
    none = director.attempt(BIN / "sluice", "run")
    assert none.returncode == 2 and "needs a command" in none.stderr
