"""Measure this product beside the raw thing that it wraps, in the same run, on real processes and its own Postgres."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from bench import (
    console,
    diffs,
    dispatch,
    events,
    files,
    gateway,
    hostile,
    lists,
    load,
    memory,
    peer,
    posts,
    recovery,
    sandbox,
    sessions,
    soak,
    stops,
    tools,
)
from bench.figures import Benchmark, Size
from bench.report import Report

# In the order in which they run. The first line of a function's docstring says what it measures.
GOALS: dict[str, list[Benchmark]] = {
    "p1": [sessions.small],
    "p2": [sessions.large],
    "save": [sessions.save],
    "p3": [posts.measure],
    "p4": [lists.measure],
    "p5": [diffs.measure],
    "p6": [memory.measure],
    "p7": [events.measure],
    "p8": [stops.measure, recovery.measure],
    "p9": [load.at_once],
    "page": [console.measure],
    "rule": [load.rule],
    "peer": [peer.measure],
}
# Only by name, or with --full.
OTHERS: dict[str, list[Benchmark]] = {
    "dispatch": [dispatch.measure],
    "gateway": [gateway.measure],
    "tools": [tools.measure],
    "sandbox": [sandbox.measure],
    "files": [files.measure],
    "hostile": [hostile.measure],
}
# Only by name. With --full it takes an hour.
ALONE: dict[str, list[Benchmark]] = {"soak": [soak.measure]}
ALL = {**GOALS, **OTHERS, **ALONE}


def main() -> int:
    arguments = parser().parse_args()
    size = Size.FULL if arguments.full else Size.QUICK
    report, broken = Report(size), list[str]()
    for name in arguments.names or (GOALS | OTHERS if arguments.full else GOALS):
        for benchmark in ALL[name]:
            report.begin(name, summary(benchmark))
            # The others are measured even if one breaks.
            try:
                for found in benchmark(size):
                    report.add(name, found)
                    # After each, so that a run which is interrupted leaves what it has found.
                    if arguments.json:
                        report.write(arguments.json)
            except Exception:
                traceback.print_exc()
                broken.append(name)
    if broken:
        print(f"bin/bench: stopped by an error: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def parser() -> argparse.ArgumentParser:
    listed = [f"  {name:9} {summary(each)}" for name, benchmarks in ALL.items() for each in benchmarks]
    made = argparse.ArgumentParser(
        prog="bin/bench",
        description=__doc__,
        epilog="\n".join(["benchmarks:", *listed]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "names", nargs="*", type=_known, metavar="NAME", help=f"a benchmark; without one: {' '.join(GOALS)}"
    )
    how_much = made.add_mutually_exclusive_group()
    how_much.add_argument("--quick", action="store_true", help="few samples, under 10 minutes; the default")
    how_much.add_argument("--full", action="store_true", help="many samples and most benchmarks, under 30 minutes")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures with their samples to FILE")
    return made


def summary(benchmark: Benchmark) -> str:
    return (benchmark.__doc__ or "").partition("\n")[0]


def _known(name: str) -> str:
    if name not in ALL:
        raise argparse.ArgumentTypeError(f"there is no benchmark {name!r}; there are {', '.join(ALL)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
