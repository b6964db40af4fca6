# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around the daemon: killed at any time, no descriptors, no memory to lock, too
many clients, a peer that freezes."""

import os
import signal
import struct
import subprocess
import time

import pytest
from cluster import VIP, Cluster
from lab import BIN, Sluiced, wait_until

LIMITED = ["setpriv", "--bounding-set", "-ipc_lock,-sys_resource", "--inh-caps",
           "-ipc_lock,-sys_resource"]


def test_killed_at_any_stage_of_the_start(lab):
    """SIGKILL after 0, 40, 80 ... ms: the next start is not hindered, and the host works. A machine
    that needs more than two seconds for a start gets larger steps."""
    cluster = Cluster(lab, servers=1)
    director = cluster.director
    director.had_daemon = True
    log = lab.directory / "killed.log"
    lab.logs.append(log)
    attached = 0
    for stage in range(150):
        with log.open("ab") as file:
            process = director.start(BIN / "sluiced", "--interface", "eth0", stderr=file)
        # The stage of the start at which it is killed.
        time.sleep(stage * 0.04 if stage < 50 else 2 + (stage - 50) * 0.25)
        attached += director.has_xdp("eth0")
        process.kill()
        process.wait(5)
        if attached == 3:
            break
    said = log.read_text()
    assert "another sluiced" not in said and "error" not in said, said
    assert attached == 3 and stage > 3, "it was killed before and after the attachment"
    cluster.start()
    cluster.add_service(4)
    assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 3}


def test_killed_at_any_stage_of_the_stop(lab, director):
    for stage in range(6):
        sluiced = Sluiced(director)
        sluiced.process.send_signal(signal.SIGTERM)
        time.sleep(stage * 0.004)
        sluiced.process.kill()
        assert sluiced.process.wait(5) in (0, -signal.SIGKILL)
    sluiced = Sluiced(director)
    assert sluiced.stop() == 0
    wait_until(lambda: not director.has_xdp("eth0"), "the XDP program is gone")
    assert "sluice" not in director.run("ip", "-br", "link")


@pytest.mark.parametrize("most", [20, 300])
def test_too_few_descriptors_to_start(director, most):
    done = director.attempt("prlimit", f"--nofile={most}", BIN / "sluiced", "--interface", "eth0",
                            timeout=10)
    assert done.returncode == 1, done
    assert f"only {most} file descriptors may be open, 512 are needed" in done.stderr, done.stderr
    assert not director.has_xdp("eth0")


CROWD = """
import socket, sys, time
crowd = []
for number in range(int(sys.argv[1])):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(0.2)
    try:
        client.connect("\\0sluice/ipvs")
    except OSError:
        break
    crowd.append(client)
print(len(crowd), flush=True)
sys.stdin.read()
"""


def test_descriptors_run_out_while_it_works(lab):
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start()
    cluster.add_service(4)
    open_now = len(os.listdir(f"/proc/{sluiced.process.pid}/fd"))
    most = open_now + 10
    subprocess.run(["prlimit", "--pid", str(sluiced.process.pid), f"--nofile={most}:{most}"],
                   check=True)
    crowd = cluster.director.start("python3", "-c", CROWD, 60, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
    assert int(crowd.stdout.readline()) > 10
    wait_until(lambda: "cannot accept clients: Too many open files" in sluiced.log.read_text(),
               "it is told")
    # Packets go on, and it is told once.
    assert cluster.client.fetch_many(VIP[4], 50) == {"rs1": 50}
    wait_until(lambda: len(os.listdir(f"/proc/{sluiced.process.pid}/fd")) == most, "all are used")
    crowd.stdin.close()
    crowd.wait(5)
    wait_until(lambda: cluster.director.attempt(BIN / "ipvsadm", "-Ln", timeout=5).returncode == 0,
               "clients are served again")
    assert sluiced.log.read_text().count("cannot accept") == 1


def test_no_memory_may_be_locked(director):
    """Without CAP_IPC_LOCK, the packet memory counts against RLIMIT_MEMLOCK."""
    done = director.attempt(*LIMITED, "prlimit", "--memlock=65536", BIN / "sluiced", "--interface",
                            "eth0", timeout=10)
    assert done.returncode == 1, done
    assert "allow locked memory: ulimit -l unlimited" in done.stderr, done.stderr
    assert not director.has_xdp("eth0")


def test_a_hundred_clients_at_once(lab):
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start()
    cluster.add_service(4)
    rules = "".join(f"-A -u {VIP[4]}:{port} -s rr\n" for port in range(1000, 1300))
    sluiced.ipvsadm("-R", input=rules)
    everything = cluster.director.start(
        "sh", "-c", f"for i in $(seq 100); do {BIN}/ipvsadm -Ln | wc -l & done; wait",
        stdout=subprocess.PIPE, text=True)
    assert cluster.client.fetch_many(VIP[4], 50) == {"rs1": 50}
    counts = everything.communicate(timeout=30)[0].split()
    # Three lines of heading, a service with a server, and 300 without.
    assert counts == [str(3 + 2 + 300)] * 100


JUMPING_CLOCKS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

/* Seconds that the clocks are ahead: the wall's, then the monotonic one's. */
static const volatile long *ahead;

__attribute__((constructor)) static void start(void) {
  const int file = open(getenv("CLOCKS"), O_RDONLY);
  ahead = mmap(NULL, 2 * sizeof(long), PROT_READ, MAP_SHARED, file, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  const int result = real(clock, now);
  now->tv_sec += ahead[clock != CLOCK_REALTIME];
  return result;
}
"""
HOUR = 3600


