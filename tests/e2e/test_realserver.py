# SPDX-License-Identifier: Apache-2.0
"""`sluice realserver up`, `down` and `status`: what it changes, and that it takes exactly that back."""

import json
import re
import signal

import pytest
from cluster import LENGTH, VIP, bracketed
from lab import BIN, Sluiced, execute

DIRECTOR = {4: "198.51.100.1", 6: "2001:db8:1::1"}
REAL = {4: "198.51.100.11", 6: "2001:db8:1::11"}
CLIENT = {4: "198.51.100.7", 6: "2001:db8:1::7"}
BOTH = f"{VIP[4]},{VIP[6]}"
# What no reader of it changes; everything that `up' may touch is below.
WATCHED = ("net.ipv4.conf", "net.ipv6.conf")


class Site:
    """A client, a director with the virtual addresses, and a real server, on one link."""

    def __init__(self, lab):
        self.lab = lab
        bridge = lab.bridge("ext")
        self.client, self.director, self.server = map(lab.node, ("client", "director", "rs1"))
        for node in (self.client, self.director, self.server):
            lab.connect(node, "eth0", bridge)
        for family in (4, 6):
            length = LENGTH[family]
            self.client.address("eth0", f"{CLIENT[family]}/{length}")
            self.director.address("eth0", f"{DIRECTOR[family]}/{length}",
                                  f"{VIP[family]}/{32 if family == 4 else 128}")
            self.server.address("eth0", f"{REAL[family]}/{length}")
            # Clients are on the link; others would be behind this router.
            self.server.route("default", "via", CLIENT[family])
        self.director.sysctl("net.ipv4.ip_forward", 1)
        self.director.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.state = lab.directory / "state"

    def words(self, command, *more):
        return [BIN / "sluice", "realserver", command, "--state", self.state, *more]

    def up(self, mode, *more, vip=BOTH):
        return self.server.run(*self.words("up", "--vip", vip, "--mode", mode, *more))

    def refused(self, command, *more):
        done = self.server.attempt(*self.words(command, *more))
        assert done.returncode == 1, done
        return done.stderr

    def down(self):
        return self.server.run(*self.words("down"))

    def status(self):
        return json.loads(self.server.attempt(*self.words("status", "--json")).stdout)

    def snapshot(self):
        """All that `up' may change."""
        settings = "".join(self.server.run("sysctl", *WATCHED, "-a", "--pattern",
                                           r"^net\.ipv[46]\.conf").splitlines(keepends=True))
        # Times that run down.
        settings = re.sub(r".*stable_secret.*\n", "", settings)
        addresses = self.server.run("ip", "-o", "address", "show")
        return settings, addresses, self.server.has_xdp("eth0")

    def journal(self):
        (path,) = self.state.glob("*.journal")
        return path

    def serve(self, method, families=(4, 6)):
        sluiced = Sluiced(self.director)
        self.lab.serve(self.server)
        for family in families:
            virtual = f"{bracketed(VIP[family])}:80"
            sluiced.ipvsadm(f"-A -t {virtual} -s rr")
            sluiced.ipvsadm(f"-a -t {virtual} -r {bracketed(REAL[family])}:80 {method}")
        return sluiced


@pytest.fixture
def site(lab):
    return Site(lab)


@pytest.mark.parametrize("mode", ["dr", "tun"])
def test_up_serves_clients_and_down_restores(site, mode):
    before = site.snapshot()
    said = site.up(mode)
    assert f"{VIP[4]}/32 on lo" in said and f"{VIP[6]}/128 on lo" in said
    assert site.server.has_xdp("eth0") == (mode == "tun")
    site.serve({"dr": "-g", "tun": "-i"}[mode])
    for family in (4, 6):
        assert site.client.curl(VIP[family]) == "rs1"
    # The director alone answers for the addresses.
    for family in (4, 6):
        site.client.run("ip", "neigh", "flush", "dev", "eth0")
        assert site.client.curl(VIP[family]) == "rs1"
        neighbours = json.loads(site.client.run("ip", "-j", "neigh", "show", VIP[family]))
        assert [entry["lladdr"] for entry in neighbours] == [site.director.mac("eth0")]
    assert site.status()["ok"] is True
    site.down()
    assert site.snapshot() == before
    assert site.status() == {"up": False}
    assert not list(site.state.glob("*.journal"))


