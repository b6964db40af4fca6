# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: built, installed, run, upgraded and purged.

The system that they are installed on is this one with an overlay over it, in a mount namespace of
its own: all packages that they depend on are there, no mirror is asked, and nothing that happens
there reaches the host.
"""

import os
import pathlib
import re
import subprocess
import time

import pytest
from lab import BIN, Sluiced, execute, wait_until

BUILD = BIN.parent
NAMES = ("sluice", "sluice-realserver", "sluice-ipvsadm")
# What dpkg itself and the dynamic linker keep.
KEPT = re.compile(r"^(var/lib/dpkg|var/log|var/cache|etc/ld\.so\.cache|root|tmp|run)(/|$)")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """{name: path} of the packages, freshly built."""
    if not (BUILD / "CPackConfig.cmake").exists():
        pytest.skip(f"{BUILD} is no build folder: no packages can be made of it")
    folder = tmp_path_factory.mktemp("packages")
    execute(["cpack", "--config", BUILD / "CPackConfig.cmake", "-B", folder / "work",
             "-D", f"CPACK_OUTPUT_FILE_PREFIX={folder}"], timeout=300,
            cwd=BUILD)
    found = {path.name.split("_")[0]: path for path in folder.glob("*.deb")}
    assert sorted(found) == sorted(NAMES)
    return found


class System:
    """This system under an overlay, in which packages come and go."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "root"
        # A process holds the mount namespace.
        self.holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c",
                                        f"""set -e
            mount -t tmpfs sluice-test {folder}
            mkdir {folder}/up {folder}/work {folder}/root
            mount -t overlay -o lowerdir=/,upperdir={folder}/up,workdir={folder}/work overlay \
                {self.root}
            mount -t proc proc {self.root}/proc
            mount --rbind /dev {self.root}/dev
            mount -t tmpfs run {self.root}/run
            mount -t tmpfs tmp {self.root}/tmp
            echo ready
            exec sleep 100000"""], stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    def command(self, *words, node=None):
        network = [f"--net=/run/netns/{node.namespace}"] if node else []
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *network, "chroot", self.root,
                "/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *words]

    def run(self, *words, node=None, **options):
        return execute(self.command(*words, node=node), **options).stdout

    def inside(self, script, **options):
        """Runs a script outside of the root, but where the overlay is seen."""
        return execute(["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "sh", "-c", script],
                       **options).stdout

    def install(self, *paths):
        names = []
        for path in paths:
            subprocess.run(["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "sh", "-c",
                            f"cat > {self.root}/root/{path.name}"], input=path.read_bytes(),
                           check=True)
            names.append(f"/root/{path.name}")
        return self.run("dpkg", "-i", *names, timeout=120)

    def left(self):
        """Files that are there beyond those of the host, without what dpkg keeps."""
        listed = self.inside(f"cd {self.folder}/up && find . -type f -printf '%P\\n'")
        return sorted(name for name in listed.split("\n") if name and not KEPT.match(name))

    def has(self, path):
        return self.inside(f"test -e {self.root}{path} && echo yes || :") == "yes\n"

    def write(self, path, text):
        self.inside(f"cat > {self.root}{path}", input=text)

    def read(self, path):
        return self.inside(f"cat {self.root}{path}")


@pytest.fixture
def system(tmp_path):
    folder = tmp_path / "system"
    folder.mkdir()
    made = System(folder)
    yield made
    made.close()


BOOT = """
mount -t sysfs sysfs {root}/sys
mount -t bpf bpf {root}/sys/fs/bpf
mount -t tmpfs cgroup {root}/sys/fs/cgroup
mkdir {root}/sys/fs/cgroup/systemd {root}/sys/fs/cgroup/unified
mount -t cgroup2 cgroup2 {root}/sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd cgroup {root}/sys/fs/cgroup/systemd
rm -rf {root}/etc/systemd/system/*.wants
printf '[Unit]\\nDescription=nothing but what the test starts\\n' \
    > {root}/etc/systemd/system/sluice-test.target
for unit in sluiced sluice-realserver; do
  mkdir -p {root}/etc/systemd/system/$unit.service.d
  # The unit lifts the limit of locked memory, which a container may not; the capability stands for it.
  printf '[Service]\\nStandardOutput=append:/root/log\\nStandardError=append:/root/log\\n'\
'CapabilityBoundingSet=CAP_IPC_LOCK\\n' > {root}/etc/systemd/system/$unit.service.d/test.conf
done
cd {root}
exec chroot {root} env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=sluice-test.target
"""


class Machine:
    """The system of a test, started by systemd in namespaces of its own on a node's network."""

    def __init__(self, system, node):
        script = "set -e\nmount -t proc proc {root}/proc\n" + BOOT
        self.process = subprocess.Popen(
            ["nsenter", f"--mount=/proc/{system.holder.pid}/ns/mnt",
             f"--net=/run/netns/{node.namespace}", "unshare", "-m", "-p", "-u", "-i", "-C",
             "--fork", "--kill-child", "--propagation", "private", "sh", "-c",
             script.format(root=system.root)], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        node.lab.processes.append(self.process)
        self.init = wait_until(self.find, "systemd starts")
        wait_until(lambda: self.attempt("systemctl", "list-units").returncode == 0,
                   "systemd answers", seconds=30)

    def find(self):
        """The process that is number 1 in there; it is the child of `unshare'."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        listed = children.read_text().split()
        if self.process.poll() is not None:
            raise AssertionError("systemd does not start")
        return next((child for child in listed if pathlib.Path(f"/proc/{child}/comm").read_text()
                     == "systemd\n"), None)

    def attempt(self, *words):
        return execute(["nsenter", "-t", self.init, "-a", "-r", "-w", "env",
                        "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *words], check=False)

    def run(self, *words):
        done = self.attempt(*words)
        if done.returncode != 0:
            raise AssertionError(f"{words}: {done.stdout}{done.stderr}"
                                 + self.attempt("cat", "/root/log").stdout)
        return done.stdout


def fields(path):
    text = execute(["dpkg-deb", "-f", path]).stdout
    return dict(line.split(": ", 1) for line in text.splitlines() if re.match(r"[A-Z][\w-]*: ", line))


def test_what_the_packages_say(packages):
    real_server = fields(packages["sluice-realserver"])["Depends"]
    for heavy in ("sluice (", "libxdp", "libevent", "libspdlog", "libpopt"):
        assert heavy not in real_server
    ipvsadm = fields(packages["sluice-ipvsadm"])
    assert ipvsadm["Provides"].startswith("ipvsadm (= 1:")
    assert ipvsadm["Conflicts"] == ipvsadm["Replaces"] == "ipvsadm"
    assert "libbpf1" in fields(packages["sluice"])["Depends"]
    # No file is in two of them.
    seen = {}
    for name, path in packages.items():
        for line in execute(["dpkg-deb", "-c", path]).stdout.splitlines():
            file = line.split()[5]
            assert file.startswith(("./usr/", "./etc/", "./sbin/")) or file.endswith("/"), file
            if not file.endswith("/"):
                assert seen.setdefault(file, name) == name
                assert "root/root" in line


def test_install_run_upgrade_purge(packages, system, lab):
    system.install(*(packages[name] for name in NAMES))
    after = set(system.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n"
                           ).split("\n"))
    assert {f"ii  {name}" for name in NAMES} <= after
    assert "ii  ipvsadm" not in after  # replaced, if it was there
    assert not system.run("dpkg", "--audit")
    # Something that wants ipvsadm is satisfied by ours.
    wanting = system.folder.parent / "wants-ipvsadm"
    (wanting / "DEBIAN").mkdir(parents=True)
    (wanting / "DEBIAN/control").write_text(
        "Package: wants-ipvsadm\nVersion: 1\nArchitecture: all\nMaintainer: a test\n"
        "Depends: ipvsadm (>= 1:1.28)\nDescription: a test\n")
    execute(["dpkg-deb", "--root-owner-group", "-b", wanting, f"{wanting}.deb"])
    system.install(pathlib.Path(f"{wanting}.deb"))
    system.run("dpkg", "-P", "wants-ipvsadm")

    # The installed daemon runs with the installed configuration, as its unit says.
    unit = system.read("/usr/lib/systemd/system/sluiced.service")
    start = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1).split()
    node = lab.node("director")
    lab.connect(node, "eth0", lab.bridge("ext"))
    node.address("eth0", "198.51.100.1/24", "198.51.100.10/32")
    node.had_daemon = True
    system.write("/etc/sluice/rules", system.read("/etc/sluice/rules")
                 + "-A -t 198.51.100.10:80 -s wlc\n")
    log = lab.directory / "sluiced.log"
    lab.logs.append(log)
    with log.open("wb") as out:
        daemon = subprocess.Popen(system.command(*start, node=node), stderr=out)
    lab.processes.append(daemon)
    wait_until(lambda: b"serves eth0" in log.read_bytes() or daemon.poll() is not None,
               "sluiced serves")
    assert daemon.poll() is None, log.read_text()
    assert "198.51.100.10:80 wlc" in system.run("ipvsadm", "-Ln", node=node)
    assert "-A -t 198.51.100.10:80 -s wlc" in system.run("ipvsadm-save", "-n", node=node)
    system.run("ipvsadm-restore", node=node, input="-A -t 198.51.100.10:81 -s rr\n")
    assert "198.51.100.10:81 rr" in system.run("ipvsadm", "-Ln", node=node)
    system.run("ipvsadm", "-C", node=node)
    assert system.run("sluice", "status", node=node).startswith("OK\ndirector ")
    daemon.terminate()
    assert daemon.wait(10) == 0

    # An upgrade keeps what the administrator wrote.
    system.install(packages["sluice"])
    assert "-A -t 198.51.100.10:80 -s wlc" in system.read("/etc/sluice/rules")

    system.run("dpkg", "-r", *NAMES)
    assert system.has("/etc/sluice/sluice.toml") and system.has("/etc/default/sluice-realserver")
    assert not system.has("/usr/sbin/sluiced")
    system.run("dpkg", "-P", *NAMES)
    assert system.left() == []
    now = set(system.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n").split("\n"))
    assert not [line for line in now if "sluice" in line]


def test_removing_the_package_takes_the_set_up_back(packages, system, lab):
    node = lab.node("rs")
    lab.connect(node, "eth0", lab.bridge("ext"))
    node.address("eth0", "198.51.100.11/24")
    system.install(packages["sluice-realserver"])
    before = node.run("sysctl", "-n", "net.ipv4.conf.all.arp_ignore")
    system.run("sluice-realserver", "up", "--vip", "198.51.100.10", "--mode", "dr", "-i", "eth0",
               node=node)
    assert "198.51.100.10/32" in node.run("ip", "address", "show", "dev", "lo")
    system.run("dpkg", "-P", "sluice-realserver", node=node)
    assert "198.51.100.10" not in node.run("ip", "address")
    assert node.run("sysctl", "-n", "net.ipv4.conf.all.arp_ignore") == before
    assert system.left() == []


def test_units_are_valid_and_confined(packages, system):
    system.install(*(packages[name] for name in NAMES))
    for unit in ("sluiced.service", "sluice-realserver.service"):
        done = execute(system.command("systemd-analyze", "verify", "--man=no",
                                      f"/usr/lib/systemd/system/{unit}"))
        assert unit not in done.stderr, done.stderr
        # Of 100, the more the worse; what a service without any confinement gets is above 90.
        done = execute(system.command("systemd-analyze", "security", "--offline=yes",
                                      "--threshold=50",
                                      f"/usr/lib/systemd/system/{unit}"), check=False)
        assert done.returncode == 0, done.stdout[-3000:]


def test_the_units_under_systemd(packages, system, lab):
    """A real systemd applies all of the units: capabilities, system calls, the read-only system."""
    node = lab.node("director")
    lab.connect(node, "eth0", lab.bridge("ext"))
    node.address("eth0", "198.51.100.1/24", "198.51.100.10/32")
    node.had_daemon = True
    system.install(*(packages[name] for name in NAMES))
    system.write("/etc/sluice/rules", "-A -t 198.51.100.10:80 -s wlc\n")
    machine = Machine(system, node)
    machine.run("systemctl", "start", "sluiced")  # Type=notify: it serves when this returns
    assert "198.51.100.10:80 wlc" in machine.run("ipvsadm", "-Ln")
    pid = machine.run("systemctl", "show", "-P", "MainPID", "sluiced").strip()
    status = machine.run("cat", f"/proc/{pid}/status")
    assert "\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status
    machine.run("systemctl", "reload", "sluiced")
    assert "reload: nothing to apply" in machine.run("cat", "/root/log")
    assert node.has_xdp("eth0")
    machine.run("systemctl", "stop", "sluiced")
    assert not node.has_xdp("eth0")

    node.run("ip", "address", "del", "198.51.100.10/32", "dev", "eth0")
    system.write("/etc/default/sluice-realserver",
                 'OPTIONS="--vip 198.51.100.10,2001:db8:1::10 --mode tun -i eth0"\n')
    machine.run("systemctl", "start", "sluice-realserver")
    assert "all is in place" in machine.run("sluice-realserver", "status")
    assert node.has_xdp("eth0")
    assert "198.51.100.10/32" in node.run("ip", "address", "show", "dev", "lo")
    machine.run("systemctl", "stop", "sluice-realserver")
    assert not node.has_xdp("eth0")
    assert "198.51.100.10" not in node.run("ip", "address")


KEEPALIVED = """
virtual_server 198.51.100.10 8080 {
  delay_loop 1
  lb_algo wrr
  lb_kind NAT
  protocol TCP
  real_server 198.51.100.1 8081 {
    weight 3
  }
}
"""


def test_moving_from_ipvs(packages, system, lab):
    """The steps of docs/moving-from-ipvs.md, with Debian's ipvsadm and keepalived."""
    node = lab.node("director")
    lab.connect(node, "eth0", lab.bridge("ext"))
    node.address("eth0", "198.51.100.1/24", "198.51.100.10/32")
    node.had_daemon = True
    system.install(packages["sluice"])
    system.write("/root/settings.ipvs",
                 "net.ipv4.vs.expire_nodest_conn = 1\nnet.ipv4.vs.sync_threshold = 3\t60\n")
    page = (pathlib.Path(__file__).parents[2] / "docs/moving-from-ipvs.md").read_text()
    convert = re.search(r"^    (sed .* settings\.ipvs)$", page, re.M).group(1)
    settings = system.run("sh", "-c", f"cd /root && {convert}")
    system.write("/etc/sluice/sluice.toml", f'rules = "/etc/sluice/rules"\n[settings]\n{settings}')
    system.write("/etc/sluice/rules", "-A -t 198.51.100.10:80 -s wlc\n"
                 "-a -t 198.51.100.10:80 -r 198.51.100.1:8081 -m -w 1\n")
    system.write("/etc/keepalived/keepalived.conf", KEEPALIVED)
    machine = Machine(system, node)
    machine.run("systemctl", "start", "sluiced")
    assert "expire_nodest_conn = 1" in machine.run("sluice", "sysctl", "expire_nodest_conn")
    assert "= 3\t60" in machine.run("sluice", "run", "--", "sysctl", "net.ipv4.vs.sync_threshold")
    for command in re.findall(r"^    ((?:install -D|systemctl daemon-reload|"
                              r"systemctl restart).*)$", page.split("## 6")[1].split("## 7")[0],
                              re.M):
        machine.run(*command.split())

    def rules():
        return machine.attempt("sluice", "run", "--", "ipvsadm", "-S", "-n").stdout

    expected = {"-A -t 198.51.100.10:80 -s wlc",
                "-a -t 198.51.100.10:80 -r 198.51.100.1:8081 -m -w 1",
                "-A -t 198.51.100.10:8080 -s wrr",
                "-a -t 198.51.100.10:8080 -r 198.51.100.1:8081 -m -w 3"}
    wait_until(lambda: set(rules().splitlines()) == expected, "keepalived makes its service", 20)
    # keepalived goes with its director, and comes back with it.
    before = machine.run("systemctl", "show", "-P", "MainPID", "keepalived")
    tasks = machine.run("systemctl", "show", "-P", "TasksCurrent", "keepalived").strip()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal", "KILL",
                "sluiced")
    wait_until(lambda: set(rules().splitlines()) == expected, "keepalived makes it again", 20)
    def property_of(name):
        return machine.run("systemctl", "show", "-P", name, "keepalived").strip()

    # The rules outlive the daemon: they do not tell that keepalived is there again.
    wait_until(lambda: property_of("MainPID") not in ("0", before.strip()) and
               property_of("TasksCurrent") == tasks, "keepalived is started again", 20)
    time.sleep(1)
    machine.run("systemctl", "stop", "keepalived")
    assert set(rules().splitlines()) == {rule for rule in expected if ":8080" not in rule}
    machine.run("systemctl", "stop", "sluiced")
    assert "start it with `systemctl start sluiced'" in \
        machine.attempt("sluice", "run", "--", "ipvsadm", "-Ln").stderr


def test_the_daemon_needs_no_more_than_its_unit_gives(packages, system, lab):
    """With the unit's capabilities and a read-only system."""
    system.install(*(packages[name] for name in NAMES))
    unit = system.read("/usr/lib/systemd/system/sluiced.service")
    start = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1)
    allowed = re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.M).group(1).split()
    # The unit lifts the limit of locked memory, which a container may not; this stands for it.
    assert "\nLimitMEMLOCK=infinity\n" in unit
    allowed.append("CAP_IPC_LOCK")
    bounds = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in allowed)])
    node = lab.node("director")
    lab.connect(node, "eth0", lab.bridge("ext"))
    node.address("eth0", "198.51.100.1/24", "198.51.100.10/32")
    node.had_daemon = True
    system.inside(f"mount -o remount,bind,ro {system.root}"
                  f" || mount -o remount,ro {system.root}")
    log = lab.directory / "sluiced.log"
    lab.logs.append(log)
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            system.command("setpriv", "--no-new-privs", "--bounding-set", bounds, "--inh-caps",
                           "-all", *start.split(), node=node), stderr=out)
    lab.processes.append(daemon)
    wait_until(lambda: b"serves eth0" in log.read_bytes() or daemon.poll() is not None,
               "sluiced serves")
    assert daemon.poll() is None, log.read_text()
    system.run("ipvsadm", "-A", "-t", "198.51.100.10:80", "-s", "rr", node=node)
    assert node.has_xdp("eth0")
    daemon.terminate()
    assert daemon.wait(10) == 0


