# SPDX-License-Identifier: Apache-2.0
"""The host's side of a session with a kernel: boots it once and hands it jobs, see lab/guest.py."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = pathlib.Path(os.environ.get("SLUICE_BIN", ROOT / "build" / "bin"))
REPLAY = pathlib.Path(os.environ.get("IPVS_REPLAY", BIN / "ipvs-replay"))
EXIT_SKIPPED = 77


class Session:
    """A booted kernel. A context manager; `start` returns at once, `wait` gives the recording."""

    def __init__(self, workers=3, timeout=3600):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ipvs-session."))
        self.number, self.stalled = 0, False
        environment = os.environ | {"UML_TIMEOUT": str(timeout)}
        self.guest = subprocess.Popen(
            [HERE / "boot.sh", "python3", "-B", HERE / "lab" / "guest.py", self.folder,
             str(workers)], env=environment, start_new_session=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        # Ended by a signal, it takes the guest along, which is in a session of its own.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, kind, value, trace):
        (self.folder / "end").touch()
        try:
            self.guest.wait(30 if kind is None else 1)
        except subprocess.TimeoutExpired:
            os.killpg(self.guest.pid, signal.SIGTERM)
            self.guest.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, job):
        """Hands in a job; returns its name."""
        self.number += 1
        name = f"{self.number:06}"
        part = self.folder / (name + ".part")
        part.write_text(json.dumps(job), "utf-8")
        part.rename(self.folder / (name + ".job"))
        return name

    def wait(self, name, seconds=300):
        """The path of the job's recording; None and a message if there is none."""
        good, bad = self.folder / (name + ".jsonl"), self.folder / (name + ".jsonl.error")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if good.exists():
                return good, ""
            if bad.exists():
                time.sleep(0.1)
                return None, bad.read_text("utf-8")
            if self.guest.poll() is not None and not good.exists():
                return None, self.guest.stdout.read()
            time.sleep(0.02)
        self.stalled = True
        return None, f"no answer from the guest in {seconds} s"

    def answers(self):
        """Whether the guest still runs and owes no answer for too long."""
        return not self.stalled and self.guest.poll() is None

    def play(self, lines):
        """Plays a recording's inputs again; returns the path of the new recording or None."""
        source = self.folder / f"play-{self.number}.jsonl"
        source.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        return self.start({"play": str(source)})


def require_kernel():
    """Exits with status 77 where the kernel cannot be booted."""
    for program in ("linux.uml", "ipvsadm"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            print(f"skipped: {program} is not installed")
            sys.exit(EXIT_SKIPPED)
    if not REPLAY.exists():
        sys.exit(f"{REPLAY} is not built")


def replay(*paths, options=()):
    """What ipvs-replay says about recordings: (exit status, output)."""
    done = subprocess.run([REPLAY, *options, *paths], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