def test_nat_keeps_redirects_out(site):
    before = site.snapshot()
    for family in (4, 6):
        site.server.run("ip", *(["-6"] if family == 6 else []), "route", "replace", "default",
                        "via", DIRECTOR[family])
    done = site.server.attempt(*site.words("up", "--vip", BOTH, "--mode", "nat", "--director",
                                           DIRECTOR[4]))
    assert done.returncode == 0 and "warning" not in done.stderr
    for setting in ("net.ipv4.conf.all", "net.ipv4.conf.eth0", "net.ipv6.conf.eth0"):
        assert site.server.run("sysctl", "-n", f"{setting}.accept_redirects").strip() == "0"
    assert VIP[4] not in site.server.run("ip", "address")
    site.down()
    assert site.snapshot() == before


def test_nat_route_past_the_director_is_told(site):
    done = site.server.attempt(*site.words("up", "--vip", VIP[4], "--mode", "nat", "--director",
                                           DIRECTOR[4]))
    assert done.returncode == 0
    assert "default route does not lead through the director" in done.stderr
    assert f"ip route replace default via {DIRECTOR[4]}" in done.stderr


def test_a_strict_filter_is_loosened_and_restored(site):
    site.server.sysctl("net.ipv4.conf.all.rp_filter", 1)
    before = site.snapshot()
    site.up("dr")
    assert site.server.run("sysctl", "-n", "net.ipv4.conf.eth0.rp_filter").strip() == "2"
    site.down()
    assert site.snapshot() == before


def test_twice_is_once(site):
    before = site.snapshot()
    site.up("dr")
    after = site.snapshot()
    journal = site.journal().read_text()
    assert "is up already" in site.up("dr")
    assert site.snapshot() == after
    assert site.journal().read_text() == journal
    assert "set up otherwise" in site.refused("up", "--vip", BOTH, "--mode", "tun")
    assert "set up otherwise" in site.refused("up", "--vip", VIP[4], "--mode", "dr")
    assert site.snapshot() == after
    site.down()
    assert site.snapshot() == before
    assert "nothing is set up" in site.down()


def test_up_again_mends_what_was_undone(site):
    before = site.snapshot()
    site.up("tun")
    after = site.snapshot()
    site.server.run("ip", "address", "del", f"{VIP[4]}/32", "dev", "lo")
    site.server.sysctl("net.ipv4.conf.all.arp_ignore", 0)
    site.server.run(BIN / "sluice", "realserver", "decap", "--interface", "eth0", "--detach")
    status = site.status()
    assert status["ok"] is False and len(status["missing"]) == 3
    assert site.server.attempt(*site.words("status")).returncode == 1
    site.up("tun")
    assert site.snapshot() == after
    site.down()
    assert site.snapshot() == before


def test_what_somebody_else_changed_stays(site):
    site.up("dr")
    site.server.sysctl("net.ipv4.conf.all.arp_announce", 1)
    done = site.server.attempt(*site.words("down"))
    assert done.returncode == 0
    assert "net/ipv4/conf/all/arp_announce is 1 now" in done.stderr
    assert site.server.run("sysctl", "-n", "net.ipv4.conf.all.arp_announce").strip() == "1"
    assert site.server.run("sysctl", "-n", "net.ipv4.conf.all.arp_ignore").strip() == "0"


def test_what_was_there_before_stays(site):
    site.server.address("lo", f"{VIP[4]}/32")
    site.server.sysctl("net.ipv4.conf.all.arp_ignore", 1)
    site.server.run(BIN / "sluice", "realserver", "decap", "--interface", "eth0")
    before = site.snapshot()
    site.up("tun")
    site.down()
    assert site.snapshot() == before


