"""What tests of the real programs share: which of them, and how they are run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.model_servers import ModelServer, directive
from tests.processes import each_process
from tests.workers.attempts import Attempt, Engine
from tests.workers.engine import eventually, needs_bubblewrap
from workers.agents.registry import AGENTS, find_missing
from workers.job import Job

FILES = (("calc.py", "def add(a, b):\n    return a - b\n"),)
EDIT = (directive("read", "calc.py"), directive("edit", "calc.py", "    return a - b", "    return a + b"))


def needs(agent: str) -> list[pytest.MarkDecorator]:
    """Run with `bin/test --agents` only, and skip where the program of `agent` is not installed."""
    reason = f"NOT TESTED: {agent} is not installed; install it with bin/install-agents {agent}"
    return [pytest.mark.real_agents, pytest.mark.skipif(find_missing(agent) is not None, reason=reason)]


REAL_AGENTS = [pytest.param(name, marks=needs(name)) for name in ("codex", "claude")]
SANDBOXED = [
    pytest.param((name, "bubblewrap"), marks=[*needs(name), needs_bubblewrap], id=name) for name in ("codex", "claude")
]
IN_BOTH_SANDBOXES = [
    *[pytest.param(*each.values, marks=each.marks, id=f"{each.id}-bubblewrap") for each in SANDBOXED],
    *[pytest.param((name, "none"), marks=needs(name), id=f"{name}-none") for name in ("codex", "claude")],
]


@dataclass
class Real:
    """One agent in one sandbox, whose processes are known by a variable of theirs."""

    engine: Engine
    agent: str
    model: ModelServer
    mark: str = field(default_factory=lambda: f"mark-{random.randrange(10**12):012}")

    @property
    def program(self) -> str:
        return str(AGENTS[self.agent].program)

    def job(self, *script: str, variables: Mapping[str, str] | None = None, **more: object) -> Job:
        return self.engine.job(
            "\n".join(("Mend the calculator.", *script)),
            agent=self.agent,
            environment={**self.model.environment(), "TEST_MARK": self.mark, **(variables or {})},
            **more,
        )

    def run(self, *script: str, **more: object) -> Attempt:
        return self.engine.finish(self.job(*script, **more))

    def waits(self) -> bool:
        """Whether the first tool call is done and the agent waits for what the model says next."""
        return len(self.model.requests) > 1

    def once_it_waits(self, action: Callable[[], object]) -> None:
        """Do something from outside, in a thread."""

        def wait() -> None:
            eventually(self.waits, "the agent never came to wait")
            action()

        threading.Thread(target=wait, daemon=True).start()

    def kill(self) -> None:
        for process in self.programs():
            os.kill(process, signal.SIGKILL)

    def processes(self) -> list[int]:
        """What runs for this test, seen from outside of the sandbox."""
        return [process for process, environ in each_process("environ") if self.mark.encode() in environ]

    def programs(self) -> list[int]:
        """Those of `processes` that are the agent itself."""
        found = []
        for process in self.processes():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{process}/exe").readlink().name == self.program:
                    found.append(process)
        return found
