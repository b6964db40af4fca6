# SPDX-License-Identifier: Apache-2.0
"""What some protocols say inside a scenario: FTP control connections, SIP over UDP."""

import frames

CALLS = ("a84b4c76e66710", "f81d4fae-7dec@client.example", "3848276298220188511@atlanta.example", "x")


def sip_message(rnd):
    """A SIP request as persistence by Call-ID sees it; some are none, or lack it."""
    call = rnd.choice(CALLS)
    line = rnd.choice(("Call-ID: ", "Call-ID: ", "Call-ID:", "i: ", "call-id: ", "X-Call: "))
    head = rnd.choice(("INVITE sip:bob@example.org SIP/2.0", "SIP/2.0 200 OK", "BYE sip:b SIP/2.0"))
    text = f"{head}\r\nVia: SIP/2.0/UDP client.example\r\n{line}{call}\r\nCSeq: 1 INVITE\r\n\r\n"
    if rnd.random() < 0.1:
        text = text[:rnd.randrange(len(text))]
    return text.encode()


class FtpSession:
    """One control connection, in order and well-formed, since netfilter looks at it as well, and
    the data connections that it leads to. Sequence numbers are each side's own."""

    def __init__(self, scenario, flow):
        self.scenario, self.flow, self.random = scenario, flow, scenario.random
        self.client_next, self.server_next = 1000, 5000
        self.shift = 0  # how much longer the client sees what the server has sent
        self.data_port = self.random.randint(10000, 11000)

    def play(self):
        """Plays it; false if no server was found."""
        self._client("S")
        if self.flow.server is None or not self.flow.server[2]:
            return False
        self._server("SA")
        self._client("A")
        self._say("220 ready\r\n")
        for _ in range(self.random.randint(1, 5)):
            self.random.choice((self._passive, self._extended_passive, self._active,
                                self._extended_active, self._chat))()
        if self.random.random() < 0.5:
            self._client("FA")
            self._server("FA")
            self._client("A")
        return True

    def _client(self, flags, text=""):
        ack = 0 if flags == "S" else self.server_next + self.shift
        flow = self.flow
        data = frames.tcp(flow.client, flow.cport, flow.vip, flow.vport, flags, self.client_next,
                          ack, text.encode())
        packet = frames.ip(flow.client, flow.vip, frames.TCP, data)
        self.scenario.learn(flow, self.scenario.rx_client(flow.family, packet))
        self.client_next += len(text) + sum(letter in "SF" for letter in flags)

    def _server(self, flags, text=""):
        flow = self.flow
        data = frames.tcp(*flow.server[:2], flow.client, flow.cport, flags, self.server_next,
                          self.client_next, text.encode())
        packet = frames.ip(flow.server[0], flow.client, frames.TCP, data, 64)
        for port, frame in self.scenario.rx_server(flow, packet):
            seen = frames.view(frame)
            if port == "ext" and seen.ok and seen.proto == frames.TCP and text:
                self.shift += len(seen.payload) - 20 - len(text)
        self.server_next += len(text) + sum(letter in "SF" for letter in flags)

    def _say(self, text):
        self._server("PA", text)
        self._client("A")

    def _chat(self):
        self._client("PA", self.random.choice(("NOOP\r\n", "USER anonymous\r\n", "PORT\r\n", "EPSV",
                                               "PASV x\r\n", "EPRT |||\r\n", "LIST\r\n")))
        self._say(self.random.choice(("200 ok\r\n", "500 what?\r\n", "227 nothing\r\n",
                                      "229 (|||)\r\n", "150 here it comes\r\n")))

    def _passive(self):
        if self.flow.family == 6:
            self._extended_passive()
            return
        self._client("PA", self.random.choice(("PASV\r\n", "pasv\r\n")))
        self.data_port += 1
        numbers = ",".join([*self.flow.server[0].split("."), str(self.data_port >> 8),
                            str(self.data_port & 255)])
        self._say(f"227 Entering Passive Mode ({numbers}).\r\n")
        self._client_data()

    def _extended_passive(self):
        self._client("PA", "EPSV\r\n")
        self.data_port += 1
        self._say(f"229 Entering Extended Passive Mode (|||{self.data_port}|)\r\n")
        self._client_data()

    def _active(self):
        if self.flow.family == 6:
            self._extended_active()
            return
        self.data_port += 1
        numbers = ",".join([*self.flow.client.split("."), str(self.data_port >> 8),
                            str(self.data_port & 255)])
        self._client("PA", f"PORT {numbers}\r\n")
        self._say("200 ok\r\n")
        self._server_data()

    def _extended_active(self):
        self.data_port += 1
        kind = 1 if self.flow.family == 4 else 2
        self._client("PA", f"EPRT |{kind}|{self.flow.client}|{self.data_port}|\r\n")
        self._say("200 ok\r\n")
        self._server_data()

    def _client_data(self):
        """The client opens the data connection to where it was told."""
        flow = self.flow
        client = (flow.client, self.random.randint(20000, 20100))
        virtual = (flow.vip, self.data_port)
        server = (flow.server[0], self.data_port)
        self._exchange(client, virtual, server, True)

    def _server_data(self):
        """The server opens it, from its port 20."""
        flow = self.flow
        self._exchange((flow.client, self.data_port), (flow.vip, 20), (flow.server[0], 20), False)

    def _exchange(self, client, virtual, server, client_first):
        packets = [(client_first, "S"), (not client_first, "SA"), (client_first, "A"),
                   (False, "PA"), (True, "A"), (False, "FA"), (True, "FA"), (False, "A")]
        for from_client, flags in packets[:self.random.randint(1, len(packets))]:
            ends = (*client, *virtual) if from_client else (*server, *client)
            data = frames.tcp(*ends, flags, 100 if from_client else 200,
                              200 if from_client else 100, b"data" if "P" in flags else b"")
            packet = frames.ip(ends[0], ends[2], frames.TCP, data, 63 if from_client else 64)
            if from_client:
                self.scenario.rx_client(self.flow.family, packet, "data connection")
            else:
                self.scenario.rx_server(self.flow, packet, "data connection")
