# SPDX-License-Identifier: Apache-2.0
"""Debian's ipvsadm, unmodified, with the preload library: every command line that was recorded with the
kernel's IPVS must print and return the same with `sluiced`."""

import json

import pytest
from lab import BIN, HERE, PYTHON, Lab, Sluiced

FOLDER = HERE.parent / "ipvs-oracle" / "cli"
LIBRARY = BIN.parent / "lib" / "libsluice-ipvs.so"
# The recorded machine knew no name servers; here a listing would wait for them.
WITHOUT_DNS = ("unshare", "--mount", "sh", "-c",
               'mount --bind /dev/null /etc/resolv.conf && exec "$@"', "sh")
PORTS = ("ext", "int")
# A scheduler that the recorded kernel did not have (docs/ipvs-differences.md).
LEFT_OUT = ("twos",)


def load(path):
    meta, *steps = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return meta, steps


class Director:
    """A namespace as the cases of one `meta` want it, and a daemon; kept from case to case."""

    def __init__(self, meta, directory, number):
        directory.mkdir()
        self.lab = Lab(f"stock{number}", directory)
        try:
            self.set_up(meta)
        except BaseException:
            self.lab.close()
            raise

    def set_up(self, meta):
        self.node = self.lab.node("director")
        self.node.sysctl("net.ipv4.ip_forward", 1)
        for port in PORTS:
            self.lab.bridge(port)
            self.lab.connect(self.node, port, port)
            self.node.address(port, *meta["ports"][port]["addrs"])
        for route in meta.get("routes", ()):
            self.node.route(route["dst"], "via", route["via"], "dev", route["dev"])
        self.sluiced = Sluiced(self.node)

    def play(self, path):
        """What each command of the case did."""
        output = self.node.run(*WITHOUT_DNS, PYTHON, HERE / "play_commands.py", LIBRARY, path,
                               *LEFT_OUT)
        return [json.loads(line) for line in output.splitlines()]

    def reset(self):
        """As it was when the daemon started; by our own ipvsadm."""
        ours = BIN / "ipvsadm"
        self.node.run(ours, "-C")
        self.node.run(ours, "--set", 900, 120, 300)
        for role in ("master", "backup"):
            self.node.attempt(ours, "--stop-daemon", role)


@pytest.fixture(scope="module")
def directors(tmp_path_factory):
    made = {}

    def director_of(meta):
        assert not meta.get("sysctl") and not meta.get("setup") and not meta.get("marks")
        key = json.dumps([meta["ports"], meta.get("routes")], sort_keys=True)
        if key not in made:
            made[key] = Director(meta, tmp_path_factory.mktemp("stock") / "lab", len(made))
        made[key].reset()
        return made[key]

    yield director_of
    left = [what for director in made.values() for what in director.lab.close()]
    assert not left, f"left behind: {', '.join(left)}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_case(directors, path):
    meta, steps = load(path)
    assert steps and all(step["op"] == "cmd" for step in steps)
    played = directors(meta).play(path)
    assert len(played) == len(steps)
    differences = []
    for step, got in zip(steps, played):
        expected = {name: step[name] for name in got}
        if got != expected:
            differences.append(f"{' '.join(step['argv'])}\n  expected {expected}\n  got      {got}")
    assert not differences, "\n".join(differences)


def test_all_cases_are_there():
    assert len(list(FOLDER.glob("*.jsonl"))) == 40
