#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manual pages and completions know every option and command of the programs, and no others.

What there is comes from the programs themselves: their help, whose options are those of the option
tables (the unit tests compare ipvsadm's).
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("SLUICE_BIN", ROOT / "build" / "bin"))
MAN = ROOT / "docs" / "man"
COMPLETION = ROOT / "packaging" / "bash-completion"
LONG_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]+)")


def help_of(*words):
    done = subprocess.run([BIN / words[0], *words[1:]], capture_output=True, text=True, check=True)
    return done.stdout


def options_of_page(name):
    """Long options as mdoc writes them: Fl -name."""
    return set(re.findall(r"(?:Fl| ,) -([a-z][a-z0-9-]+)", (MAN / name).read_text()))


def options_of_table():
    """ipvsadm's, from its table: its help leaves some out."""
    source = (ROOT / "src" / "cli" / "option_reader.cpp").read_text()
    return set(re.findall(r'(?:letter|word)\("([a-z0-9-]+)"', source))


def test_every_option_of_ipvsadm():
    options = options_of_table()
    assert len(options) > 50
    assert set(LONG_OPTION.findall(help_of("sluice", "help"))) <= options_of_page("sluice.8")
    assert options_of_page("ipvsadm.8") == options | {"atomic"}  # of the page's hint at sluice
    completed = set(LONG_OPTION.findall((COMPLETION / "ipvsadm").read_text()))
    assert completed == options


def test_every_option_of_sluiced():
    options = set(LONG_OPTION.findall(help_of("sluiced", "--help")))
    assert {"config", "rules"} <= options
    assert options_of_page("sluiced.8") == options


def commands_of(text):
    return set(re.findall(r"^  ([a-z][a-z-]+)\b", text, re.MULTILINE))


def test_every_command_of_sluice():
    page = (MAN / "sluice.8").read_text()
    completion = (COMPLETION / "sluice").read_text()
    assert set(LONG_OPTION.findall(help_of("sluice", "doctor", "--help"))) <= set(
        LONG_OPTION.findall(completion))
    for words in ((), ("mark",), ("service",), ("snat",)):
        text = help_of("sluice", *words, "help")
        commands = commands_of(text)
        assert len(commands) > 1
        for command in commands:
            assert re.search(rf"^\.It Ic {' '.join((*words, command))}\b", page, re.MULTILINE), command
            assert re.search(rf"\b{command}\b", completion), command
        for option in set(LONG_OPTION.findall(text)) - {"set", "to-source"}:  # ipvsadm's, iptables'
            if words != ("mark",):  # the words of iptables
                assert f"--{option}" in completion, option
                assert option in options_of_page("sluice.8"), option


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="needs mandoc")
@pytest.mark.parametrize("page", ["ipvsadm.8", "sluice.8", "sluiced.8"])
def test_pages_have_no_mistakes(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", MAN / page],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_completes():
    script = f"""
        source {COMPLETION}/ipvsadm; source {COMPLETION}/sluice
        COMP_WORDS=(ipvsadm --tun-t); COMP_CWORD=1; _sluice_ipvsadm; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(ipvsadm -s wl); COMP_CWORD=2; _sluice_ipvsadm; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(sluice se); COMP_CWORD=1; _sluice; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(sluice service set --at-end r); COMP_CWORD=4; _sluice; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(sluice snat add web --st); COMP_CWORD=4; _sluice; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(sluice stop --); COMP_CWORD=2; _sluice; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["--tun-type", "wlc", "service", "reschedule reset",
                                        "--static", "--keep-forwarding --remove"]
