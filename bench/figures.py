"""How latencies are told: medians and 99th percentiles, and their ratios to those of the first row."""

from __future__ import annotations

import statistics
from collections.abc import Mapping


def show(what: str, seconds: Mapping[str, list[float]]) -> None:
    print(f"\n{what}")
    first = _percentiles(next(iter(seconds.values())))
    for name, found in seconds.items():
        p50, p99 = _percentiles(found)
        ratios = f"{p50 / first[0]:6.2f} x {p99 / first[1]:6.2f} x"
        print(f"  {name:34} n={len(found):<5} p50{p50 * 1000:9.2f} ms  p99{p99 * 1000:9.2f} ms {ratios}")


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
    return hundredths[49], hundredths[98]
