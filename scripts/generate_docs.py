#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the pages that come from the source: docs/metrics.md from the list of drop reasons.

    scripts/generate_docs.py            write
    scripts/generate_docs.py --check    fail if a page is not what the source says
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
REASONS = ROOT / "src/engine/drop_reason.def"
PAGE = ROOT / "docs/metrics.md"

HEAD = """\
# Counters

`sluice status` shows them. Made by `scripts/generate_docs.py` from `src/engine/drop_reason.def`; do not edit.

## Packets dropped, by reason

No packet is lost without one of these.

| reason | meaning |
| --- | --- |
"""


def page():
    entry = re.compile(r'LB_DROP\(\s*\w+,\s*"(\w+)",((?:\s*"(?:[^"\\]|\\.)*")+)\s*\)')
    rows = []
    for label, strings in entry.findall(REASONS.read_text()):
        meaning = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', strings))
        rows.append(f"| `{label}` | {meaning} |\n")
    if not rows:
        sys.exit(f"{REASONS}: no LB_DROP entry found")
    return HEAD + "".join(rows)


def main():
    text = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit(f"{PAGE.relative_to(ROOT)} is not what the source says: run scripts/generate_docs.py")
        return
    PAGE.write_text(text)


main()
