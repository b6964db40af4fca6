#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of the source tree that a compiler does not.

Each rule has a reason, printed with every breach:
- modules include only what lies below them;
- net, model and engine know no clock, socket, file or thread;
- only programs print;
- every file names its licence;
- long files are named, for a reviewer to ask why (no failure).

Prints one line a breach and exits 1 if there is one.
"""

import pathlib
import re
import subprocess
import sys

# Module -> modules it may include. The order is the architecture; see ARCHITECTURE.md.
ALLOWED = {
    "net": set(),
    "model": {"net"},
    "engine": {"net", "model", "bpf"},
    "wire": {"net", "model"},
    "control": {"net", "model", "engine", "wire"},
    "datapath": {"net", "model", "engine", "bpf"},
    "host": {"net"},
    "daemon": {"net", "model", "engine", "wire", "control", "datapath", "host", "bpf"},
    "realserver": {"net", "host", "bpf"},
    "cli": {"net", "model", "wire", "realserver"},
    "doctor": {"net", "model", "wire", "host", "realserver", "cli"},
    "serve": {"net", "model", "wire"},
    "shim": {"net", "model", "wire"},
    "replay": {"net", "model", "engine", "wire", "control", "cli"},
    "bpf": set(),
}

PURE = ("net", "model", "engine")
IMPURE_HEADERS = re.compile(
    r"^(thread|mutex|shared_mutex|condition_variable|future|iostream|fstream|filesystem|cstdio|"
    r"stdio\.h|ctime|time\.h|unistd\.h|fcntl\.h|pthread\.h|poll\.h|sys/.*|netdb\.h|"
    r"net/if\.h|netinet/.*|random)$"
)
PRINTING_MODULES = ("cli", "replay", "serve", "realserver", "doctor")
PRINTING = re.compile(r"std::(cout|cerr|clog)\b|\b(printf|puts|fputs|putchar)\s*\(")
LONG_FILE_LINES = 600

SOURCE_SUFFIXES = {".cpp", ".hpp", ".c", ".h", ".def"}
SPDX_SUFFIXES = SOURCE_SUFFIXES | {".py", ".cmake", ".sh", ".toml", ".service"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def tracked_files(root):
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, check=False)
    if listed.returncode != 0:  # an unpacked archive has no git
        return [p.relative_to(root) for p in root.rglob("*") if p.is_file()
                and not p.relative_to(root).parts[0].startswith((".git", "build"))]
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [pathlib.Path(name) for name in names if (root / name).is_file()]


def without_comments_and_strings(line):
    line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
    return line.split("//", 1)[0]


def check_source(path, text, modules, breach):
    module = path.parts[1]
    is_test = path.stem.endswith("_test") or "testing" in path.parts
    is_main = path.stem.endswith("_main")
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        include = INCLUDE.match(line)
        if include:
            quoted, target = include.group(1) == '"', include.group(2)
            other = target.split("/", 1)[0]
            if quoted and other in modules and "/" in target and other != module:
                allowed = ALLOWED.get(module)
                if allowed is None:
                    breach(where, f"module '{module}' is not in the table of check_includes.py: "
                                  "say there what it may include")
                elif other not in allowed and not is_test and not is_main:
                    breach(where, f"{module} includes {target}; it may include only: "
                                  f"{', '.join(sorted(allowed)) or 'nothing'}. A lower layer that "
                                  "knows a higher one cannot be tested alone")
                elif other == "bpf" and not target.endswith(".h"):
                    breach(where, f"{module} includes {target}; of bpf only the C headers (.h) "
                                  "are shared")
            if not quoted and module in PURE and not is_test and IMPURE_HEADERS.match(target):
                breach(where, f"{module} includes <{target}>; net, model and engine get packets, "
                              "time and configuration as arguments, so that a test can play a day "
                              "in a millisecond")
            continue
        if module != "bpf" and not is_test and module not in PRINTING_MODULES and not is_main:
            if PRINTING.search(without_comments_and_strings(line)):
                breach(where, "prints; only programs and the command line print, the daemon logs")
    lines = text.count("\n")
    if lines > LONG_FILE_LINES:
        print(f"note: {path} has {lines} lines (over {LONG_FILE_LINES}): is it one thing?")


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    breaches = []

    def breach(where, what):
        breaches.append(f"{where}: {what}")

    modules = {p.name for p in (root / "src").iterdir() if p.is_dir()}
    for path in tracked_files(root):
        if path.parts[0] == "LICENSES":
            continue
        has_shebang_only = path.suffix == "" and (root / path).open("rb").read(2) == b"#!"
        wants_licence = path.suffix in SPDX_SUFFIXES or has_shebang_only or \
            path.name == "CMakeLists.txt"
        is_source = path.parts[0] == "src" and path.suffix in SOURCE_SUFFIXES and \
            len(path.parts) > 2
        if not wants_licence and not is_source:
            continue
        text = (root / path).read_text(encoding="utf-8", errors="replace")
        if wants_licence:
            head = "\n".join(text.splitlines()[:3])
            licence = "GPL-2.0-or-later" if path.name.endswith(".bpf.c") else "Apache-2.0"
            if not re.search(rf"SPDX-License-Identifier: .*\b{re.escape(licence)}", head):
                breach(path, f"no line 'SPDX-License-Identifier: {licence}' on top")
        if is_source:
            check_source(path, text, modules, breach)
    for line in breaches:
        print(line)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