def calls_that_change(site, mode):
    """The system calls of `up' by which something is written, but for those of the threads that
    ask on the wire: [(name, number)]."""
    trace = site.lab.directory / "trace"
    site.server.run("strace", "-f", "-o", trace, "-e", "trace=fsync,pwrite64,write,sendto,sendmsg",
                    *site.words("up", "--vip", BOTH, "--mode", mode))
    site.down()
    counts = {}
    lines = trace.read_text().splitlines()
    first = lines[0].split()[0]
    for line in lines:
        found = re.match(first + r" +(\w+)\(", line)
        if found:
            counts[found.group(1)] = counts.get(found.group(1), 0) + 1
    return [(name, number) for name, count in counts.items() for number in range(1, count + 1)]


def test_killed_at_any_write_down_restores(site, mode="tun"):
    """Whatever `up' had written or changed when it was killed, `down' takes back exactly that."""
    site.server.sysctl("net.ipv4.conf.all.rp_filter", 1)
    before = site.snapshot()
    points = calls_that_change(site, mode)
    assert site.snapshot() == before
    assert {name for name, _ in points} >= {"fsync", "pwrite64", "write", "sendto"}
    changed = 0
    for name, number in points:
        done = site.server.attempt(
            "strace", "-f", "-o", "/dev/null", "-e", f"inject={name}:signal=SIGKILL:when={number}",
            *site.words("up", "--vip", BOTH, "--mode", mode))
        assert done.returncode == -signal.SIGKILL, (name, number, done)
        changed += site.snapshot() != before
        if number % 3 == 0:
            site.up(mode)  # going on from there is as good
            assert site.status()["ok"] is True, (name, number)
        site.down()
        assert site.snapshot() == before, (name, number)
        assert not list(site.state.glob("*.journal"))
    assert changed > 5  # kills did hit a host that was half changed


def test_down_that_was_killed_goes_on(site):
    before = site.snapshot()
    for call in ("sendto", "write", "unlink"):
        for number in (1, 2, 3):
            site.up("dr")
            site.server.attempt("strace", "-f", "-o", "/dev/null", "-e",
                                f"inject={call}:signal=SIGKILL:when={number}", *site.words("down"))
            site.down()
            assert site.snapshot() == before, (call, number)


def test_after_a_restart_of_the_machine(site):
    """The kernel has forgotten everything; what is on lo now is somebody else's."""
    site.up("dr")
    journal = site.journal()
    lines = journal.read_text().splitlines()
    site.down()
    header = json.loads(lines[0])
    header["boot"] = "00000000-0000-4000-8000-000000000000"
    earlier = "\n".join([json.dumps(header), *lines[1:]]) + "\n"
    journal.write_text(earlier)
    site.server.address("lo", f"{VIP[4]}/32")  # by the boot scripts
    before = site.snapshot()
    assert site.status() == {"up": False}
    assert "nothing of it is left" in site.down()
    assert site.snapshot() == before
    assert not journal.exists()
    # Or `up' by its unit: begins anew.
    journal.write_text(earlier)
    site.up("dr")
    assert site.status()["ok"] is True
    site.down()
    assert site.snapshot() == before


def test_a_failing_step_leaves_nothing(site):
    """Somebody else's XDP program is in the way, and found after the settings."""
    from lab import Sluiced as Somebody
    daemon = Somebody(site.server)
    before = site.snapshot()
    assert "another XDP program" in site.refused("up", "--vip", VIP[6], "--mode", "tun")
    assert site.snapshot() == before
    assert site.status() == {"up": False}
    daemon.stop()


def test_no_privileges(site):
    unprivileged = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                    "--bounding-set", "-all"]
    before = site.snapshot()
    done = site.server.attempt(*unprivileged, *site.words("up", "--vip", BOTH, "--mode", "dr"))
    assert done.returncode == 1
    assert "CAP_NET_ADMIN is missing" in done.stderr and "run as root" in done.stderr
    assert site.snapshot() == before


