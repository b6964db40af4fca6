#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes first inputs of the fuzz targets, made of the recorded cases, to directories.

    tests/fuzz/seed.py DIRECTORY

Fuzz from there, then keep what adds coverage (see README.md):

    build-fuzz/fuzz/fuzz_rules -merge=1 tests/fuzz/corpus/rules DIRECTORY/rules
"""

import ipaddress
import json
import pathlib
import shlex
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORTS = [80, 0, 21, 53, 443, 8000, 20, 5060]
SCHEDULERS = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"]


def cases(kind):
    for path in sorted((ROOT / "tests/ipvs-oracle" / kind).glob("*.jsonl")):
        yield path.stem, [json.loads(line) for line in path.open()]


def end(text):
    """Last byte of the address, port selector and family of ADDRESS:PORT."""
    address, _, port = text.rpartition(":")
    address = ipaddress.ip_address(address.strip("[]"))
    number = int(port) if port.isdigit() else 80
    selector = PORTS.index(number) if number in PORTS else 0
    return address.packed[-1], selector, address.version == 6


def key(words):
    for option, protocol in (("-t", 0), ("-u", 1), ("--sctp-service", 2)):
        if option in words:
            last, port, is_v6 = end(words[words.index(option) + 1])
            return bytes([protocol | (4 if is_v6 else 0) | port << 4, last])
    if "-f" in words:
        return bytes([8 | (4 if "-6" in words else 0), int(words[words.index("-f") + 1], 0) % 4])
    raise ValueError


def command(words):
    """Bytes of fuzz_process for one ipvsadm command; raises what it cannot say."""
    action = words[1]
    if action in ("-A", "-E"):
        scheduler = words[words.index("-s") + 1] if "-s" in words else "wlc"
        flags = ((1 if "-p" in words else 0) | (4 if "-o" in words or "--ops" in words else 0) |
                 (0x80 if "--pe" in words else 0))
        return (bytes([0 if action == "-A" else 1]) + key(words) +
                bytes([SCHEDULERS.index(scheduler), flags]) + struct.pack("<H", 300) + b"\xff")
    if action in ("-a", "-e", "-d"):
        last, port, _ = end(words[words.index("-r") + 1])
        method = 3 if "-i" in words else 0 if "-m" in words else 2
        weight = int(words[words.index("-w") + 1]) if "-w" in words else 1
        return (bytes([{"-a": 3, "-e": 4, "-d": 5}[action]]) + key(words) +
                bytes([method | min(weight, 3) << 2, last, port, 0, 0]))
    if action == "-D":
        return bytes([2]) + key(words)
    if action == "-C":
        return bytes([8, 0])
    raise ValueError


def process_input(steps):
    out = b""
    for step in steps:
        if step["op"] == "cmd":
            try:
                out += command(step["argv"])
            except (ValueError, IndexError):
                continue
        elif step["op"] == "rx":
            frame = bytes.fromhex(step["frame"])
            out += bytes([10]) + struct.pack("<H", len(frame)) + frame
        elif step["op"] == "sleep":
            out += bytes([7, 1 + 4 * min(int(step["s"]), 60)])
    return out


def main():
    out = pathlib.Path(sys.argv[1])

    def write(target, name, content):
        (out / target).mkdir(parents=True, exist_ok=True)
        if content:
            (out / target / name).write_bytes(content)

    for kind in ("fwd", "state", "sched", "expire"):
        for name, steps in cases(kind):
            content = process_input(steps)
            if len(content) < 16000:
                write("process", f"{kind}-{name}", content)
    for name, steps in cases("genl"):
        messages = [bytes.fromhex(message["msg"]) for step in steps for message in step.get("nl", [])
                    if message["dir"] == "to-kernel"]
        # In the recordings the family has another number than here.
        messages = [struct.pack("<IH", len(m), 0x20 if m[4] == 0x1c else m[4]) + m[6:]
                    for m in messages]
        for i in range(0, len(messages), 20):
            write("message", f"{name}-{i}",
                  b"".join(struct.pack("<H", len(m)) + m for m in messages[i:i + 20]))
    # Nothing of the SLUICE family is recorded: each command as a request and as a dump.
    for flags in (0x005, 0x301):
        write("message", f"sluice-{flags}",
              b"".join(struct.pack("<HIHHIIBBH", 20, 20, 0x21, flags, 1, 0, number, 1, 0)
                       for number in range(24)))
    for name, steps in cases("cli"):
        commands = [step for step in steps if step["op"] == "cmd"]
        lines = [" ".join(step["argv"][1:]) for step in commands]
        for i in range(0, len(lines), 20):
            write("command_line", f"{name}-{i}", "\n".join(lines[i:i + 20]).encode())
        rules = "\n".join(shlex.join(step["argv"][1:]) for step in commands
                          if step["argv"][1:2] in (["-A"], ["-a"]))
        write("rules", name, rules.encode())


if __name__ == "__main__":
    main()
