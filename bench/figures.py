"""A figure: samples of one quantity, the same of the raw thing measured in the same run, and the goals that it has.

A benchmark is a function `measure(size)` that yields a `Figure` as soon as it is measured, or a `Skipped`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Size(Enum):
    """How much a run measures."""

    TINY = "only whether the benchmark works"
    QUICK = "all in under 10 minutes"
    FULL = "all in under 30 minutes"

    def pick(self, tiny: T, quick: T, full: T) -> T:
        return {Size.TINY: tiny, Size.QUICK: quick, Size.FULL: full}[self]


@dataclass(frozen=True)
class Goal:
    """A bound on one statistic of a figure, such as `median` or `p99`: in its unit, or as a multiple of its anchor's."""

    bound: float
    of: str = "median"
    times_anchor: bool = False
    at_least: bool = False

    def __str__(self) -> str:
        of = "" if self.of == "median" else f"{self.of} "
        unit = " times the anchor" if self.times_anchor else ""
        return f"{of}{'>=' if self.at_least else '<='} {self.bound:g}{unit}"


def at_most(bound: float, of: str = "median", *, times_anchor: bool = False) -> Goal:
    return Goal(bound, of, times_anchor)


def at_least(bound: float, of: str = "median", *, times_anchor: bool = False) -> Goal:
    return Goal(bound, of, times_anchor, at_least=True)


@dataclass(frozen=True)
class Samples:
    """One quantity, measured a number of times."""

    name: str
    values: Sequence[float]

    def statistic(self, name: str) -> float:
        """`median`, or a percentile such as `p99`, interpolated."""
        if len(self.values) == 1:
            return self.values[0]
        percent = 50 if name == "median" else int(name.removeprefix("p"))
        return statistics.quantiles(self.values, n=100, method="inclusive")[percent - 1]

    def as_json(self) -> dict[str, Any]:
        shown = {each: self.statistic(each) for each in ("median", "p10", "p90", "p95", "p99")}
        return {"name": self.name, "n": len(self.values), **shown, "samples": list(self.values)}


@dataclass(frozen=True)
class Figure:
    name: str
    unit: str
    values: Sequence[float]
    anchor: Samples | None = None
    """What the figure is compared with: the raw thing, or the same in another state. In the same unit."""
    goals: Sequence[Goal] = ()

    @property
    def samples(self) -> Samples:
        return Samples(self.name, self.values)

    def ratio(self, of: str = "median") -> float | None:
        """This statistic as a multiple of the anchor's."""
        return self.samples.statistic(of) / self.anchor.statistic(of) if self.anchor else None

    def is_met(self, goal: Goal) -> bool:
        """Whether the goal is reached. One that is a multiple of an anchor needs an anchor."""
        value = self.ratio(goal.of) if goal.times_anchor else self.samples.statistic(goal.of)
        if value is None:
            raise ValueError(f"{self.name}: a goal of a figure without an anchor cannot be a multiple of it")
        return value >= goal.bound if goal.at_least else value <= goal.bound

    def as_json(self) -> dict[str, Any]:
        compared = {}
        if self.anchor:
            base = self.anchor.statistic("median")
            spread = {each: self.samples.statistic(each) / base for each in ("p10", "p90")}
            compared = {"anchor": self.anchor.as_json(), "ratio": {"median": self.ratio(), **spread}}
        goals = [{"goal": str(goal), "met": self.is_met(goal)} for goal in self.goals]
        return {"unit": self.unit, **self.samples.as_json(), **compared, "goals": goals}


@dataclass(frozen=True)
class Skipped:
    """What could not be measured here."""

    name: str
    why: str
    remedy: str
    """The command that makes it possible."""


class Benchmark(Protocol):
    def __call__(self, size: Size, /) -> Iterator[Figure | Skipped]: ...
