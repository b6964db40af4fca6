# SPDX-License-Identifier: Apache-2.0
"""A host of a lab with a kernel of its own: user-mode-linux, whose IPVS is the original."""

import itertools
import os
import pathlib
import shutil
import subprocess

import pytest
from lab import Failure, wait_until

KERNEL = pathlib.Path(__file__).resolve().parent.parent / "kernel"
BOOT_SECONDS = 60


class Guest:
    """Boots a kernel with a network interface vecN on each of the bridges, in this order.

    It is not waited for before something is to be run."""

    def __init__(self, lab, bridges):
        for program in ("linux.uml", "modprobe", "ipvsadm"):
            if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
                pytest.skip(f"user-mode-linux cannot run: {program} is not installed")
        self.folder = lab.directory / "guest"
        self.folder.mkdir()
        self.numbers = itertools.count()
        arguments = ["LAB_MODULES=ip_vs"]
        for number, bridge in enumerate(bridges):
            lab.switch.run("ip", "tuntap", "add", f"tap{number}", "mode", "tap", "vnet_hdr")
            lab.switch.run("ip", "link", "set", f"tap{number}", "master", bridge, "up")
            arguments.append(f"vec{number}:transport=tap,ifname=tap{number},depth=64")
        log = self.folder / "boot.log"
        lab.logs.append(log)
        with log.open("wb") as output:
            self.process = lab.switch.start(
                KERNEL / "boot.sh", "python3", "-B", KERNEL / "lab" / "shell.py", self.folder,
                env={**os.environ, "UML_ARGUMENTS": " ".join(arguments), "UML_TIMEOUT": "300",
                     "UML_MEM": "256M"},
                stdout=output, stderr=subprocess.STDOUT)
        for number in range(len(bridges)):
            self.put(f"ip link set vec{number} up")

    def wait(self, file, what):
        def is_there():
            if self.process.poll() is not None:
                log = (self.folder / "boot.log").read_text(errors="replace")
                raise Failure(f"the guest is gone: {log}")
            return file.exists()

        wait_until(is_there, what, seconds=BOOT_SECONDS)

    def put(self, script):
        """Has a shell script run in the guest, after those that were put before."""
        path = self.folder / f"{next(self.numbers):04}.sh"
        part = path.with_suffix(".new")
        part.write_text(f"{script}\n")
        part.rename(path)
        return path

    def run(self, script):
        """Runs a shell script in the guest and returns its output; fails with all of it."""
        path = self.put(script)
        status = path.with_suffix(".status")
        self.wait(status, f"the guest runs: {script}")
        output = path.with_suffix(".out").read_text(errors="replace")
        if status.read_text() != "0":
            raise Failure(f"guest: {script}\nexit status {status.read_text()}\n{output}")
        return output
