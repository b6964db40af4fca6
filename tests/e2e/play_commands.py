#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of a recorded case (FILE) with a library preloaded (LIBRARY), here and one after
another; prints exit status, output and errors of each as JSON, an object a line. Commands whose last
word is one of LEFT_OUT are not run."""

import json
import os
import subprocess
import sys

RUN_LIMIT_SECONDS = 60


def main():
    library, file, *left_out = sys.argv[1:]
    # Debian's ipvsadm, by its bare name: it prints the name that it is called by.
    environment = {**os.environ, "PATH": "/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C",
                   "LD_PRELOAD": library}
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            step = json.loads(line)
            if step["op"] != "cmd":
                continue
            if step["argv"][-1] in left_out:
                print("{}")
                continue
            done = subprocess.run(step["argv"], input=step.get("stdin", ""), capture_output=True,
                                  text=True, env=environment, check=False,
                                  timeout=RUN_LIMIT_SECONDS)
            print(json.dumps({"rc": done.returncode, "out": done.stdout, "err": done.stderr}))


if __name__ == "__main__":
    main()
