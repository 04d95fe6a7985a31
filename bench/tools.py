"""What the servers of tools add to the run of a real agent, beside runs of the same agent without them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.figures import Figure, Samples, Size, Skipped
from tests.agents import mcp_server
from tests.model_servers import ModelServer, model_server
from tests.workers.attempts import Engine, engine_in
from workers.agents.registry import find_missing
from workers.events import Event, Progress
from workers.job import McpServer

AGENTS = ("codex", "claude")
_PROGRAM = Path(mcp_server.__file__).read_text()
_NONE: Mapping[str, object] = {"may_ask": False}
_WAYS: Mapping[str, Mapping[str, object]] = {
    "with the `ask` server": {"may_ask": True},
    "with the `ask` server and a program of the site": {
        "may_ask": True,
        "mcp_servers": (McpServer("local", command=("python3", "-c", _PROGRAM)),),
    },
}


def measure(size: Size) -> Iterator[Figure | Skipped]:
    """A run of an agent against a scripted model, with its servers of tools and without, in turns; needs bin/install-agents."""
    for agent in AGENTS:
        if missing := find_missing(agent):
            yield Skipped(f"a run of {agent}", missing, f"bin/install-agents {agent}")
            continue
        with (
            tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
            model_server() as model,
            engine_in(Path(folder), "bubblewrap") as engine,
        ):
            yield from _figures(engine, agent, model, size.pick(1, 5, 20))


def _figures(engine: Engine, agent: str, model: ModelServer, rounds: int) -> Iterator[Figure]:
    _run(engine, agent, model, _NONE)
    for name, way in _WAYS.items():
        ours, bare = [], []
        for _ in range(rounds):
            ours.append(_run(engine, agent, model, way))
            bare.append(_run(engine, agent, model, _NONE))
        yield Figure(f"a run of {agent} {name}", "ms", ours, Samples("without", bare))
        yield Figure(f"{agent} {name}: added", "ms", [max(statistics.median(ours) - statistics.median(bare), 0.001)])


def _run(engine: Engine, agent: str, model: ModelServer, way: Mapping[str, object]) -> float:
    """Milliseconds from the start of an agent to its end, for a prompt that is answered with one sentence."""
    times: dict[str, float] = {}

    def on_event(event: Event) -> None:
        if isinstance(event, Progress):
            times[event.stage] = time.perf_counter()

    job = engine.job("Say that all is well.", agent=agent, environment=model.environment(), **way)
    attempt = engine.finish(job, on_event)
    assert attempt.outcome.failure is None, attempt.text
    return (times["saving"] - times["agent"]) * 1000
