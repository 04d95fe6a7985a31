"""Print figures as they are measured, and write all of them as JSON."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from bench.figures import Figure, Samples, Size, Skipped


class Report:
    def __init__(self, size: Size) -> None:
        self._found: list[dict[str, Any]] = []
        self._size, self._load = size, os.getloadavg()
        print(f"{_machine()['cpus']} CPUs, load {self._load[0]:.1f}. Measure on an idle machine; compare ratios.")

    def begin(self, name: str, summary: str) -> None:
        print(f"\n{name}  {summary}", flush=True)

    def add(self, name: str, found: Figure | Skipped) -> None:
        """Print what the benchmark of that name has found, and keep it for the file."""
        if isinstance(found, Skipped):
            print(f"  SKIPPED {found.name}: {found.why}. To measure it: {found.remedy}", flush=True)
            self._found.append({"benchmark": name, "name": found.name, "skipped": found.why, "remedy": found.remedy})
            return
        print(_line(found.samples, found.unit, _judged(found)))
        if found.anchor:
            print(_line(Samples(f"  beside {found.anchor.name}", found.anchor.values), found.unit, _ratio(found)))
        print(end="", flush=True)
        self._found.append({"benchmark": name, **found.as_json()})

    def write(self, path: Path) -> None:
        """Write the report so far as JSON: the machine, and one entry for each figure with its samples."""
        result = {"size": self._size.name.lower(), "machine": _machine(), "load": self._load, "figures": self._found}
        path.write_text(json.dumps(result, indent=1) + "\n")


def _line(samples: Samples, unit: str, last: str) -> str:
    median, *spread = (_number(samples.statistic(each)) for each in ("median", "p10", "p90", "p99"))
    ranges = "p10 {:>7}  p90 {:>7}  p99 {:>7}".format(*spread)
    return f"  {samples.name:<60} n={len(samples.values):<5} {median:>8} {unit:<5} {ranges}  {last}".rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _ratio(figure: Figure) -> str:
    ratios = figure.as_json()["ratio"]
    return f"ratio {ratios['median']:.2f} ({ratios['p10']:.2f} to {ratios['p90']:.2f})"


def _judged(figure: Figure) -> str:
    return ", ".join(f"goal {goal}: {'met' if figure.is_met(goal) else 'MISSED'}" for goal in figure.goals)


def _machine() -> dict[str, Any]:
    return {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
