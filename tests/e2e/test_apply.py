# SPDX-License-Identifier: Apache-2.0
"""sluice apply and export, with a daemon."""

from cluster import VIP
from lab import BIN, Sluiced

FILE = f"""\
mark_rules = ["-p tcp --dport 443 -j MARK --set-mark 7"]
[timeouts]
tcp = 600
[settings]
sloppy_tcp = 1
[[service]]
tcp = "{VIP[4]}:80"
scheduler = "rr"
persistent = 300
drain = 30
  [[service.server]]
  address = "10.0.0.11:8080"
  forward = "masquerading"
  [[service.server]]
  address = "10.0.0.12:8080"
  forward = "masquerading"
  weight = 2
[[service]]
fwmark = 7
"""


def sluice(daemon, *words, **options):
    return daemon.node.attempt(BIN / "sluice", *words, **options)


def test_apply_and_export(lab, tmp_path):
    director = lab.node("director")
    lab.connect(director, "eth0", lab.bridge("ext"))
    director.address("eth0", "198.51.100.1/24", f"{VIP[4]}/32", "10.0.0.1/24")
    daemon = Sluiced(director)
    daemon.ipvsadm("-A -t 192.0.2.99:1 -s rr")
    file = tmp_path / "director.toml"
    file.write_text(FILE)

    shown = sluice(daemon, "apply", "--dry-run", file)
    assert shown.returncode == 0, shown.stderr
    assert "- -A -t 192.0.2.99:1 -s rr\n" in shown.stdout
    assert f"+ -a -t {VIP[4]}:80 -r 10.0.0.12:8080 -m -w 2\n" in shown.stdout
    assert daemon.ipvsadm("-Sn") == "-A -t 192.0.2.99:1 -s rr\n"

    assert sluice(daemon, "apply", file).stdout == shown.stdout
    assert sluice(daemon, "apply", file).stdout == "", "it is equal now"
    rules = daemon.ipvsadm("-Sn")
    assert f"-A -t {VIP[4]}:80 -s rr -p 300\n" in rules and "192.0.2.99" not in rules
    assert "Timeout (tcp tcpfin udp): 600 120 300" in daemon.ipvsadm("-L --timeout")

    # What it writes of itself asks for nothing, also after all was cleared.
    exported = sluice(daemon, "export").stdout
    assert sluice(daemon, "apply", "--dry-run", input=exported).stdout == ""
    daemon.ipvsadm("-C")
    assert sluice(daemon, "apply", "-", input=exported).returncode == 0
    assert sluice(daemon, "export").stdout == exported

    # Only what differs changes: the counters of the other server stay.
    file.write_text(FILE.replace("weight = 2", "weight = 3"))
    done = sluice(daemon, "apply", file)
    assert done.stdout == (f"- -a -t {VIP[4]}:80 -r 10.0.0.12:8080 -m -w 2\n"
                           f"+ -a -t {VIP[4]}:80 -r 10.0.0.12:8080 -m -w 3\n")

    # All or nothing; the error says where.
    file.write_text(FILE.replace('scheduler = "rr"', 'scheduler = "nosuch"')
                    .replace("weight = 2", "weight = 9"))
    before = sluice(daemon, "export").stdout
    done = sluice(daemon, "apply", file)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file}:6:1: Scheduler or persistence engine not found; "
                                  "nothing was changed\n")
    assert sluice(daemon, "export").stdout == before
    file.write_text("[[service]]\ntcp = 3\n")
    done = sluice(daemon, "apply", file)
    assert done.returncode == 1 and done.stderr == f"{file}:2:7: tcp: must be a string\n"
