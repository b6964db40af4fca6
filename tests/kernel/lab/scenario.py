# SPDX-License-Identifier: Apache-2.0
"""Random scenarios: services, servers, edits, packets of every kind, a little time.

A scenario is made from its seed while it is played, since what a client or a server sends next
depends on what came of the packets before.
"""

import random
import struct

import frames
from conversations import FtpSession, sip_message
from director import Director

EXT_MAC, INT_MAC, GATEWAY_MAC = "02:00:00:00:01:01", "02:00:00:00:02:01", "02:00:00:00:01:fe"
SCHEDULERS = ("rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh").split()
NUMBERS = (103, 112, 126, 148, 149, 155)  # of the servers, in both families
VIPS = {4: ("192.0.2.37", "192.0.2.38"), 6: ("2001:db8:10:1::125", "2001:db8:10:1::126")}
SERVERS = {4: tuple(f"10.0.0.{n}" for n in NUMBERS),
           6: tuple(f"2001:db8:10:2::{n:x}" for n in NUMBERS)}
PORTS = (25, 80, 443, 53, 8080)
PROTOCOLS = {"t": frames.TCP, "u": frames.UDP, "s": frames.SCTP}
OPTION = {"t": "-t", "u": "-u", "s": "--sctp-service"}
CLIENT_FLAGS = ("S", "S", "A", "PA", "PA", "FA", "F", "R", "RA", "SA", "", "SF", "FPU", "SEC", "SR")
SERVER_FLAGS = ("SA", "SA", "A", "PA", "FA", "R", "RA", "S")
CHUNKS = ("INIT", "INIT", "INIT_ACK", "COOKIE_ECHO", "COOKIE_ACK", "DATA", "SACK", "SHUTDOWN",
          "SHUTDOWN_ACK", "SHUTDOWN_COMPLETE", "ABORT", "HEARTBEAT", "ERROR")
# Not drop_entry: it drops connections at random.
SYSCTLS = {"expire_nodest_conn": (0, 1), "expire_quiescent_template": (0, 1),
           "conn_reuse_mode": (0, 1, 2, 3), "sloppy_tcp": (0, 1), "sloppy_sctp": (0, 1),
           "nat_icmp_send": (0, 1), "secure_tcp": (0, 3), "schedule_icmp": (0, 1),
           "pmtu_disc": (0, 1), "ignore_tunneled": (0, 1),
           "cache_bypass": (0, 1)}


def mac_of(server):
    """The MAC of a server, from its address."""
    number = int(server.rsplit(":", 1)[1], 16) if ":" in server else int(server.rsplit(".", 1)[1])
    return f"02:00:00:00:02:{number:02x}"


# Not record route or timestamp: Linux writes its address into them.
EXTENSIONS = {4: (b"\x01\x01\x01\0", b"\x94\x04\0\0"),
              6: ((0,), (60,), (0, 60), (60, 60))}  # hop by hop, for the destination


def extended(src, dst, proto, data, rnd, **fields):
    """The packet with options, or with extension headers."""
    if not frames.is_v6(src):
        return frames.ip(src, dst, proto, data, options=rnd.choice(EXTENSIONS[4]), **fields)
    fields.pop("df")
    for kind in reversed(rnd.choice(EXTENSIONS[6])):
        data = bytes((proto, 0, 1, 4)) + bytes(4) + data  # one PadN
        proto = kind
    return frames.ip(src, dst, proto, data, **fields)


def surroundings(name, about, sysctl, marks, ext_mtu, mtu):
    neighbours = [{"ip": "192.0.2.254", "mac": GATEWAY_MAC, "dev": "ext"}]
    neighbours += [{"ip": server, "mac": mac_of(server), "dev": "int"} for server in SERVERS[4]]
    neighbours.append({"ip": "2001:db8:10:1::fe", "mac": GATEWAY_MAC, "dev": "ext"})
    neighbours += [{"ip": server, "mac": mac_of(server), "dev": "int"} for server in SERVERS[6]]
    return {
        "id": name, "about": about,
        "ports": {
            "ext": {"mac": EXT_MAC, "mtu": ext_mtu,
                    "addrs": ["192.0.2.1/24", "2001:db8:10:1::1/64"]
                    + [vip + "/32" for vip in VIPS[4]] + [vip + "/128" for vip in VIPS[6]]},
            "int": {"mac": INT_MAC, "mtu": mtu, "addrs": ["10.0.0.1/24", "2001:db8:10:2::1/64"]}},
        "routes": [{"dst": "default", "via": "192.0.2.254", "dev": "ext"},
                   {"dst": "default", "via": "2001:db8:10:1::fe", "dev": "ext"}],
        "neigh": neighbours, "sysctl": sysctl, "marks": marks}


