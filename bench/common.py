# SPDX-License-Identifier: Apache-2.0
"""How every benchmark command starts and ends."""

import contextlib
import os
import signal
import sys
import tempfile

import topology


def prepare(*targets):
    """Checks that this is root, builds what is needed, makes SIGTERM clean up as ^C does."""
    if os.geteuid() != 0:
        sys.exit("needs root: network namespaces and XDP")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    topology.build(*targets)
    print(f"\n{topology.machine()}\n", flush=True)


@contextlib.contextmanager
def lab(name):
    """A lab that is removed whatever happens; what it leaves behind ends the program."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench") as directory:
        made = topology.BenchLab(f"bench-{name}", directory)
        try:
            yield made
        except topology.Failure:
            for log in made.logs:
                print(f"--- {log.name}", log.read_text(errors="replace")[-4000:], sep="\n",
                      file=sys.stderr)
            raise
        finally:
            left = made.close()
    if left:
        sys.exit(f"left behind: {', '.join(left)}")
