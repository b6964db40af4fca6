# SPDX-License-Identifier: Apache-2.0
"""`sluiced` behind two veth pairs, played to frame by frame as the kernel's IPVS is.

    wire.py JOBS [ARGUMENT...]

plays cases to a daemon with these arguments. JOBS is a file of JSON: a list of [CASE, FOLDER].
Clients and servers are frames that this program sends and receives at the other ends. What came
of a case, with what the programs printed, goes into FOLDER/recording.jsonl in the format of
tests/ipvs-oracle; if it could not be played, FOLDER/error says why; FOLDER/said.log is what the
daemon has said since it was started, FOLDER/counters what it has counted. Cases in the same surroundings share a daemon as long as
nothing of the last one is left.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import traceback

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
    """A director that is `sluiced`. To be used in a process of its own, which it leaves in a
    network namespace that it made."""

    # More is too much for the driver's XDP: a frame must fit a page.
    peer_mtu = 3500

    def __init__(self, meta, folder, arguments):
        self.folder, self.arguments, self.sluiced = pathlib.Path(folder), arguments, None
        self.log = self.folder / "sluiced.log"
        self.defaults, self.drops_before, self.leaves_remains = {}, {}, False
        super().__init__(meta)

    def stop(self):
        if self.sluiced is not None:
            self.sluiced.terminate()
            self.sluiced.wait(10)
        for port in self.sockets.values():
            port.close()

    def reset(self, meta):
        """Makes ready for another case; false if this daemon cannot serve it."""
        if self.leaves_remains or surroundings_of(meta) != surroundings_of(self.meta):
            return False
        # Connections end with their servers.
        self._sluice("sysctl", "net.ipv4.vs.expire_nodest_conn=1")
        self._run(["ipvsadm", "-C"], "")
        self._sluice("mark", "flush")
        if self._table():
            return False
        for name, value in ({"net.ipv4.vs.expire_nodest_conn": "0"} | self.defaults).items():
            self._sluice("sysctl", f"{name}={value}")
        self._run(["ipvsadm", "--set", "900", "120", "300"], "")
        self._ip([f"link set {name} mtu {port['mtu']}" for name, port in meta["ports"].items()])
        self.defaults, self.drops_before = {}, self.status()[1]
        self.meta, self.lines = meta, [meta | {"op": "meta"}]
        self._set_settings()
        self._receive(0.01)
        self.start, self.delivered = time.monotonic(), self._delivered()
        return True

    def _set_up(self):
        # Without it the other ends take no frames from XDP, and there is no fast path.
        for name in self.meta["ports"]:
            subprocess.run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.outside}", "ethtool",
                            "-K", name + "p", "gro", "on"], check=True)
        self._start()
        self._set_settings()

    def _set_settings(self):
        # Recorded cases have the kernel's faults, but where the NIC had verified checksums.
        self._set("sluice.quirk_ipv6_extension_state", 1)
        self._set("sluice.quirk_icmpv6_checksum", int(not self.meta["id"].endswith("-offload")))
        super()._set_up()
        self.leaves_remains = bool(self.meta.get("setup"))

    def _start(self):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(self.folder / "notify"))
        notify.settimeout(START_SECONDS)
        interfaces = [word for name in self.meta["ports"] for word in ("--interface", name)]
        with self.log.open("wb") as log:
            self.sluiced = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", BIN / "sluiced", *interfaces, "--table-size",
                 "4096", *self.arguments], stderr=log,
                env=os.environ | {"NOTIFY_SOCKET": str(self.folder / "notify")})
        while b"READY=1" not in notify.recv(4096):
            pass
        notify.close()

    def _set(self, name, value):
        if name.startswith(("net.ipv4.vs.", "sluice.")):
            now = self._sluice("sysctl", name).split(" = ")[1].strip()
            self.defaults.setdefault(name, now)
            self._sluice("sysctl", f"{name}={value}")
        else:
            self.leaves_remains = True
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

    def status(self):
        """The counters of all interfaces together, by their names, and the drops."""
        counts, drops, part = {}, {}, ""
        # It ends with 1 if something is not well, such as a service without servers.
        done = subprocess.run([BIN / "sluice", "status", "--all"], text=True, capture_output=True,
                              check=False)
        for line in done.stdout.splitlines():
            if not line.startswith(" "):
                part = line
            elif len(words := line.split()) == 2 and words[1].isdigit():
                to = drops if part.startswith("dropped") else counts
                to[words[0]] = to.get(words[0], 0) + int(words[1])
        return counts, drops

    def _arrived(self):
        """Packets that came by XDP so far: to the daemon or to the host."""
        counts, _ = self.status()
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
        if "dropped" in step:
            now = {reason: count - self.drops_before.get(reason, 0)
                   for reason, count in self.status()[1].items()}
            step = step | {"dropped": {reason: count for reason, count in now.items() if count}}
        super().note(step)

    def rx(self, port, frame, note=None):
        # What a router said about a path is remembered for minutes.
        self.leaves_remains = self.leaves_remains or "ICMP 3/4" in (note or "")
        return super().rx(port, frame, note)


def surroundings_of(meta):
    ports = {name: (port["mac"], port["addrs"]) for name, port in meta["ports"].items()}
    return ports, meta["neigh"], meta["routes"], meta.get("setup", [])


def main():
    jobs, *arguments = sys.argv[1:]
    sluiced = None
    for path, folder in json.loads(pathlib.Path(jobs).read_text("utf-8")):
        folder = pathlib.Path(folder)
        try:
            lines = load(pathlib.Path(path))
            meta = director.meta_of(lines)
            if sluiced is None or not sluiced.reset(meta):
                if sluiced is not None:
                    sluiced.stop()
                sluiced = WireDirector(meta, folder, arguments)
            recording = director.play(lines, sluiced)
            shutil.copy(sluiced.log, folder / "said.log")
            (folder / "counters").write_text(json.dumps(sluiced.status()[0]), "utf-8")
            (folder / "part").write_text(recording, "utf-8")
            (folder / "part").rename(folder / "recording.jsonl")
        except Exception:  # pylint: disable=broad-except
            text = traceback.format_exc()
            if sluiced is not None:
                text += sluiced.log.read_text("utf-8")
                sluiced.leaves_remains = True
            (folder / "part").write_text(text, "utf-8")
            (folder / "part").rename(folder / "error")
    if sluiced is not None:
        sluiced.stop()


if __name__ == "__main__":
    main()
