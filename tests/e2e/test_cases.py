# SPDX-License-Identifier: Apache-2.0
"""The cases of tests/cases and those recorded of forwarding, played to `sluiced` over veth.

The same files are played to the engine (ipvs-replay) and, as far as they are text, to the kernel's
IPVS (tests/kernel/run). Of recorded ones the inputs are played, and the engine must make the same
of them as the daemon did. SLUICED_ARGUMENTS are further arguments for the daemon; SLUICE_CASES
names other files and folders (of recorded ones the variants NAME-s1 ... are played only then).
wire.exceptions lists what cannot be played, with the reason.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest
from lab import HERE, PYTHON, Failure

import wire  # noqa: F401  (finds the modules below)
from cases import differences_of, load
from session import replay

CASES = f"{HERE.parent / 'cases'} {HERE.parent / 'ipvs-oracle' / 'fwd'}"
ARGUMENTS = shlex.split(os.environ.get("SLUICED_ARGUMENTS", ""))
PLAY_LIMIT_SECONDS = 60
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


def play(path, folder):
    """Plays a case in a process of its own, whose namespaces go with it; returns the recording."""
    done = subprocess.run([PYTHON, HERE / "wire.py", path, folder, *ARGUMENTS], text=True,
                          capture_output=True, timeout=PLAY_LIMIT_SECONDS, check=False)
    if done.returncode != 0:
        raise Failure(done.stderr + (folder / "sluiced.log").read_text("utf-8"))
    return folder / "recording.jsonl"


@pytest.fixture(scope="module")
def played(request, tmp_path_factory):
    """Plays all cases that were asked for, some at once: {path: future of the recording}."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as players:
        yield {path: players.submit(play, path, tmp_path_factory.mktemp(path.stem))
               for item in request.session.items if item.module is request.module
               and not item.get_closest_marker("skip") for path in [item.callspec.params["path"]]}
        players.shutdown(cancel_futures=True)


@pytest.mark.parametrize("path", parameters())
def test_case(path, played):
    recording = played[path].result()
    if path.suffix == ".case":
        steps = [json.loads(line) for line in recording.read_text("utf-8").splitlines()]
        differences = differences_of(path, load(path), steps)
    else:
        status, output = replay(recording)
        differences = [] if status == 0 else [output]
    log = recording.with_name("sluiced.log").read_text("utf-8")
    assert not differences, "\n".join(differences) + "\n" + log
    assert "error" not in log, log
