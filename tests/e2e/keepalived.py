# SPDX-License-Identifier: Apache-2.0
"""Debian's keepalived, unmodified, run by `sluice run` on a node of a lab."""

import os
import re
import signal
import subprocess

from lab import BIN, wait_until

HEAD = """
global_defs {
  router_id test
  script_user root
  checker_log_all_failures
}
"""
# Every check: as often as keepalived can, one failure is enough.
CHECKED = "delay_loop 0.2\n    retry 1\n    delay_before_retry 0.1\n    connect_timeout 1\n"


def real_server(address, port, check, weight=1, words=""):
    return f"""
  real_server {address} {port} {{
    weight {weight}
    {words}
    {check}
  }}"""


def virtual_server(what, servers, method="NAT", scheduler="rr", words="", protocol="TCP"):
    return f"""
virtual_server {what} {{
  {CHECKED}
  lb_algo {scheduler}
  lb_kind {method}
  protocol {protocol}
  {words}
  {"".join(servers)}
}}
"""


class Keepalived:
    def __init__(self, node, text, *arguments):
        self.node = node
        number = next(node.lab.numbers)
        self.file = node.lab.directory / f"keepalived-{number}.conf"
        self.write(text)
        self.log = node.lab.directory / f"keepalived-{number}.log"
        node.lab.logs.append(self.log)
        pids = [word for name in ("pid", "checkers_pid", "vrrp_pid")
                for word in (f"--{name}", node.lab.directory / f"{name}-{number}")]
        with self.log.open("wb") as log:
            self.process = node.start(
                BIN / "sluice", "run", "--", "keepalived", "--dont-fork", "--log-console",
                "--no-syslog", "--log-detail", "--use-file", self.file, *pids, *arguments,
                stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})

    def write(self, text):
        self.file.write_text(HEAD + text)

    def reload(self, text):
        self.write(text)
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        self.process.terminate()
        return self.process.wait(20)

    def wait_for(self, words, seconds=10.0):
        wait_until(lambda: words in self.log.read_text(errors="replace"), f"log says: {words}",
                   seconds)


def table(sluiced):
    """{virtual service: {real server: weight}}, as ipvsadm -Ln shows it."""
    services, servers = {}, {}
    for line in sluiced.ipvsadm("-Ln").splitlines():
        found = re.match(r"(TCP|UDP|FWM) +(\S+)", line)
        if found:
            servers = services[f"{found.group(1)} {found.group(2)}"] = {}
        elif line.startswith("  -> ") and "RemoteAddress" not in line:
            words = line.split()
            servers[words[1]] = int(words[3])
    return services


def wait_for_table(sluiced, expected, seconds=15.0):
    seen = {}

    def matches():
        seen["last"] = table(sluiced)
        return seen["last"] == expected

    try:
        wait_until(matches, f"the table is {expected}", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}\nbut it is {seen['last']}\n{sluiced.ipvsadm('-Ln')}") \
            from error
