"""Print latencies as medians and 99th percentiles, with their ratios to those of the first row."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from app.config import Settings

_TIMES = ("LEASE_SECONDS", "HEARTBEAT_SECONDS", "SWEEP_SECONDS", "REDISPATCH_SECONDS", "SOFT_SHUTDOWN_SECONDS")


def defaults() -> dict[str, str]:
    """The default values of the settings that tests shorten."""
    return {name: f"{getattr(Settings, name.lower()):g}" for name in _TIMES}


def show(what: str, seconds: Mapping[str, list[float]]) -> None:
    print(f"\n{what}")
    first = percentiles(next(iter(seconds.values())))
    for name, found in seconds.items():
        p50, p99 = percentiles(found)
        ratios = f"{p50 / first[0]:6.2f} x {p99 / first[1]:6.2f} x"
        print(f"  {name:34} n={len(found):<5} p50{p50 * 1000:9.2f} ms  p99{p99 * 1000:9.2f} ms {ratios}", flush=True)


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """The 50th and the 99th percentile."""
    hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
    return hundredths[49], hundredths[98]