def test_the_configuration_file_explains_every_setting(lab):
    """Each key and setting that the daemon knows is in the file with its default, and nothing else."""
    source = pathlib.Path(__file__).parents[2]
    text = (source / "packaging/sluice.toml").read_text()
    node = lab.node("director")
    lab.connect(node, "eth0", lab.bridge("ext"))
    # All of it, with the comments taken off its settings, is read, and changes nothing.
    whole = re.sub(r"^#([a-z_.]+ = )", r"\1", text, flags=re.M)
    whole = whole.replace('"/etc/sluice/rules"', f'"{source / "packaging/rules"}"')
    key = lab.directory / "sync.key"
    key.touch(0o600)
    key.write_text("0123456789abcdef")
    whole = whole.replace('"/etc/sluice/sync.key"', f'"{key}"')
    file = lab.directory / "sluice.toml"
    file.write_text(whole)
    plain = Sluiced(node)
    defaults = node.run(BIN / "sluice", "sysctl")
    plain.stop()
    Sluiced(node, "--config", file)
    assert node.run(BIN / "sluice", "sysctl") == defaults
    known = re.search(r"known: ([^)]*)\)", node.attempt(
        BIN / "sluiced", "--config", "/dev/stdin", input="nosuch = 1\n").stderr).group(1)
    for name in known.split(", "):
        assert re.search(rf"^#?\[?{name}\b", text, re.M), name
    for line in defaults.splitlines():
        name = line.split(" ")[0].removeprefix("net.ipv4.vs.")
        assert re.search(rf"^#?{re.escape(name)} = ", text, re.M), name


def test_cmake_install(tmp_path):
    if not (BUILD / "cmake_install.cmake").exists():
        pytest.skip(f"{BUILD} is no build folder: nothing can be installed from it")
    execute(["cmake", "--install", BUILD], timeout=120, env={**os.environ, "DESTDIR": str(tmp_path)})
    for file in ("usr/sbin/sluiced", "usr/sbin/sluice", "sbin/ipvsadm",
                 "usr/sbin/sluice-realserver", "usr/lib/systemd/system/sluiced.service",
                 "usr/share/sluice/keepalived-sluice.conf",
                 "etc/sluice/sluice.toml", "etc/sluice/rules", "etc/default/sluice-realserver"):
        assert (tmp_path / file).is_file(), file
    said = execute([tmp_path / "usr/sbin/sluice", "version"]).stdout
    assert re.match(r"sluice \d+\.\d+\.\d+\n", said)
