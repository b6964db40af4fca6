# SPDX-License-Identifier: Apache-2.0
"""Cases written by hand (../cases), read for other players than ipvs-replay, and judged."""

import json
import subprocess
import sys

from session import REPLAY


def masked(frame, stretches):
    data = bytearray.fromhex(frame)
    for at, length in stretches:
        data[at:at + length] = bytes(length)
    return bytes(data)


def compare_rx(expected, got):
    """What differs between the frames that a text case tells and those recorded, or None."""
    if expected["to_host"]:
        return None if got.get("to_host") else f"not delivered to the host: {got['tx']}"
    if got.get("to_host"):
        return "delivered to the host"
    if len(expected["tx"]) != len(got["tx"]):
        return f"{len(expected['tx'])} frames expected, {len(got['tx'])} left: {got['tx']}"
    for want, have in zip(expected["tx"], got["tx"]):
        stretches = want["any"]
        if want["port"] != have["port"] or masked(want["frame"], stretches) != masked(
                have["frame"], stretches):
            return f"expected {want['port']} {want['frame']}; left {have['port']} {have['frame']}"
    return None


def ends_of(step):
    return sorted((c["pro"], c["state"], c["c"], c["v"], c["d"]) for c in step["conns"])


def compare_step(expected, got):
    if expected["op"] == "rx":
        return compare_rx(expected, got)
    if expected["op"] == "conns" and ends_of(expected) != ends_of(got):
        return f"expected {ends_of(expected)}; there are {ends_of(got)}"
    if expected["op"] == "cmd":
        for name in ("rc", "out", "err"):
            if str(expected[name]).rstrip() != str(got[name]).rstrip():
                return f"{name}: expected {expected[name]!r}; got {got[name]!r}"
    if expected.get("dropped") != got.get("dropped"):
        return f"dropped: expected {expected['dropped']}; got {got['dropped']}"
    return None


def with_pauses(lines):
    """Text cases tell when a packet comes; what plays them waits for that."""
    result, now = [], 0
    for line in lines:
        pause = line.get("t", 0) - now
        if pause >= 0.2:
            result.append({"op": "sleep", "s": pause, "t": now})
            now = line["t"]
        result.append(line)
    return result


def differences_of(path, lines, recording):
    """What a text case tells and what became of its steps when they were played: where they differ."""
    played = [step for step in recording[1:] if step["op"] != "sleep"]
    expected = [step for step in lines[1:] if step["op"] != "sleep"]
    if len(played) != len(expected):
        return [f"{path}: {len(expected)} steps, {len(played)} were played"]
    return [f"{path}:{want['line']}: {difference}" for want, have in zip(expected, played)
            if (difference := compare_step(want, have))]


def load(path):
    if path.suffix == ".case":
        done = subprocess.run([REPLAY, "--print-recorded", path], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            sys.exit(done.stderr)
        return with_pauses([json.loads(line) for line in done.stdout.splitlines()])
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
