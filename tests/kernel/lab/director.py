# SPDX-License-Identifier: Apache-2.0
"""A kernel's IPVS in a network namespace of its own, played to and recorded.

Runs inside the guest that boot.sh starts. The director has two ports, `ext` and `int`; clients
and servers are frames that this program sends and receives at the other ends of two veth pairs.
Each step that is played is recorded with what came of it, in the format that
tests/ipvs-oracle/README.md describes.
"""

import ctypes
import ipaddress
import json
import os
import select
import socket
import struct
import subprocess
import time

import frames

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SIOCETHTOOL = 0x8946
LIBC = ctypes.CDLL(None, use_errno=True)
QUIET_SECONDS = 0.02  # nothing more follows after this long, where no fence is possible
FENCE_SECONDS = 5
ARP = 0x0806


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def write(path, value):
    with open("/proc/sys/" + path, "w", encoding="ascii") as file:
        file.write(str(value))


def switch_offloads_off(port):
    """No checksums left to a device, no merging: frames are as a NIC would send them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in (0x17, 0x1f, 0x21, 0x24, 0x2c):  # TX sums, TSO, UFO, GSO, GRO
            data = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP", port.encode(), ctypes.addressof(data)).ljust(40, b"\0")
            try:
                import fcntl
                fcntl.ioctl(control, SIOCETHTOOL, request)
            except OSError:
                pass  # UFO is gone from newer kernels


class Director:
    """One case. Give `meta` as in a recorded case; then call the steps.

    What a subclass must know about another director than the kernel's IPVS is in the methods
    from `_set_up` to `rx`.
    """

    peer_mtu = 9000

    def __init__(self, meta):
        self.meta = meta
        self.lines = [meta | {"op": "meta"}]
        self.own = {address.split("/")[0] for port in meta["ports"].values()
                    for address in port["addrs"]}
        self._build()
        self.start = time.monotonic()
        self.delivered = self._delivered()

    def _build(self):
        check(LIBC.unshare(CLONE_NEWNET), "unshare")
        write("net/ipv6/conf/all/disable_ipv6", 1)
        write("net/ipv6/conf/default/disable_ipv6", 1)
        outside = self.outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        check(LIBC.unshare(CLONE_NEWNET), "unshare")
        inside = os.open("/proc/self/ns/net", os.O_RDONLY)
        for name, value in (("all/accept_dad", 0), ("default/accept_dad", 0), ("all/forwarding", 1),
                            ("default/router_solicitations", 0), ("default/addr_gen_mode", 1)):
            write("net/ipv6/conf/" + name, value)
        lines = ["link set lo up"]
        for name, port in self.meta["ports"].items():
            lines.append(f"link add {name} address {port['mac']} mtu {port['mtu']} type veth peer "
                         f"name {name}p mtu {self.peer_mtu} netns /proc/{os.getpid()}/fd/{outside}")
            lines.append(f"link set {name} up")
            lines += [f"addr add {address} dev {name}" + (" nodad" if ":" in address else "")
                      for address in port["addrs"]]
        self._ip(lines)
        check(LIBC.setns(outside, CLONE_NEWNET), "setns")
        self._ip([f"link set {name}p up" for name in self.meta["ports"]])
        self.sockets = {}
        for name in self.meta["ports"]:
            port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            port.bind((name + "p", ETH_P_ALL))
            port.setblocking(False)
            self.sockets[name] = port
        self.names = {port.fileno(): name for name, port in self.sockets.items()}
        self.poll = select.poll()
        for port in self.sockets.values():
            self.poll.register(port, select.POLLIN)
        check(LIBC.setns(inside, CLONE_NEWNET), "setns")
        for name in self.meta["ports"]:
            switch_offloads_off(name)
        self._ip([f"neigh replace {n['ip']} lladdr {n['mac']} dev {n['dev']} nud permanent"
                  for n in self.meta["neigh"]]
                 + [f"route add {r['dst']}"
                    + (f" via {r['via']}" if "via" in r else "") + f" dev {r['dev']}"
                    for r in self.meta["routes"]])
        for name, value in (("ip_forward", 1), ("conf/all/rp_filter", 0),
                            ("conf/default/rp_filter", 0), ("conf/ext/rp_filter", 0),
                            ("conf/int/rp_filter", 0), ("conf/all/send_redirects", 0),
                            ("conf/ext/send_redirects", 0), ("conf/int/send_redirects", 0),
                            ("icmp_ratelimit", 0)):
            write("net/ipv4/" + name, value)
        write("net/ipv6/icmp/ratelimit", 0)
        self._set_up()
        self.fences = {name: self._fence(name) for name in self.meta["ports"]}
        self._receive(0.01)  # what coming up made the kernel say

    def _set_up(self):
        """Makes ready what balances: its settings, and the rules that mark packets."""
        for name, value in self.meta["sysctl"].items():
            self._set(name, value)
        for command in self.meta.get("marks", []):
            self._mark(command.split())
        for command in self.meta.get("setup", []):
            subprocess.run(command.split(), check=True, capture_output=True)

    @staticmethod
    def _set(name, value):
        write(name.replace(".", "/"), value)

    @staticmethod
    def _mark(words):
        subprocess.run([words[0] + "-legacy", *words[1:]], check=True, capture_output=True)

    @staticmethod
    def _ip(lines):
        done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError("ip: " + done.stderr)

    def _delivered(self):
        """How many packets came through to the host itself, past the hooks of IPVS."""
        with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
            fields = file.read().split("\n")[1].split()
        total = int(fields[7]) + int(fields[9])  # unknown protocols, delivered
        with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
            for line in file:
                if line.startswith(("Ip6InUnknownProtos", "Ip6InDelivers")):
                    total += int(line.split()[1])
        return total

    def _fence(self, name):
        """An ARP request for the port's own address; None if the port has none of IPv4.

        All packets pass one queue, so what the kernel makes of the frames before this one has
        left when the answer comes.
        """
        port = self.meta["ports"][name]
        own = next((a.split("/")[0] for a in port["addrs"] if ":" not in a), None)
        peer = next((n for n in self.meta["neigh"] if n["dev"] == name and ":" not in n["ip"]), None)
        if own is None or peer is None:
            return None
        mac = frames.mac_bytes(peer["mac"])
        return (b"\xff" * 6 + mac + struct.pack("!HHHBBH", ARP, 1, 0x0800, 6, 4, 1) + mac
                + frames.packed(peer["ip"]) + bytes(6) + frames.packed(own))

    def _receive(self, quiet=QUIET_SECONDS, fenced=None):
        """Frames that leave the director until it is quiet, or has answered port `fenced`."""
        got, passed = [], fenced is None
        while True:
            ready = self.poll.poll(quiet * 1000 if fenced is None else
                                   0 if passed else FENCE_SECONDS * 1000)
            if not ready:
                if not passed:
                    raise RuntimeError(f"no answer to ARP on {fenced}")
                return got
            for handle, _ in ready:
                name = self.names[handle]
                while True:
                    try:
                        frame, (_, kind, packet_type, _, _) = self.sockets[name].recvfrom(65536)
                    except BlockingIOError:
                        break
                    if packet_type == socket.PACKET_OUTGOING:
                        continue
                    if kind == ARP:
                        passed = passed or name == fenced
                    elif not self._is_noise(frame):
                        got.append((name, frame))

    @staticmethod
    def _is_noise(frame):
        packet = frames.view(frame)
        if not packet.ok:
            return False
        if packet.proto == frames.ICMP6 and packet.payload:
            return packet.payload[0] in (130, 131, 132, 133, 134, 135, 136, 143)
        return packet.proto == 2  # IGMP

    def _random_bytes(self, frame, made_by_host):
        """Stretches of a frame that the kernel chooses at random."""
        packet = frames.view(frame)
        if not packet.ok:
            return []
        stretches = []
        own = packet.src in self.own
        if not frames.is_v6(packet.src):
            if own and (packet.proto in (frames.ICMP4, frames.IPIP, frames.GRE, frames.IP6)
                        or packet.fragment or packet.proto == frames.UDP and packet.tunnelled()
                        or made_by_host):
                stretches += [[18, 2], [24, 2]]
        elif own and (packet.proto == frames.ICMP6 or made_by_host):
            stretches.append([14, 4])
        if frames.is_v6(packet.src) and frame[20] == frames.FRAGMENT:
            stretches.append([58, 4])
        if packet.proto == frames.UDP and own and packet.tunnelled() and not packet.later:
            at = len(frame) - len(packet.payload)
            stretches += [[at, 2]] + ([[at + 6, 2]] if frame[at + 6:at + 8] != b"\0\0" else [])
        return stretches

    def _maker(self, received, sent, to_host):
        """Who made a frame: None for IPVS, else the word for `by`."""
        if to_host:
            return "host"
        packet, answer = frames.view(received), frames.view(sent)
        if not packet.ok or not answer.ok or packet.dst in self.own:
            return None
        if (packet.src, packet.dst) == (answer.src, answer.dst):
            return "route"
        if answer.dst == packet.src and answer.src in self.own and answer.payload:
            error = (answer.proto, *answer.payload[:2])
            if answer.proto in (frames.ICMP4, frames.ICMP6) and error not in (
                    (frames.ICMP4, 3, 3), (frames.ICMP6, 1, 4)):
                return "route"
        return None

    def _now(self):
        return round(time.monotonic() - self.start, 3)

    def _exchange(self, port, frame):
        """Sends a frame; returns what leaves when all that comes of it is over."""
        self.sockets[port].send(frame)
        fence = self.fences[port]
        if fence is not None:
            self.sockets[port].send(fence)
        got = self._receive(fenced=port if fence is not None else None)
        for _ in range(3):  # what a packet has ended goes with the next tick
            if port != "ext" or not self._expiring(0):
                break
            time.sleep(0.01)
        return got

    def rx(self, port, frame, note=None):
        """A frame arrives; returns what leaves: a list of (port, frame)."""
        at = self._now()
        got = self._exchange(port, frame)
        delivered = self._delivered()
        to_host, self.delivered = delivered != self.delivered, delivered
        sent = []
        for name, data in got:
            maker = self._maker(frame, data, to_host)
            line = {"port": name, "frame": data.hex()}
            stretches = self._random_bytes(data, maker == "host")
            sent.append(line | ({"any": stretches} if stretches else {})
                        | ({"by": maker} if maker else {}))
        step = {"op": "rx", "t": at, "port": port, "frame": frame.hex()}
        self.lines.append(step | ({"note": note} if note else {}) | {"tx": sent}
                          | ({"to_host": True} if to_host else {}))
        return got

    @staticmethod
    def _run(argv, stdin):
        return subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False)

    def cmd(self, *argv, stdin=""):
        at = self._now()
        expiring = self._expiring(2)
        done = self._run(argv, stdin)
        step = {"op": "cmd", "t": at, "argv": list(argv)} | ({"stdin": stdin} if stdin else {})
        if {"-d", "-D"} & set(argv):
            time.sleep(0.03)  # expire_nodest_conn works in the background
        step |= {"rc": done.returncode, "out": done.stdout, "err": done.stderr}
        if any(word.startswith("-L") for word in argv[1:]):
            if "--nosort" in argv:
                step["unordered"] = True
            if expiring or self._expiring(1):  # counts change while the program starts
                step["loose"] = True
        self.lines.append(step)
        return done

    def sysctl(self, name, value):
        self.lines.append({"op": "sysctl", "t": self._now(), "name": name, "value": str(value)})
        self._set(name, value)

    def note(self, step):
        self.lines.append(step)

    def sleep(self, seconds):
        at = self._now()
        time.sleep(seconds)
        got = [{"port": name, "frame": frame.hex(), "any": self._random_bytes(frame, False)}
               for name, frame in self._receive()]
        self.lines.append({"op": "sleep", "t": at, "s": seconds, "tx": got}
                          | ({"loose": True} if got else {}))

    @staticmethod
    def _expiring(seconds):
        with open("/proc/thread-self/net/ip_vs_conn", encoding="ascii") as file:
            return any(int(line.split()[8]) <= seconds for line in file.read().splitlines()[1:])

    def conns(self):
        """The connection table, as a step."""
        at, found = self._now(), self._table()
        found.sort(key=lambda c: (c["pro"], c["c"], c["v"], c["d"], c["state"]))
        self.lines.append({"op": "conns", "t": at, "conns": found})
        return found

    def _table(self):
        found = []
        with open("/proc/thread-self/net/ip_vs_conn", encoding="ascii") as file:
            # A long listing repeats some lines where it is read in pieces.
            for line in dict.fromkeys(file.read().splitlines()[1:]):
                pro, *ends, state, expires = line.split()[:9]
                client, virtual, dest = (self._end(*ends[i:i + 2]) for i in (0, 2, 4))
                found.append({"pro": pro, "expire": int(expires), "state": state, "c": client,
                              "v": virtual, "d": dest})
        return found

    @staticmethod
    def _end(address, port):
        if ":" in address:
            return f"[{ipaddress.ip_address(address.strip('[]'))}]:{int(port, 16)}"
        return f"{ipaddress.IPv4Address(int(address, 16))}:{int(port, 16)}"

    def text(self):
        return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in self.lines)


def in_own_process(action, path):
    """Runs action() -> text in a child, so that its namespaces go with it, and writes `path`."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        text = action()
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".part", path)
        status = 0
    except BaseException:  # pylint: disable=broad-except
        import traceback
        with open(path + ".error", "w", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    finally:
        os._exit(status)


def meta_of(lines):
    """What surrounds the director of a recorded case."""
    return {key: value for key, value in lines[0].items() if key != "op"}


def play(lines, director):
    """Plays the inputs of a recorded case again and returns the new recording."""
    for step in lines[1:]:
        kind = step["op"]
        if kind == "rx":
            director.rx(step["port"], bytes.fromhex(step["frame"]), step.get("note"))
        elif kind == "cmd":
            director.cmd(*step["argv"], stdin=step.get("stdin", ""))
        elif kind == "conns":
            director.conns()
        elif kind == "sleep":
            director.sleep(step["s"])
        elif kind == "sysctl":
            director.sysctl(step["name"], step["value"])
        elif kind == "note":
            director.note(step)
        else:
            raise ValueError("step " + kind + " cannot be played")
    return director.text()
