# SPDX-License-Identifier: Apache-2.0
"""Programs of the field through the director: iperf3, wrk against nginx, dig against dnsmasq; and
what happens to traffic when its servers change."""

import collections
import hashlib
import json
import os
import re
import signal
import time

import pytest
from cluster import INSIDE, VIP, Cluster, bracketed, server_address
from lab import HERE, PYTHON, wait_until
from server import pattern

METHODS = {
    "nat": {"method": "nat", "arms": 2},
    "dr": {"method": "dr"},
    "tun": {"method": "tun"},
}
IPERF_PORT, NGINX_PORT, DNS_PORT = 5201, 8080, 53

NGINX = """
daemon off; master_process off; worker_rlimit_nofile 8192; pid {directory}/nginx-{name}.pid;
error_log {directory}/nginx-{name}.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
  fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{
    listen 0.0.0.0:{port} backlog=4096; listen [::]:{port} ipv6only=on backlog=4096;
    default_type text/plain; location / {{ return 200 "{name}"; }}
  }}
}}
"""


def listens(node, port, protocol="t"):
    return lambda: node.run("ss", f"-Hln{protocol}", f"sport = :{port}")


def start_nginx(lab, server):
    server.sysctl("net.core.somaxconn", 4096)
    server.sysctl("net.ipv4.tcp_max_syn_backlog", 4096)
    file = lab.directory / f"nginx-{server.name}.conf"
    file.write_text(NGINX.format(directory=lab.directory, name=server.name, port=NGINX_PORT))
    server.start("nginx", "-e", lab.directory / "nginx-start.log", "-c", file)
    wait_until(listens(server, NGINX_PORT), f"nginx of {server.name} listens")


def start_dns(lab, server):
    # 3 kB in one name: a UDP answer in several IP fragments.
    large = [f"--txt-record=large.example,{'x' * 250}{number}" for number in range(12)]
    server.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
                 "--no-hosts", "--port", DNS_PORT, "--user=root", "--pid-file",
                 "--edns-packet-max=4096", f"--txt-record=server.example,{server.name}", *large,
                 stderr=(lab.directory / "dnsmasq.log").open("ab"))
    wait_until(listens(server, DNS_PORT, "u"), f"dnsmasq of {server.name} listens")


@pytest.mark.parametrize("method", METHODS)
def test_iperf3(lab, method):
    """A second of TCP at full speed, to the server and (--reverse) back, in both families."""
    cluster = Cluster(lab, servers=1, **METHODS[method])
    cluster.start()
    server = cluster.servers[0]
    server.start("iperf3", "--server", "--port", IPERF_PORT)
    wait_until(listens(server, IPERF_PORT), "iperf3 listens")
    for family in (4, 6):
        cluster.add_service(family, port=IPERF_PORT)
        for reverse in ([], ["--reverse"]):
            # The server may not have ended the test before yet; then it says that it is busy, or
            # does not listen for a moment.
            def attempt(words=reverse, address=VIP[family]):
                done = cluster.client.attempt("iperf3", "--client", address, "--port", IPERF_PORT,
                                              "--time", 1, "--json", *words, timeout=30)
                report = json.loads(done.stdout)
                error = report.get("error", "")
                is_between = "busy" in error or "unable to connect" in error
                return None if is_between else (done, report)

            done, report = wait_until(attempt, "the server takes a test", seconds=15)
            assert done.returncode == 0 and "error" not in report, report.get("error")
            assert report["end"]["sum_received"]["bytes"] > 1_000_000, report["end"]


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_a_thousand_connections_at_once(lab, family):
    """wrk: 1,000 connections that stay, then a new one for each request; no error."""
    cluster = Cluster(lab, arms=2)
    sluiced = cluster.start()
    for server in cluster.servers:
        start_nginx(lab, server)
    cluster.add_service(family, port=NGINX_PORT)
    url = f"http://{bracketed(VIP[family])}:{NGINX_PORT}/"
    for words, least in (([], 1000), (["-H", "Connection: close"], 200)):
        said = cluster.client.run("wrk", "--threads", 1, "--connections", 1000, "--duration", "2s",
                                  "--timeout", "10s", *words, url, timeout=60)
        assert "Socket errors" not in said and "Non-2xx" not in said, said
        assert int(re.search(r"(\d+) requests in", said).group(1)) >= least, said
    counts = sluiced.connection_counts(bracketed(VIP[family])).values()
    assert sum(counts) >= 1000 and max(counts) - min(counts) <= 1, counts


