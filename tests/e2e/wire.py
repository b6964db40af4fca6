# SPDX-License-Identifier: Apache-2.0
"""`sluiced` behind two veth pairs, played to frame by frame as the kernel's IPVS is.

    wire.py CASE FOLDER [ARGUMENT...]

plays a case to a daemon with these arguments. Clients and servers are frames that this program
sends and receives at the other ends. What came of it all, with what the programs printed, goes
into FOLDER/recording.jsonl in the format of tests/ipvs-oracle, the daemon's log beside it.
"""

import os
import pathlib
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "kernel"))
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "kernel" / "lab"))
# pylint: disable=wrong-import-position
import director  # noqa: E402
from cases import load  # noqa: E402
from session import BIN  # noqa: E402

START_SECONDS = 30
PACKET_SECONDS = 5


class WireDirector(director.Director):
    """A director that is `sluiced`. Use it as a context manager, in a process of its own: it
    leaves that in a network namespace that it made."""

    # More is too much for the driver's XDP: a frame must fit a page.
    peer_mtu = 3500

    def __init__(self, meta, folder, arguments):
        self.folder, self.arguments, self.sluiced = pathlib.Path(folder), arguments, None
        super().__init__(meta)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.sluiced is not None:
            self.sluiced.terminate()
            self.sluiced.wait(10)

    def _set_up(self):
        self._start()
        # Recorded cases have the kernel's faults, but where the NIC had verified checksums.
        if not self.meta["id"].endswith("-offload"):
            self._sluice("sysctl", "sluice.quirk_icmpv6_checksum=1")
        self._sluice("sysctl", "sluice.quirk_ipv6_extension_state=1")
        super()._set_up()

    def _start(self):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(self.folder / "notify"))
        notify.settimeout(START_SECONDS)
        interfaces = [word for name in self.meta["ports"] for word in ("--interface", name)]
        with open(self.folder / "sluiced.log", "wb") as log:
            self.sluiced = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", BIN / "sluiced", *interfaces, "--table-size",
                 "4096", *self.arguments], stderr=log,
                env=os.environ | {"NOTIFY_SOCKET": str(self.folder / "notify")})
        while b"READY=1" not in notify.recv(4096):
            pass
        notify.close()

    def _set(self, name, value):
        if name.startswith("net.ipv4.vs."):
            self._sluice("sysctl", f"{name}={value}")
        else:
            super()._set(name, value)

    def _mark(self, words):
        self._sluice("mark", "add", *words)

    @staticmethod
    def _sluice(*words):
        return subprocess.run([BIN / "sluice", *words], text=True, capture_output=True,
                              check=True).stdout

    def _run(self, argv, stdin):
        if argv[0] != "ipvsadm":
            raise ValueError(f"there is no {argv[0]} for sluiced")
        return super()._run([BIN / "ipvsadm", *argv[1:]], stdin)

    def _status(self):
        """The counters of all interfaces together, by their names, and the drops."""
        counts, drops, part = {}, {}, ""
        for line in self._sluice("status").splitlines():
            if not line.startswith(" "):
                part = line
            elif len(words := line.split()) == 2 and words[1].isdigit():
                to = drops if part.startswith("dropped") else counts
                to[words[0]] = to.get(words[0], 0) + int(words[1])
        return counts, drops

    def _arrived(self):
        """Packets that came by XDP so far: to the daemon or to the host."""
        counts, _ = self._status()
        return counts["packets_received"] + counts["xdp_passed"]

    def _exchange(self, port, frame):
        before, end = self._arrived(), time.monotonic() + PACKET_SECONDS
        self.sockets[port].send(frame)
        got = self._receive()
        while not got and self._arrived() == before:
            if time.monotonic() > end:
                raise RuntimeError(f"what came by {port} was not seen: {frame.hex()}")
        # The daemon sends what comes of a packet before it answers a question.
        return got + self._receive()

    def cmd(self, *argv, stdin=""):
        done = super().cmd(*argv, stdin=stdin)
        if "--rate" in argv:  # depends on when within two seconds the packets came
            self.lines[-1]["loose"] = True
        return done

    @staticmethod
    def _expiring(seconds):
        return False

    def _table(self):
        found = []
        for line in self._sluice("connections", "-n").splitlines()[2:]:
            pro, expires, state, client, virtual, destination = line.split()[:6]
            minutes, seconds = expires.split(":")
            found.append({"pro": pro, "expire": int(minutes) * 60 + int(seconds), "state": state,
                          "c": client, "v": virtual, "d": destination})
        return found

    def note(self, step):
        super().note(step | {"dropped": self._status()[1]} if "dropped" in step else step)


def main():
    path, folder, *arguments = sys.argv[1:]
    folder = pathlib.Path(folder)
    lines = load(pathlib.Path(path))
    with WireDirector(director.meta_of(lines), folder, arguments) as sluiced:
        recording = director.play(lines, sluiced)
    (folder / "recording.jsonl").write_text(recording, "utf-8")


if __name__ == "__main__":
    main()