def test_clocks_that_jump(lab, monkeypatch):
    """The wall clock goes anywhere: nothing changes. The monotonic one, after the machine was
    stopped: connections that are too old are gone, new ones work."""
    source, library, clocks = (lab.directory / name for name in ("c.c", "c.so", "clocks"))
    source.write_text(JUMPING_CLOCKS)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)

    def jump(wall, monotonic):
        with clocks.open("r+b") as file:
            file.write(struct.pack("ll", wall, monotonic))

    clocks.write_bytes(bytes(16))
    cluster = Cluster(lab, servers=1)
    with monkeypatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        patch.setenv("CLOCKS", str(clocks))
        sluiced = cluster.start()
    cluster.add_service(4, scheduler="rr", flags="-p 600")

    def connections():
        return [line.split()[1:3] for line in sluiced.ipvsadm("-Lnc").splitlines()[2:]]

    assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 3}
    before = connections()
    assert len(before) == 4
    for wall in (30 * 365 * 24 * HOUR, -40 * 365 * 24 * HOUR, 0):
        jump(wall, 0)
        assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 3}
    assert len(connections()) == 4 + 9
    jump(0, 5 * 60)  # closed connections live two minutes, the template ten
    wait_until(lambda: [state for _, state in connections()] == ["ASSURED"],
               f"only the template stays of {connections()}")
    assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 3}
    jump(0, 24 * 365 * HOUR)
    wait_until(lambda: connections() == [], "all is gone after a year")
    assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 3}
    rates = sluiced.ipvsadm("-Ln --rate")
    assert max(int(word) for line in rates.splitlines()[3:] for word in line.split()[-5:]) < 10000
    # Back again, which Linux never does: nothing is lost and nobody waits.
    jump(0, 0)
    assert cluster.client.fetch_many(VIP[4], 3) == {"rs1": 3}
    sluiced.ipvsadm("-Ln", timeout=5)
    log = sluiced.log.read_text()
    assert "error" not in log, log


FROZEN = """
import socket, struct, sys, time
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
client.connect("\\0sluice/ipvs")
def message(kind, flags, command, attributes=b""):
    body = struct.pack("=BBH", command, 1, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body
client.send(message(16, 5, 3, struct.pack("=HH", 9, 2) + b"IPVS\\0\\0\\0\\0"))
answer = client.recv(65536)
family = struct.unpack_from("=H", answer[answer.index(struct.pack("=HH", 6, 1)) + 4:])[0]
client.recv(65536) if len(answer) < 100 else None
# A listing of all services, which it never reads, and more requests behind it.
client.setblocking(False)
sent = 0
try:
    while sent < 100000:
        client.send(message(family, 0x305, 4))
        sent += 1
except BlockingIOError:
    pass
print(sent, flush=True)
time.sleep(60)
"""


def test_clients_that_never_read(lab):
    """Twenty ask for listings until their sockets are full, and do not read one."""
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start()
    cluster.add_service(4)
    sluiced.ipvsadm("-R", input="".join(f"-A -u {VIP[4]}:{port} -s rr\n"
                                        for port in range(1000, 1500)))
    frozen = [cluster.director.start("python3", "-c", FROZEN, stdout=subprocess.PIPE, text=True)
              for _ in range(20)]
    for process in frozen:
        assert int(process.stdout.readline()) > 1
    before = open(f"/proc/{sluiced.process.pid}/statm", encoding="ascii").read().split()[1]
    assert cluster.client.fetch_many(VIP[4], 50) == {"rs1": 50}
    assert len(sluiced.ipvsadm("-Ln", timeout=5).splitlines()) == 3 + 2 + 500
    after = open(f"/proc/{sluiced.process.pid}/statm", encoding="ascii").read().split()[1]
    assert int(after) - int(before) < 1024  # pages: their requests are not hoarded
    for process in frozen:
        process.kill()
    for process in frozen:
        process.wait()
    sluiced.ipvsadm("-Ln")
    assert "error" not in sluiced.log.read_text()