class Service:
    def __init__(self, kind, family, vip, port, mark=None):
        self.kind, self.family, self.vip, self.port, self.mark = kind, family, vip, port, mark
        self.servers = []
        self.speaks_sip = False

    def address(self):
        if self.mark is not None:
            return ["-f", str(self.mark)] + (["-6"] if self.family == 6 else [])
        vip = f"[{self.vip}]" if self.family == 6 else self.vip
        return [OPTION[self.kind], f"{vip}:{self.port}"]


class Flow:
    """One client's conversation; `server` is the end that its packets were sent to."""

    def __init__(self, family, kind, client, cport, vip, vport):
        self.family, self.kind = family, kind
        self.client, self.cport, self.vip, self.vport = client, cport, vip, vport
        self.server = None  # (address, port, translated)
        self.tunnel = None  # the last tunnel packet that carried one of its packets
        self.speaks_sip = False
        self.seq, self.ack = 1000, 5000


class Scenario:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.seed = seed
        self.flows, self.services, self.methods = [], [], {}
        self.deleted = False  # any service
        self.zeroed = False  # counters; of what came within two seconds before, Linux keeps some

    def run(self):
        rnd = self.random
        families = rnd.choice(((4,), (4,), (6,), (4, 6)))
        if rnd.random() < 0.08:
            return self._run_ftp(4)  # of IPv6 netfilter lets no such packet through
        self.services = [self._new_service(rnd.choice(families), number)
                         for number in range(rnd.choice((1, 1, 2, 3, 4)))]
        unique = {tuple(service.address()): service for service in self.services}
        self.services = list(unique.values())
        sysctl = {}
        # With cache_bypass Linux drops what IPv6 mark services can't schedule; we answer.
        self.settings = sorted(SYSCTLS if 6 not in families else set(SYSCTLS) - {"cache_bypass"})
        for name in rnd.sample(self.settings, rnd.choice((0, 0, 0, 1, 2))):
            sysctl["net.ipv4.vs." + name] = str(rnd.choice(SYSCTLS[name]))
        marks = [f"{'iptables' if s.family == 4 else 'ip6tables'} -t mangle -A PREROUTING -i ext "
                 f"-d {s.vip} -p {protocol} -j MARK --set-mark {s.mark}"
                 for s in self.services if s.mark is not None for protocol in ("tcp", "udp")]
        counts_down = rnd.random() < 0.04
        if counts_down:
            sysctl |= {"net.ipv4.vs.drop_packet": "3",
                       "net.ipv4.vs.am_droprate": str(rnd.randint(2, 6))}
        self._start(sysctl, marks)
        if counts_down:
            self.director.sleep(1.5)  # until the kernel has seen it
        self._set_up()
        for number in range(rnd.randint(20, 60)):
            self._step()
            if number % 8 == 7:
                self.director.conns()
        self.director.conns()
        if rnd.random() < 0.15:
            self._expire()
        if rnd.random() < 0.15 and not self.zeroed and not self.deleted:
            self.director.sleep(4.3)  # until the kernel has added the counters up
            self.director.cmd("ipvsadm", "-Ln", "--stats", "--exact")
        for listing in ("--thresholds", "--persistent-conn", "--tun-info"):
            if rnd.random() < 0.3:
                self.director.cmd("ipvsadm", "-Ln", listing)
        self.director.cmd("ipvsadm", "-Sn")
        self.director.cmd("ipvsadm", "-Ln")
        return self.director.text()

    def _start(self, sysctl, marks):
        rnd = self.random
        self.director = Director(surroundings(
            f"fuzz-{self.seed}", f"fuzz seed {self.seed}", sysctl, marks,
            rnd.choice((1500, 1500, 1500, 1400)), rnd.choice((1500, 1500, 1500, 1400))))

    def _run_ftp(self, family):
        """Control connections of FTP by masquerading, and what they lead to."""
        rnd = self.random
        service = Service("t", family, rnd.choice(VIPS[family]), 21)
        service.options = ["-s", rnd.choice(SCHEDULERS)] + (["-p", "100"] if rnd.random() < 0.4
                                                            else [])
        for address in rnd.sample(SERVERS[family], rnd.randint(1, 3)):
            end = f"[{address}]:21" if family == 6 else f"{address}:21"
            service.servers.append((end, ["-m", "-w", "1"]))
        self.services = [service]
        self._start({}, [])
        self._set_up()
        for number in range(rnd.randint(1, 5)):
            flow = Flow(family, "t", self._client_address(family), 30000 + number, service.vip, 21)
            FtpSession(self, flow).play()
            self.director.conns()
        self.director.cmd("ipvsadm", "-Ln")
        return self.director.text()

    def _expire(self):
        """Waits while some connections expire, and none is about to."""
        left = sorted(line["expire"] for line in self.director.conns() if line["expire"] < 20)
        for seconds in (line + 2.5 for line in left):
            if not any(seconds - 2 < line < seconds + 3 for line in left):
                self.director.sleep(seconds)
                self.director.conns()
                break
        for _ in range(5):
            self._client_packet()
        self.director.conns()

    # Configuration

    def _new_service(self, family, number):
        rnd = self.random
        vip = rnd.choice(VIPS[family])
        if rnd.random() < 0.15:
            service = Service("t", family, vip, 0, number + 1)
        else:
            service = Service(rnd.choice("tttuus"), family, vip, rnd.choice(PORTS))
        service.options = self._service_options(service)
        for _ in range(rnd.randint(1, 5)):
            service.servers.append(self._new_server(service))
        return service

    def _service_options(self, service):
        rnd = self.random
        options = ["-s", rnd.choice(SCHEDULERS)]
        persistent = rnd.random() < 0.3
        if service.mark is None and rnd.random() < 0.1:
            service.port, persistent = 0, True
        if persistent:
            options += ["-p"] + rnd.choice(([], [str(rnd.choice((2, 30, 100, 300)))]))
            if rnd.random() < 0.4:
                options += ["-M", ("255.255.255.0" if service.family == 4 else "64")]
        service.speaks_sip = (service.kind == "u" and service.mark is None and persistent
                              and rnd.random() < 0.4)
        if service.speaks_sip:
            options += ["--pe", "sip"]
        if service.kind == "u" and (not persistent or service.speaks_sip) and rnd.random() < 0.25:
            options.append("-o")
        if options[1] in ("sh", "mh") and rnd.random() < 0.5:
            flag = rnd.choice(("fallback", "port", "fallback,port"))
            options += ["-b", ",".join(f"{options[1]}-{word}" for word in flag.split(","))]
        return options

    def _new_server(self, service):
        rnd = self.random
        family = service.family
        method = rnd.choice("mmmgi")
        if method == "i" and rnd.random() < 0.15:
            family = 10 - family  # a tunnel over the other family
        address = rnd.choice(SERVERS[family])
        port = service.port
        if method == "m" and rnd.random() < 0.5 and service.mark is None and port:
            port = rnd.choice((8000, 8080, 80))
        end = f"[{address}]:{port}" if family == 6 else f"{address}:{port}"
        method = self._method(service, end, method)
        return end, self._server_options(method)

    def _method(self, service, end, method):
        """The method that may be given to this server: direct routing for ever, or never.

        Linux keeps a server's route when its method changes from or to direct routing, and then
        asks for the virtual address by ARP. We don't copy that.
        """
        known = self.methods.setdefault((tuple(service.address()), end), method)
        return known if "g" in (known, method) else method

    def _server_options(self, method):
        rnd = self.random
        options = ["-" + method, "-w", str(rnd.choice((0, 1, 1, 1, 2, 3, 5, 100)))]
        if rnd.random() < 0.15:
            upper = rnd.randint(1, 4)
            options += ["-x", str(upper), "-y", str(rnd.randint(0, upper - 1))]
        if method == "i" and rnd.random() < 0.4:
            options += rnd.choice((["--tun-type", "gre"], ["--tun-type", "gre", "--tun-csum"],
                                   ["--tun-type", "gue", "--tun-port", "6080"],
                                   ["--tun-type", "gue", "--tun-port", "6080", "--tun-csum"],
                                   ["--tun-type", "gue", "--tun-port", "6080", "--tun-remcsum"]))
        return options

    def _set_up(self):
        rules = []
        for service in self.services:
            rules.append(["-A", *service.address(), *service.options])
            unique = dict(service.servers)
            service.servers = list(unique.items())
            for end, options in service.servers:
                rules.append(["-a", *service.address(), "-r", end, *options])
        text = "".join(" ".join(rule) + "\n" for rule in rules)
        self.director.cmd("ipvsadm", "-R", stdin=text)

    def _edit(self):
        rnd = self.random
        service = rnd.choice(self.services)
        address = service.address()
        kind = rnd.random()
        if kind < 0.35 and service.servers:
            at = rnd.randrange(len(service.servers))
            end, options = service.servers[at]
            method = rnd.choice((options[0][1], options[0][1], "m", "g"))
            options = self._server_options(self._method(service, end, method))
            service.servers[at] = (end, options)
            self.director.cmd("ipvsadm", "-e", *address, "-r", end, *options)
        elif kind < 0.55 and service.servers:
            end, _ = service.servers.pop(rnd.randrange(len(service.servers)))
            self.director.cmd("ipvsadm", "-d", *address, "-r", end)
        elif kind < 0.8:
            end, options = self._new_server(service)
            self.director.cmd("ipvsadm", "-a", *address, "-r", end, *options)
            if end not in dict(service.servers):
                service.servers.append((end, options))
        elif kind < 0.9:
            other = Service(service.kind, service.family, "", 1, service.mark or 1)
            options = self._service_options(other)
            if service.port == 0 and service.mark is None and "-p" not in options:
                options.append("-p")
            service.options = options
            self.director.cmd("ipvsadm", "-E", *address, *options)
        elif kind < 0.93:
            self.director.cmd("ipvsadm", "-D", *address)
            self.deleted = True
            service.servers = []
        elif kind < 0.95:
            self._edit_all(service)
        else:
            self.director.cmd("ipvsadm", "-A", *address, *service.options)

    def _edit_all(self, service):
        rnd = self.random
        kind = rnd.randrange(4)
        if kind == 0:
            self.zeroed = True
            self.director.cmd("ipvsadm", "-Z", *rnd.choice(([], service.address())))
        elif kind == 1:
            self.director.cmd("ipvsadm", "--set", *(str(rnd.choice((0, 8, 60, 900)))
                                                    for _ in range(3)))
            self.director.cmd("ipvsadm", "-L", "--timeout")
        else:
            self.director.cmd("ipvsadm", "-C")
            self.deleted = True
            if rnd.random() < 0.7:
                self._set_up()

    # Packets

    def _step(self):
        rnd = self.random
        kinds = ((self._new_flow, 30), (self._client_packet, 25), (self._server_packet, 20),
                 (self._client_icmp, 4), (self._server_icmp, 4), (self._echo, 1),
                 (self._fragmented, 4), (self._malformed, 3), (self._odd_ttl_or_size, 4),
                 (self._tunnel_icmp, 2), (self._edit, 6), (self._stray, 3), (self._sysctl, 1),
                 (self._sleep, 1))
        rnd.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def _sleep(self):
        self.director.sleep(self.random.choice((0.3, 1.2, 3.2)))

    def _sysctl(self):
        name = self.random.choice(self.settings)
        self.director.sysctl("net.ipv4.vs." + name, self.random.choice(SYSCTLS[name]))

    def _client_address(self, family):
        number = self.random.choice((self.random.randint(2, 9), self.random.randint(10, 200)))
        return f"198.51.100.{number}" if family == 4 else f"2001:db8:c000::{number:x}"

    def _new_flow(self):
        rnd = self.random
        service = rnd.choice(self.services)
        kind = rnd.choice("tu") if service.mark is not None else service.kind
        port = service.port or rnd.choice(PORTS)
        if rnd.random() < 0.05:
            port = rnd.choice(PORTS)
        flow = Flow(service.family, kind, self._client_address(service.family),
                    rnd.randint(30000, 30030), service.vip, port)
        flow.speaks_sip = service.speaks_sip
        self.flows.append(flow)
        flags = "S" if rnd.random() < 0.85 else rnd.choice(CLIENT_FLAGS)
        chunks = ["INIT"] if rnd.random() < 0.85 else [rnd.choice(CHUNKS)]
        self._send_client(flow, flags, chunks)

    def _transport(self, flow, from_client, flags, chunks, payload=None):
        if from_client:
            ends = (flow.client, flow.cport, flow.vip, flow.vport)
        else:
            ends = (*flow.server[:2], flow.client, flow.cport)
        if payload is None:
            payload = bytes(self.random.choice((0, 0, 1, 7, 100)))
            if flow.speaks_sip and self.random.random() < 0.8:
                payload = sip_message(self.random)
        if flow.kind == "t":
            return frames.tcp(*ends, flags, flow.seq if from_client else flow.ack,
                              flow.ack if from_client else flow.seq, payload)
        if flow.kind == "u":
            no_sum = flow.family == 4 and self.random.random() < 0.1
            return frames.udp(*ends, payload, no_sum)
        return frames.sctp(ends[1], ends[3], chunks)

    def rx_client(self, family, packet, note=None):
        if len(packet) > self.director.meta["ports"]["ext"]["mtu"]:
            return []  # such a frame does not get into an interface
        return self.director.rx("ext", frames.ethernet(EXT_MAC, GATEWAY_MAC, packet), note)

    def _send_client(self, flow, flags, chunks, ttl=63, payload=None, df=True):
        data = self._transport(flow, True, flags, chunks, payload)
        if self.random.random() < 0.02:
            data = data[:6] + struct.pack("!H", self.random.getrandbits(16)) + data[8:]
        tos = self.random.choice((0, 0, 0, 0x10, 0xb8))
        ends = (flow.client, flow.vip, PROTOCOLS[flow.kind], data)
        if self.random.random() < 0.03:
            packet = extended(*ends, self.random, ttl=ttl, df=df, tos=tos)
        else:
            packet = frames.ip(*ends, ttl, df=df, tos=tos)
        self.learn(flow, self.rx_client(flow.family, packet))

    def learn(self, flow, got):
        for port, frame in got:
            if port != "int":
                continue
            packet = frames.view(frame)
            inner = packet.tunnelled() if packet.ok else None
            if inner is not None:
                flow.tunnel = frame[14:]
                flow.server = (packet.dst, flow.vport, False)
            elif packet.ok and packet.ports and packet.dst != flow.vip:
                flow.server = (packet.dst, packet.ports[1], True)

    def _some_flow(self, translated=False):
        flows = [flow for flow in self.flows if not translated or flow.server and flow.server[2]]
        return self.random.choice(flows[-6:]) if flows else None

    def _client_packet(self):
        flow = self._some_flow()
        if flow is None:
            self._new_flow()
            return
        rnd = self.random
        self._send_client(flow, rnd.choice(CLIENT_FLAGS),
                          rnd.sample(CHUNKS, rnd.choice((1, 1, 1, 2))))

    def _server_packet(self):
        flow = self._some_flow(True)
        if flow is None:
            self._new_flow()
            return
        rnd = self.random
        flags = rnd.choice(SERVER_FLAGS)
        data = self._transport(flow, False, flags, [rnd.choice(CHUNKS)])
        self.rx_server(flow, frames.ip(flow.server[0], flow.client, PROTOCOLS[flow.kind], data, 64))

    def rx_server(self, flow, packet, note=None):
        return self._rx_int(flow.server[0], packet, note)

    def _rx_int(self, server, packet, note):
        if len(packet) > self.director.meta["ports"]["int"]["mtu"]:
            return []
        return self.director.rx("int", frames.ethernet(INT_MAC, mac_of(server), packet), note)

    def _error(self, family):
        """Type, code and second word of an ICMP error (or of something that is none)."""
        rnd = self.random
        if family == 4:
            return rnd.choice(((3, 1, 0), (3, 3, 0), (3, 4, 1400), (11, 0, 0), (11, 1, 0),
                               (12, 0, 0), (5, 1, 0x0a000001), (4, 0, 0), (13, 0, 0)))
        return rnd.choice(((1, 0, 0), (1, 4, 0), (2, 0, 1400), (3, 0, 0), (4, 0, 0), (100, 0, 0)))

    def _quoted(self, family, packet):
        rnd = self.random
        if family == 4:
            return packet[:rnd.choice((28, 28, 40, len(packet), 24))]
        return packet[:rnd.choice((48, 60, len(packet), 44))]

    def _icmp(self, family, src, dst, quoted, ttl):
        data = frames.icmp(src, dst, *self._error(family), self._quoted(family, quoted))
        if family == 4 and self.random.random() < 0.05:
            data = data[:2] + b"\x12\x34" + data[4:]
        return frames.ip(src, dst, frames.ICMP6 if family == 6 else frames.ICMP4, data, ttl,
                         df=False)

    def _client_icmp(self):
        """An error about an answer, from the client's side."""
        flow = self._some_flow()
        if flow is None or flow.kind == "s" and self.random.random() < 0.5:
            self._new_flow()
            return
        back = Flow(flow.family, flow.kind, flow.client, flow.cport, flow.vip, flow.vport)
        back.server = (flow.vip, flow.vport, True)
        answer = frames.ip(flow.vip, flow.client, PROTOCOLS[flow.kind],
                           self._transport(back, False, "A", ["DATA"]), 60)
        src = self.random.choice((flow.client, self._client_address(flow.family)))
        self.rx_client(flow.family, self._icmp(flow.family, src, flow.vip, answer, 63),
                        "ICMP from the client side")

    def _server_icmp(self):
        """An error about a client's packet, from the servers' side."""
        flow = self._some_flow(True)
        if flow is None:
            self._new_flow()
            return
        there = Flow(flow.family, flow.kind, flow.client, flow.cport, *flow.server[:2])
        quoted = frames.ip(flow.client, flow.server[0], PROTOCOLS[flow.kind],
                           self._transport(there, True, "A", ["DATA"]), 62)
        src = self.random.choice((flow.server[0], flow.server[0], SERVERS[flow.family][5]))
        self.rx_server(flow, self._icmp(flow.family, src, flow.client, quoted, 64),
                        "ICMP from the server side")

    def _tunnel_icmp(self):
        """An error about one of the director's tunnel packets, from the servers' side."""
        flows = [flow for flow in self.flows[-6:] if flow.tunnel]
        if not flows:
            self._client_packet()
            return
        flow = self.random.choice(flows)
        outer = frames.view(bytes(14) + flow.tunnel)
        family = 6 if frames.is_v6(outer.dst) else 4
        kinds = ((3, 1, 0), (3, 3, 0), (11, 0, 0)) if family == 4 else ((1, 0, 0), (1, 4, 0), (3, 0, 0))
        quoted = flow.tunnel[:self.random.choice((len(flow.tunnel), 96, 76, 48))]
        data = frames.icmp(outer.dst, outer.src, *self.random.choice(kinds), quoted)
        packet = frames.ip(outer.dst, outer.src, 58 if family == 6 else 1, data, 64, df=False)
        self._rx_int(outer.dst, packet, "ICMP about a tunnel packet")

    def _echo(self):
        family = self.random.choice((4, 6))
        src, dst = self._client_address(family), self.random.choice(VIPS[family])
        kind = 8 if family == 4 else 128
        data = frames.icmp(src, dst, kind, 0, 0x00010001, b"ping")
        self.rx_client(family, frames.ip(src, dst, 1 if family == 4 else 58, data))

    def _fragmented(self):
        flow = self._some_flow()
        if flow is None:
            self._new_flow()
            return
        if flow.family == 6 and self.deleted:
            return  # Linux puts them together even when no service of IPv6 is left
        if flow.family == 6 and flow.server and not frames.is_v6(flow.server[0]):
            return  # Linux sets DF outside at random
        rnd = self.random
        payload = bytes(rnd.choice((40, 600, 2000)))
        from_client = flow.server is None or not flow.server[2] or rnd.random() < 0.7
        data = self._transport(flow, from_client, rnd.choice(("A", "PA", "S")), ["DATA"], payload)
        if len(data) <= 48:
            return
        # How Linux cuts a packet of IPv4 again that came in uneven pieces depends on the driver's
        # buffers, and a first piece of IPv6 without the whole transport header is none to it.
        least = max(24, (len(data) // 3 + 7) & ~7)
        size = rnd.randrange(least, min(len(data) - 1, 1400), 8)
        ends = (flow.client, flow.vip) if from_client else (flow.server[0], flow.client)
        pieces = frames.fragments(*ends, PROTOCOLS[flow.kind], data, [size] * 2,
                                  rnd.getrandbits(16))
        if rnd.random() < 0.25:
            pieces.reverse()
        if rnd.random() < 0.15:
            pieces.pop()
        for piece in pieces:
            if from_client:
                self.learn(flow, self.rx_client(flow.family, piece, "fragment"))
            else:
                self.rx_server(flow, piece, "fragment")

    def _malformed(self):
        flow = self._some_flow()
        if flow is None:
            self._new_flow()
            return
        rnd = self.random
        data = self._transport(flow, True, "S", ["INIT"])
        packet = bytearray(frames.ip(flow.client, flow.vip, PROTOCOLS[flow.kind], data))
        kind = rnd.random()
        size, packed = (20 if flow.family == 4 else 40), frames.packed(flow.vip)
        if kind < 0.3:
            cut = frames.ip(flow.client, flow.vip, PROTOCOLS[flow.kind],
                            data[:rnd.randrange(0, len(data))])
            packet = bytearray(cut)
        elif kind < 0.5:
            packet = packet[:rnd.randrange(1, len(packet))]
        elif kind < 0.8:
            # Not in the destination: nobody would answer for that address.
            where = [at for at in range(len(packet)) if not size - len(packed) <= at < size]
            packet[rnd.choice(where)] ^= 1 << rnd.randrange(8)
        else:
            packet[size + rnd.randrange(len(packet) - size)] = rnd.getrandbits(8)
        frame = frames.ethernet(EXT_MAC, GATEWAY_MAC, bytes(packet))
        kind = b"\x08\x00" if flow.family == 4 else b"\x86\xdd"
        self.director.rx("ext", frame[:12] + kind + frame[14:], "malformed")

    def _odd_ttl_or_size(self):
        flow = self._some_flow()
        if flow is None:
            self._new_flow()
            return
        rnd = self.random
        if rnd.random() < 0.5:
            self._send_client(flow, "S", ["INIT"], ttl=rnd.choice((1, 2, 255)))
        else:
            size = rnd.choice((1340, 1360, 1380, 1400, 1440, 1460, 1472))
            size = min(size, 1500 - (20 if flow.family == 4 else 40) - 20)
            self._send_client(flow, "PA", ["DATA"], payload=bytes(size), df=rnd.random() < 0.6)

    def _stray(self):
        """Packets that belong to nothing: wrong ports, servers of their own, other protocols."""
        rnd = self.random
        family = rnd.choice((4, 6))
        server, client = rnd.choice(SERVERS[family]), self._client_address(family)
        kind = rnd.randrange(4)
        if kind == 0:
            data = frames.tcp(server, rnd.choice((80, 8000, 8080)), client,
                              rnd.randint(30000, 30030), rnd.choice(("SA", "A", "R", "S")))
            packet = frames.ip(server, client, frames.TCP, data, 64)
            self.director.rx("int", frames.ethernet(INT_MAC, mac_of(server), packet), "stray")
        elif kind == 1:
            data = frames.udp(server, rnd.choice((53, 80, 8080)), client,
                              rnd.randint(30000, 30030))
            packet = frames.ip(server, client, frames.UDP, data, 64)
            self.director.rx("int", frames.ethernet(INT_MAC, mac_of(server), packet), "stray")
        elif kind == 2:
            vip = rnd.choice(VIPS[family])
            packet = frames.ip(client, vip, rnd.choice((frames.ESP, frames.AH, 89, 33)), bytes(24))
            self.rx_client(family, packet, "stray")
        else:
            data = frames.tcp(client, 30500, server, 80, "S")
            self.rx_client(family, frames.ip(client, server, frames.TCP, data), "stray")
