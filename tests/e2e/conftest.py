# SPDX-License-Identifier: Apache-2.0
"""Fixtures: `lab`, a fresh network for each test, removed after it, dumped if it failed; and what
several files put into it."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from lab import Lab  # noqa: E402  (found by the line above)


def pytest_configure():
    # Ended from outside (timeout(1), a CI job that is cancelled): clean up as with ^C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root: namespaces and XDP"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    lab = getattr(item, "lab", None)
    if report.when == "call" and report.failed and lab is not None:
        report.sections.append(("state of the lab", lab.dump()))


@pytest.fixture
def lab(request, tmp_path):
    made = Lab(request.node.name.removeprefix("test_"), tmp_path)
    request.node.lab = made
    yield made
    left = made.close()
    assert not left, f"left behind: {', '.join(left)}"


@pytest.fixture
def director(lab):
    """A node with one interface, and nothing behind it."""
    node = lab.node("director")
    lab.connect(node, "eth0", lab.bridge("ext"))
    node.address("eth0", "198.51.100.1/24", "198.51.100.10/32")
    return node
