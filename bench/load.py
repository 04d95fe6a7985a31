"""P9: many sessions at once; and the public rule by which sandbox services are compared."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from bench.deployments import SAY_TIME, Clock, cpu_seconds, deployment, said_in, small_repository
from bench.figures import Figure, Samples, Size, at_most
from bench.sessions import Raw
from tests.deployment import Deployment

SLOTS = "8"
PROMPT = f"{SAY_TIME}; echo changed >> f0.txt"
GOALS_SECONDS = {8: 1.2, 64: 9.0}
SETTLE_SECONDS = 1.0
# The rule of ComputeSDK Benchmarks: from the call until the end of the first command, 10 s or more score nothing.
WORST_MS = 10_000.0
WEIGHTS = {"median": 0.60, "p95": 0.25, "p99": 0.15}
STAGGER_SECONDS = 0.2


def at_once(size: Size) -> Iterator[Figure]:
    """8 and 64 sessions at once, on 8 slots: how long all take, and the CPU time of each."""
    with deployment() as deployed:
        worker = psutil.Process(deployed.start_worker("sessions-1", SESSION_WORKERS=SLOTS).pid)
        repository, clock = small_repository(deployed), Clock(deployed)
        site, raw = deployed.make_site(repository), Raw(repository, max(GOALS_SECONDS))
        for _ in range(2):
            clock.run(site, PROMPT)
        for count, rounds in size.pick({2: 1}, {8: 2, 64: 1}, {8: 15, 64: 3}).items():
            sessions, by_hand = [], []
            for _ in range(rounds):
                by_hand.append(_measured(count, lambda: raw.measure(PROMPT), lambda: sum(os.times()[:4])))
                sessions.append(_sessions(deployed, clock, site, worker, count))
            beside = f"{count} times git worktree add, exec, add and diff"
            (seconds, cpu), (raw_seconds, raw_cpu) = zip(*sessions, strict=True), zip(*by_hand, strict=True)
            goals = [at_most(GOALS_SECONDS[count])] if count in GOALS_SECONDS else []
            name = f"{count} at once: first POST until the last DONE"
            yield Figure(name, "s", seconds, Samples(beside, raw_seconds), goals)
            name = f"{count} at once: CPU of the worker for each"
            yield Figure(name, "s", cpu, Samples(beside, raw_cpu), [at_most(0.25)])


def _sessions(
    deployed: Deployment, clock: Clock, site: dict[str, Any], worker: psutil.Process, count: int
) -> tuple[float, float]:
    """Seconds until that many sessions have ended, and CPU seconds of each."""
    before, begun = cpu_seconds(worker), time.time()
    with ThreadPoolExecutor(count) as pool:
        runners = list(pool.map(lambda _: deployed.run(site, PROMPT), range(count)))
    ended = max(clock.until_final(each["latest_session_id"]) for each in runners)
    # Until the pool has replaced its processes, which is part of the price.
    time.sleep(SETTLE_SECONDS)
    used = cpu_seconds(worker) - before
    for each in runners:
        said_in(deployed.session(each, each["latest_session_id"]))
    return ended - begun, used / count


def _measured(count: int, call: Callable[[], object], cpu: Callable[[], float]) -> tuple[float, float]:
    """Seconds that so many calls take at once, and CPU seconds of each."""
    before, begun = cpu(), time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: call(), range(count)))
    return time.monotonic() - begun, (cpu() - before) / count


def rule(size: Size) -> Iterator[Figure]:
    """The public rule of sandbox benchmarks: score of 100 sessions in sequence, staggered by 200 ms, and in a burst."""
    count = size.pick(2, 10, 100)
    with deployment() as deployed:
        deployed.start_worker("sessions-1", SESSION_WORKERS=SLOTS)
        clock = Clock(deployed)
        site = deployed.make_site(small_repository(deployed))
        for _ in range(2):
            clock.run(site, SAY_TIME)
        sequential = [_interactive(deployed, clock, site) for _ in range(count)]
        yield from _score(f"{count} in sequence", sequential)
        yield from _score(f"{count} staggered by 200 ms", _spread(deployed, clock, site, count, STAGGER_SECONDS))
        yield from _score(f"{count} in a burst", _spread(deployed, clock, site, count, 0))


def _spread(
    deployed: Deployment, clock: Clock, site: dict[str, Any], count: int, stagger_seconds: float
) -> list[float | None]:
    def one(number: int) -> float | None:
        time.sleep(number * stagger_seconds)
        return _interactive(deployed, clock, site)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def _interactive(deployed: Deployment, clock: Clock, site: dict[str, Any]) -> float | None:
    """Milliseconds from the call until the first command, or None if the session fails."""
    try:
        return clock.run(site, SAY_TIME).first_command
    except AssertionError:
        return None


def _score(name: str, found: list[float | None]) -> Iterator[Figure]:
    reached = [each for each in found if each is not None]
    samples = Samples(name, reached or [WORST_MS])
    timing = sum(weight * max(0.0, 100 * (1 - samples.statistic(of) / WORST_MS)) for of, weight in WEIGHTS.items())
    yield Figure(f"{name}: POST until the first command", "ms", samples.values)
    yield Figure(f"{name}: score", "/100", [timing * len(reached) / len(found)])