def test_an_address_of_another_interface_is_refused(site):
    site.server.address("eth0", f"{VIP[4]}/32")
    before = site.snapshot()
    said = site.refused("up", "--vip", BOTH, "--mode", "dr")
    assert f"ip address del {VIP[4]}/32 dev eth0" in said
    assert site.snapshot() == before


@pytest.mark.parametrize("family", [4, 6])
def test_an_address_that_another_host_has_too_is_refused(site, family):
    """Asked on the wire: two hosts answer for the virtual address."""
    other = site.lab.node("other")
    site.lab.connect(other, "eth0", "ext")
    other.address("eth0", f"{VIP[family]}/{32 if family == 4 else 128}")
    before = site.snapshot()
    words = ("up", "--vip", VIP[family], "--mode", "dr")
    said = site.refused(*words)
    assert f"2 hosts answer for {VIP[family]} on eth0" in said
    assert other.mac("eth0") in said and site.director.mac("eth0") in said
    assert site.snapshot() == before
    done = site.server.attempt(*site.words(*words, "--force"))
    assert done.returncode == 0 and "2 hosts answer" in done.stderr
    site.down()
    assert site.snapshot() == before


@pytest.mark.parametrize("family", [4, 6])
def test_an_address_that_is_not_the_directors_is_refused(site, family):
    other = site.lab.node("other")
    site.lab.connect(other, "eth0", "ext")
    address = {4: "198.51.100.20", 6: "2001:db8:1::20"}[family]
    other.address("eth0", f"{address}/{LENGTH[family]}")
    said = site.refused("up", "--vip", address, "--mode", "dr", "--director", DIRECTOR[family])
    assert f"{address} is taken on eth0" in said and other.mac("eth0") in said
    # Nobody has it: told, not refused.
    nobody = {4: "198.51.100.30", 6: "2001:db8:1::30"}[family]
    done = site.server.attempt(*site.words("up", "--vip", nobody, "--mode", "dr"))
    assert done.returncode == 0
    assert f"nobody answers for {nobody} on eth0" in done.stderr
    site.down()


def test_two_at_once_are_one(site):
    """The second is told so, or finds all done; the state is whole in any case."""
    before = site.snapshot()
    running = [site.server.start(*site.words("up", "--vip", BOTH, "--mode", "dr"))
               for _ in range(3)]
    codes = [process.wait(20) for process in running]
    assert 0 in codes and set(codes) <= {0, 1}
    assert site.status()["ok"] is True
    site.down()
    assert site.snapshot() == before


def test_a_damaged_journal_is_left_for_the_operator(site):
    site.up("dr")
    path = site.journal()
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    path.write_text("".join([lines[0], "rubbish\n", *lines[1:]]))
    for command in (("down",), ("up", "--vip", BOTH, "--mode", "dr")):
        said = site.refused(*command)
        assert f"{path}:2: not what sluice has written" in said
    path.write_text(whole)
    site.down()


def test_ipv6_address_is_no_source_of_own_connections(site):
    """The server's own connections must not come from the virtual address."""
    site.server.run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
    site.up("dr", "--interface", "eth0")
    listed = json.loads(site.server.run("ip", "-6", "-j", "address", "show", "dev", "lo"))
    (vip,) = [entry for entry in listed[0]["addr_info"] if entry["local"] == VIP[6]]
    assert vip["preferred_life_time"] == 0
    assert not vip.get("tentative")


def test_the_program_for_real_servers_alone(site):
    """`sluice-realserver' is the same without the rest of sluice, and needs few libraries."""
    before = site.snapshot()
    program = BIN / "sluice-realserver"
    site.server.run(program, "up", "--vip", BOTH, "--mode", "dr", "--state", site.state)
    assert site.status()["ok"] is True
    site.server.run(program, "down", "--state", site.state)
    assert site.snapshot() == before
    linked = execute(["ldd", program]).stdout
    for library in ("libpopt", "libevent", "libspdlog", "libxdp"):
        assert library not in linked
    assert re.match(r"sluice-realserver \d+\.\d+\.\d+\n", execute([program, "--version"]).stdout)
