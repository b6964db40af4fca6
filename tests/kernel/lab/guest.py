# SPDX-License-Identifier: Apache-2.0
"""The guest's side of a session: does the jobs that the host puts into a folder.

`guest.py FOLDER WORKERS`: a job is a file NAME.job, one JSON object: {"seed": N} or
{"play": PATH of a recording}. Its recording becomes NAME.jsonl, or NAME.error tells why not. A
file named `end` ends the session.
"""

import json
import os
import pathlib
import sys
import time

import director
from scenario import Scenario


def action_of(job):
    if "seed" in job:
        return Scenario(job["seed"]).run
    lines = [json.loads(line) for line in pathlib.Path(job["play"]).read_text("utf-8").splitlines()]
    return lambda: director.play(lines, director.Director(director.meta_of(lines)))


def main():
    folder, workers = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    director.write("net/ipv4/icmp_msgs_per_sec", 100000)
    director.write("net/ipv4/icmp_msgs_burst", 100000)
    done, children = set(), {}
    while True:
        names = os.listdir(folder)
        if "end" in names:
            return
        for name in sorted(names):
            if not name.endswith(".job") or name in done:
                continue
            done.add(name)
            if (folder / "end").exists():
                return
            while len(children) >= workers:
                child, _ = os.wait()
                children.pop(child, None)
            path = str(folder / name.removesuffix(".job"))
            job = json.loads(pathlib.Path(folder / name).read_text("utf-8"))
            children[director.in_own_process(action_of(job), path + ".jsonl")] = path
        while children:
            child, _ = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                break
            children.pop(child, None)
        time.sleep(0.05)


main()