@pytest.mark.parametrize("method", METHODS)
def test_dns(lab, method):
    """dig asks over UDP (also for an answer that comes in fragments) and TCP."""
    cluster = Cluster(lab, servers=2, **METHODS[method])
    cluster.start()
    for server in cluster.servers:
        start_dns(lab, server)
    for family in (4, 6):
        for protocol in ("-u", "-t"):
            cluster.add_service(family, port=DNS_PORT, protocol=protocol)

        def dig(*words, family=family):
            return cluster.client.run("dig", f"@{VIP[family]}", "+short", "+tries=1", "+time=5",
                                      "txt", *words)

        answers = collections.Counter(dig("server.example").strip() for _ in range(10))
        answers.update(dig("+tcp", "server.example").strip() for _ in range(4))
        assert answers.total() == 14 and set(answers) == {'"rs1"', '"rs2"'}, answers
        large = dig("+notcp", "+ignore", "+bufsize=4096", "large.example").split()
        assert len(large) == 12 and all(len(text) > 250 for text in large), large


def short_connections(cluster, *words, family=4, port=80, timeout=120):
    return json.loads(cluster.client.run(PYTHON, HERE / "short_connections.py", VIP[family], port,
                                         *words, timeout=timeout))


def retransmitted(node):
    return int(re.search(r"TcpRetransSegs +(\d+)", node.run("nstat", "-asz")).group(1))


