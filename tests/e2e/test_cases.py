# SPDX-License-Identifier: Apache-2.0
"""The cases of tests/cases and those recorded of forwarding, played to `sluiced` over veth.

The same files are played to the engine (ipvs-replay) and, as far as they are text, to the kernel's
IPVS (tests/kernel/run). Of recorded ones the inputs are played, and the engine must make the same
of them as the daemon did. SLUICED_ARGUMENTS are arguments for the daemon; SLUICE_CASES
names other files and folders (of recorded ones the variants NAME-s1 ... are played only then).
wire.exceptions lists what cannot be played, with the reason.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest
from lab import HERE, PYTHON, Failure, wait_until

import wire  # noqa: F401  (finds the modules below)
from cases import differences_of, load
from session import replay

CASES = f"{HERE.parent / 'cases'} {HERE.parent / 'ipvs-oracle' / 'fwd'}"
ARGUMENTS = shlex.split(os.environ.get("SLUICED_ARGUMENTS", ""))
# Without arguments both ways of forwarding.
MODES = [()] if ARGUMENTS else [("--fast-path", "on"), ("--fast-path", "off")]
LIMIT_SECONDS = 300  # for the first case that is asked for, many may come before it
AT_ONCE = 4  # each waits most of the time


def exceptions():
    lines = (HERE / "wire.exceptions").read_text("utf-8").splitlines()
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))


def is_variant(path):
    return re.fullmatch(r".*-s\d+", path.stem) and "SLUICE_CASES" not in os.environ


def parameters():
    given = [pathlib.Path(word) for word in os.environ.get("SLUICE_CASES", CASES).split()]
    paths = sorted(path for at in given for path in (
        [at] if at.is_file() else (*at.rglob("*.case"), *at.rglob("*.jsonl"))))
    paths = [path for path in paths if not is_variant(path)]
    left_out = exceptions()
    return [pytest.param(path, id=path.stem,
                         marks=pytest.mark.skip(left_out[path.stem]) if path.stem in left_out else ())
            for path in paths]


class Players:
    """Programs that play cases, a few at the same time, each with a share of them."""

    def __init__(self, directory, cases):
        self.folders, self.programs = {}, {}
        shares = [[] for _ in range(AT_ONCE)]
        # Cases in the same surroundings, which lie in the same folder, stay together.
        for number, (path, mode) in enumerate(cases):
            folder = directory / f"{number}-{path.stem}"
            folder.mkdir()
            self.folders[path, mode] = folder
            shares[MODES.index(mode) + len(MODES) * (number % (AT_ONCE // len(MODES)))].append(
                (path, folder, mode))
        for number, share in enumerate(shares):
            if not share:
                continue
            jobs = directory / f"jobs-{number}"
            jobs.write_text(json.dumps([[str(path), str(folder)] for path, folder, _ in share]))
            program = subprocess.Popen([PYTHON, HERE / "wire.py", jobs, *ARGUMENTS, *share[0][2]],
                                       stderr=(directory / f"errors-{number}").open("wb"))
            for _, folder, _ in share:
                self.programs[folder] = program

    def recording_of(self, path, mode):
        folder = self.folders[path, mode]
        recording, error = folder / "recording.jsonl", folder / "error"
        wait_until(lambda: recording.exists() or error.exists()
                   or self.programs[folder].poll() is not None, "the case is played", LIMIT_SECONDS)
        if not recording.exists():
            raise Failure(error.read_text("utf-8") if error.exists() else "the player ended")
        return recording

    def close(self):
        for program in set(self.programs.values()):
            program.terminate()
            program.wait()


@pytest.fixture(scope="module")
def players(request, tmp_path_factory):
    cases = [(item.callspec.params["path"], item.callspec.params["mode"])
             for item in request.session.items if item.module is request.module
             and hasattr(item, "callspec") and not item.get_closest_marker("skip")]
    made = Players(tmp_path_factory.mktemp("cases"), cases)
    yield made
    made.close()


@pytest.mark.parametrize("path", parameters())
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "".join(mode[1:]) or "as-given")
def test_case(path, mode, players):
    recording = players.recording_of(path, mode)
    if path.suffix == ".case":
        steps = [json.loads(line) for line in recording.read_text("utf-8").splitlines()]
        differences = differences_of(path, load(path), steps)
    else:
        status, output = replay(recording)
        differences = [] if status == 0 else [output]
    log = recording.with_name("said.log").read_text("utf-8")
    assert not differences, "\n".join(differences) + "\n" + log
    assert "error" not in log, log


@pytest.mark.skipif(bool(ARGUMENTS) or "SLUICE_CASES" in os.environ, reason="not all are played")
def test_what_was_played_went_both_ways(players):
    """With the fast path some packets of the case are forwarded by XDP, without it none is."""
    established = next(path for path, _ in players.folders if path.stem == "established")
    forwarded = {}
    for mode in MODES:
        folder = players.recording_of(established, mode).parent
        forwarded[mode] = json.loads((folder / "counters").read_text())["xdp_forwarded"]
    assert forwarded[MODES[0]] > 0 and forwarded[MODES[1]] == 0, forwarded
