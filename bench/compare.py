#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the micro benchmarks of two revisions.

    bench/compare.py BASE HEAD [--filter REGEX] [--rounds N] [--seconds S] [--files F...]

Builds both in a temporary directory, optimised, each with the benchmarks of HEAD (so that both do
the same work; a BASE whose interfaces are too old does not build). Then runs them by turns, base
and head, N times, and prints the ratio head/base of each benchmark: the geometric mean of the
pairs, and the interval that holds it with 95 % confidence (Student's t over the logarithms). An
interval that contains 1 says nothing. Below 1 is faster.

"." as HEAD means the working tree.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What the benchmarks are made of, taken from HEAD for both.
BENCHMARKS = ("bench", "src/engine/testing", "src/engine/forward/test_packet.hpp",
              "src/engine/scheduler/fixture.hpp")
# 97.5 % quantiles of Student's t by degrees of freedom.
STUDENT = [0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179,
           2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086]


def run(command, **options):
    options.setdefault("cwd", ROOT)
    done = subprocess.run([str(part) for part in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"compare: {' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def place(source, target):
    """Copies a file or directory over what is there."""
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def check_out(revision, directory):
    if revision == ".":
        directory.mkdir()
        for name in run(["git", "ls-files", "--cached", "--others",
                         "--exclude-standard"]).splitlines():
            if (ROOT / name).is_file():
                place(ROOT / name, directory / name)
    else:
        run(["git", "worktree", "add", "--detach", directory, revision])
    return directory


def build(source, directory, jobs):
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    run(["cmake", "-S", source, "-B", directory, "-G", "Ninja", "-DBUILD_TESTING=OFF",
         "-DSLUICE_BENCH=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", *launcher])
    run(["ninja", f"-j{jobs}", "-C", directory, "sluice_bench"])
    return directory / "bin" / "sluice_bench"


def measure(program, options):
    output = subprocess.run(
        [program, "--benchmark_format=json", f"--benchmark_filter={options.filter}",
         f"--benchmark_min_time={options.seconds}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    return {bench["name"]: bench["real_time" if "manual_time" in bench["name"] else "cpu_time"]
            for bench in json.loads(output)["benchmarks"] if not bench.get("error_occurred")}


def interval(ratios):
    """Geometric mean and its 95 % interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = sum(logs) / len(logs)
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    variance = sum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    quantile = STUDENT[min(len(logs) - 1, len(STUDENT) - 1)]
    half = quantile * math.sqrt(variance / len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def report(pairs):
    print(f"{'benchmark':<56} {'base':>10} {'head':>10} {'ratio':>7}  95 % interval")
    for name, values in pairs.items():
        ratio, low, high = interval([head / base for base, head in values])
        base = sorted(base for base, _ in values)[len(values) // 2]
        head = sorted(head for _, head in values)[len(values) // 2]
        mark = "" if low <= 1 <= high else "  faster" if high < 1 else "  SLOWER"
        print(f"{name:<56} {base:>10.1f} {head:>10.1f} {ratio:>7.3f}  "
              f"{low:.3f} .. {high:.3f}{mark}")


def main():
    parser = argparse.ArgumentParser(description="Compares the micro benchmarks of two revisions.")
    parser.add_argument("base")
    parser.add_argument("head")
    parser.add_argument("--filter", default=".", help="regular expression of benchmarks")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each benchmark in a round")
    parser.add_argument("--files", nargs="*", help="of bench/micro, the only ones to build (for a "
                        "BASE that is too old for the others)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()

    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-compare-"))
    try:
        head = check_out(options.head, directory / "head")
        base = check_out(options.base, directory / "base")
        for name in BENCHMARKS:
            place(head / name, base / name)
        for source in (base, head):
            for file in (source / "bench" / "micro").glob("*.cpp"):
                if options.files and file.name not in options.files:
                    file.unlink()
        if "SLUICE_BENCH" not in (base / "CMakeLists.txt").read_text():
            with (base / "CMakeLists.txt").open("a") as lists:
                lists.write("\nadd_subdirectory(bench)\n")
        programs = [build(source, directory / f"build-{source.name}", options.jobs)
                    for source in (base, head)]
        pairs = {}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            first, second = (measure(program, options) for program in programs)
            for name in first.keys() & second.keys():
                pairs.setdefault(name, []).append((first[name], second[name]))
        report(dict(sorted(pairs.items())))
    finally:
        for source in ("base", "head"):
            subprocess.run(["git", "worktree", "remove", "--force", directory / source], cwd=ROOT,
                           stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
