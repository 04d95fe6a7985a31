"""The benchmarks work, and the page and the help name all of them. No test measures time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from bench import __main__ as command
from bench.figures import Figure, Samples, Size, Skipped, at_least, at_most
from bench.report import Report

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
BENCHMARKS = [(name, each) for name, benchmarks in command.ALL.items() for each in benchmarks]


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "benchmark"), BENCHMARKS, ids=[f"{name}-{each.__name__}" for name, each in BENCHMARKS]
)
def test_a_benchmark_runs_and_has_positive_figures(name: str, benchmark: object, tmp_path: Path) -> None:
    report = Report(Size.TINY)
    # A benchmark may set what its own processes read.
    with mock.patch.dict(os.environ):
        figures = list(benchmark(Size.TINY))
    for found in figures:
        report.add(name, found)
    report.write(tmp_path / "out.json")
    measured = [found for found in figures if isinstance(found, Figure)]
    assert figures and all(value >= 0 for figure in measured for value in figure.values)


def test_the_page_lists_the_benchmarks_in_their_order() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert listed == list(command.ALL)


def test_the_help_names_every_benchmark_with_what_it_measures() -> None:
    shown = command.parser().format_help()
    for name, benchmarks in command.ALL.items():
        for each in benchmarks:
            assert command.summary(each).endswith("."), "the first line of a docstring is a whole sentence"
            assert re.search(rf"^  {name} +{re.escape(command.summary(each))}$", shown, re.MULTILINE)


def test_options_of_the_page_exist() -> None:
    shown = command.parser().format_help()
    assert set(re.findall(r"--\w+", PAGE)) <= set(re.findall(r"--\w+", shown))


def test_an_unknown_benchmark_is_refused_with_the_names_of_those_that_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        command.parser().parse_args(["p10"])
    assert "there is no benchmark 'p10'; there are p1, p2" in capsys.readouterr().err


def measured() -> Iterator[Figure | Skipped]:
    anchor = Samples("the raw thing", [2.0, 2.0, 2.0])
    yield Figure("slow", "ms", [9.0, 10.0, 11.0], anchor, [at_most(10), at_most(4, times_anchor=True)])
    yield Figure("fast", "/s", [300.0], goals=[at_least(150), at_most(299, "p99")])
    yield Skipped("the peer", "it is not installed", "pip install it")


def test_a_report_prints_medians_ratios_and_goals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(Size.QUICK)
    for found in measured():
        report.add("p0", found)
    first, beside, second, skipped = capsys.readouterr().out.splitlines()[1:]
    assert " 10 ms " in first and "goal <= 10: met, goal <= 4 times the anchor: MISSED" in first
    assert "beside the raw thing" in beside and "ratio 5.00 (4.60 to 5.40)" in beside
    assert "goal >= 150: met, goal p99 <= 299: MISSED" in second
    assert skipped == "  SKIPPED the peer: it is not installed. To measure it: pip install it"


def test_a_report_is_written_as_json_with_every_sample(tmp_path: Path) -> None:
    report = Report(Size.QUICK)
    for found in measured():
        report.add("p0", found)
    report.write(tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    slow, fast, skipped = written["figures"]
    assert written["size"] == "quick" and written["machine"]["cpus"] >= 1
    assert (slow["benchmark"], slow["samples"], slow["ratio"]["median"]) == ("p0", [9, 10, 11], 5)
    assert slow["anchor"]["samples"] == [2, 2, 2] and slow["goals"][1] == {
        "goal": "<= 4 times the anchor",
        "met": False,
    }
    assert "anchor" not in fast and skipped["remedy"] == "pip install it"