def test_short_connections(lab):
    """One after the other: none fails, none waits for a retransmission. With
    SLUICE_SHORT_CONNECTIONS=50000 (and pytest -s) it tells how long they take."""
    count = int(os.environ.get("SLUICE_SHORT_CONNECTIONS", 2000))
    cluster = Cluster(lab, servers=2)
    cluster.start()
    for server in cluster.servers:
        start_nginx(lab, server)
    cluster.add_service(4, port=NGINX_PORT)
    # In parts, from ports of their own: a client has 28,000, and each rests for a minute.
    cluster.client.sysctl("net.ipv4.tcp_tw_reuse", 1)
    cluster.client.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
    result = short_connections(cluster, count, port=NGINX_PORT, timeout=count // 20 + 60)
    print(json.dumps(result, indent=2))
    assert result["errors"] == {}, result
    assert result["answers"] == {"rs1": count // 2, "rs2": count // 2}, result
    assert retransmitted(cluster.client) == 0, result
    assert result["max"] < 1000, result


@pytest.mark.parametrize("end", ["reset", "fin"])
def test_a_client_that_uses_its_port_again_at_once(lab, end):
    """The director still knows the last connection of that port, in CLOSE or TIME_WAIT."""
    cluster = Cluster(lab, servers=2)
    cluster.start()
    for server in cluster.servers:
        start_nginx(lab, server)
    for family in (4, 6):
        cluster.add_service(family, port=NGINX_PORT)
        words = ["--from-port", 5000] + (["--reset"] if end == "reset" else [])
        result = short_connections(cluster, 100, *words, family=family, port=NGINX_PORT)
        assert result["errors"] == {} and result["answers"].keys() == {"rs1", "rs2"}, result
        assert result["max"] < 1000, result


def test_servers_are_taken_out_and_in_under_traffic(lab):
    """Quiesced, removed when idle, added again: no request of a steady stream fails."""
    cluster = Cluster(lab)
    sluiced = cluster.start()
    for server in cluster.servers:
        start_nginx(lab, server)
    virtual = cluster.add_service(4, port=NGINX_PORT)
    second = f"{server_address(2, 4)}:{NGINX_PORT}"
    stop, report = lab.directory / "stop", lab.directory / "report"
    client = cluster.client.start(PYTHON, HERE / "short_connections.py", VIP[4], NGINX_PORT,
                                  1_000_000, "--until", stop, stdout=report.open("wb"))

    def served():
        return sluiced.connection_counts(VIP[4])

    def wait_for_traffic(server):
        before = served()[server]
        wait_until(lambda: served()[server] >= before + 20, f"{server} is used")

    def active():
        listing = sluiced.ipvsadm("-Ln")
        return int(re.search(rf"-> {second} +\S+ +\d+ +(\d+)", listing).group(1))

    first = f"{server_address(1, 4)}:{NGINX_PORT}"
    wait_for_traffic(second)
    for _ in range(3):
        sluiced.ipvsadm(f"-e -t {virtual} -r {second} -m -w 0")
        wait_until(lambda: active() == 0, "its last connection ends")
        before = served()[second]
        wait_for_traffic(first)
        assert served()[second] == before
        sluiced.ipvsadm(f"-d -t {virtual} -r {second}")
        wait_for_traffic(first)
        sluiced.ipvsadm(f"-a -t {virtual} -r {second} -m")
        wait_for_traffic(second)
    stop.touch()
    client.wait(15)
    result = json.loads(report.read_text())
    assert result["errors"] == {} and result["answers"].keys() == {"rs1", "rs2", "rs3"}, result


class Download:
    """A transfer that takes some seconds."""

    SIZE = 6_000_000

    def __init__(self, cluster):
        self.file = cluster.lab.directory / "got"
        self.client = cluster.client.start(
            "curl", "-sS", "--max-time", 40, "--limit-rate", "2M", "-o", self.file,
            f"http://{VIP[4]}/bytes/{self.SIZE}")
        wait_until(lambda: self.size() > 500_000, "the transfer is under way")

    def size(self):
        return self.file.stat().st_size if self.file.exists() else 0

    def check(self):
        assert self.client.wait(45) == 0
        expected = hashlib.sha256(b"".join(pattern(self.SIZE))).hexdigest()
        assert hashlib.sha256(self.file.read_bytes()).hexdigest() == expected


def test_a_transfer_survives_its_servers_removal_and_return(lab):
    """As in the kernel: packets of a removed server are dropped, and a server that is added again
    gets its connections back."""
    cluster = Cluster(lab, servers=2)
    sluiced = cluster.start()
    virtual = f"{VIP[4]}:80"
    server = f"{server_address(1, 4)}:80"
    sluiced.ipvsadm(f"-A -t {virtual} -s rr")
    sluiced.ipvsadm(f"-a -t {virtual} -r {server} -m")
    download = Download(cluster)
    sluiced.ipvsadm(f"-d -t {virtual} -r {server}")

    def is_stuck():
        before = download.size()
        time.sleep(0.3)  # over this time nothing must come
        return download.size() == before

    wait_until(is_stuck, "the transfer waits")
    sluiced.ipvsadm(f"-a -t {virtual} -r {server_address(2, 4)}:80 -m")
    assert cluster.client.fetch_many(VIP[4], 3) == {"rs2": 3}
    sluiced.ipvsadm(f"-a -t {virtual} -r {server} -m")
    download.check()


def test_a_transfer_survives_a_servers_new_mac(lab):
    cluster = Cluster(lab, servers=1)
    cluster.start()
    cluster.add_service(4)
    download = Download(cluster)
    server = cluster.servers[0]
    server.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    server.run("ping", "-c", 1, "-W", 5, INSIDE[4])  # its ARP request tells the director
    download.check()


def test_a_daemon_that_pauses_loses_no_connection(lab):
    """Stopped for a second and continued (a debugger, a frozen machine): transfers go on."""
    cluster = Cluster(lab, servers=1)
    sluiced = cluster.start()
    cluster.add_service(4)
    download = Download(cluster)
    sluiced.process.send_signal(signal.SIGSTOP)
    before = download.size()
    time.sleep(1)
    assert download.size() <= before + 3_000_000
    sluiced.process.send_signal(signal.SIGCONT)
    download.check()
