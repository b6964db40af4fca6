# SPDX-License-Identifier: Apache-2.0
"""The guest's side of `../../e2e/guest.py`: runs commands that the host puts into a folder.

`shell.py FOLDER`: NAME.sh is run by sh; what it prints becomes NAME.out, its exit status
NAME.status, which is there last.
"""

import os
import pathlib
import subprocess
import sys
import time


def main():
    folder = pathlib.Path(sys.argv[1])
    done = set()
    while True:
        for name in sorted(os.listdir(folder)):
            if not name.endswith(".sh") or name in done:
                continue
            done.add(name)
            path = folder / name
            ran = subprocess.run(["sh", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, check=False)
            path.with_suffix(".out").write_bytes(ran.stdout)
            part = path.with_suffix(".part")
            part.write_text(str(ran.returncode), "ascii")
            part.rename(path.with_suffix(".status"))
        time.sleep(0.02)


main()
