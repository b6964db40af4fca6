# SPDX-License-Identifier: Apache-2.0
"""Every command of bench/ runs, with small numbers. What it measures is not looked at."""

import pytest

from lab import BIN, HERE, PYTHON, execute

BENCH = HERE.parent.parent / "bench"
COMMANDS = {
    "end_to_end": ["--flows", 64, "--packets", 2000, "--rounds", 1],
    "end_to_end IPv6": ["--flows", 64, "--packets", 2000, "--rounds", 1, "--family", 6],
    "new_connections": ["--rates", 10, "--connections", 256, "--rounds", 1],
    "latency": ["--packets", 200, "--rounds", 1, "--idle", 5000, "--first", 5000],
    "large_table": ["--connections", 1024, "--idle", 0.2, "--rounds", 1, "--rate", 1000],
    "flood": ["--flows", 64, "--packets", 2000, "--rounds", 1, "--shares", 50, "--rates", 20000,
              "--established", 2000, "--warm", 0.1, "--connects", 3, "--commands", 1,
              "--only", "nftables", "DR"],
    "flood IPv6": ["--flows", 64, "--packets", 2000, "--rounds", 1, "--shares", 0, "--rates", 20000,
                   "--established", 2000, "--warm", 0.1, "--connects", 3, "--commands", 1,
                   "--family", 6, "--only", "bare", "Sluice NAT"],
    "proxies": ["--rounds", 1, "--connections", 2],
    "control": ["--services", 50, "--servers", 2],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_benchmark_runs(command, monkeypatch):
    monkeypatch.setenv("SLUICE_BIN", str(BIN))
    done = execute([PYTHON, BENCH / f"{command.split()[0]}.py", *COMMANDS[command]], timeout=240)
    assert "Sluice" in done.stdout or "ipvsadm" in done.stdout


def test_the_benchmark_of_the_xdp_program_runs():
    done = execute([BIN / "sluice_xdp_bench", 1, 1, 1024], timeout=300)
    assert done.stdout.count("IPv6") == 6


def test_benchmarks_leave_nothing_behind_when_they_are_interrupted(lab, monkeypatch):
    monkeypatch.setenv("SLUICE_BIN", str(BIN))
    done = execute(["timeout", "--signal=TERM", 3, PYTHON, BENCH / "end_to_end.py"], check=False)
    assert done.returncode == 124
    assert "left behind" not in done.stderr
    lab.remove_remains()
    own = lab.namespaces()
    listed = execute(["ip", "netns", "list"]).stdout
    assert "bench-end" not in "".join(line for line in listed.splitlines() if line not in own)
