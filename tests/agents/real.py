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
from typing import Any

import pytest

from tests import matrix
from tests.model_servers import ModelServer, directive
from tests.processes import each_process
from tests.workers.attempts import Attempt, Engine
from tests.workers.engine import eventually, needs_bubblewrap
from workers.agents.registry import AGENTS, find_missing
from workers.agents.stream import StreamAgent
from workers.job import Job

FILES = (("calc.py", "def add(a, b):\n    return a - b\n"),)
EDIT = (directive("read", "calc.py"), directive("edit", "calc.py", "    return a - b", "    return a + b"))


def needs(agent: str) -> list[pytest.MarkDecorator]:
    """Run with `bin/test --agents` only, and skip where the program of `agent` is not installed."""
    reason = f"NOT TESTED: {agent} is not installed; install it with bin/install-agents {agent}"
    return [pytest.mark.real_agents, pytest.mark.skipif(find_missing(agent) is not None, reason=reason)]


@dataclass(frozen=True)
class Row:
    """What differs between agents."""

    model: str | None = None
    """What a session asks for, if the agent has no model of its own that the scripted one can play."""
    final_calls: int = 0
    """How many calls it makes only to say that it is done."""
    longest: int = 1_000_000
    """Characters of a prompt that it takes, with a model that it does not know. An argument could not have so many."""


ROWS = {
    "codex": Row(),
    "claude": Row(),
    "copilot": Row("scripted", longest=200_000),
    "gemini": Row("gemini-2.5-flash"),
    "mini-swe-agent": Row("scripted", final_calls=1),
    "opencode": Row("scripted"),
    "qwen": Row("scripted", longest=200_000),
}
# What the program of an agent cannot do, and why.
CANNOT = {
    ("mini-swe-agent", "resume"): "it has no sessions, and gets them in words",
}
# These pass all tests in CI. The others pass a few there, and all with --full.
ALWAYS = ("codex", "claude")
REAL_AGENTS = [pytest.param(name, marks=needs(name)) for name in ALWAYS]
EVERY_AGENT = [pytest.param((name, "bubblewrap"), marks=[*needs(name), needs_bubblewrap], id=name) for name in ROWS]
SANDBOXED = [
    each if each.id in ALWAYS else pytest.param(*each.values, marks=[*each.marks, pytest.mark.full], id=each.id)
    for each in EVERY_AGENT
]


def which_can(what: str) -> list[Any]:
    """Those parameters of `SANDBOXED` whose program can do something. The others are skipped, with the reason in `CANNOT`."""
    return [
        pytest.param(
            *each.values, marks=[*each.marks, pytest.mark.skip(reason=f"{each.id} cannot {what}: {reason}")], id=each.id
        )
        if (reason := CANNOT.get((str(each.id), what)))
        else each
        for each in SANDBOXED
    ]


WITHOUT_SANDBOX = [pytest.param((name, "none"), marks=needs(name), id=f"{name}-none") for name in ALWAYS]


@dataclass
class Real:
    """One agent in one sandbox, whose processes are known by a variable of theirs."""

    engine: Engine
    agent: str
    model: ModelServer
    mark: str = field(default_factory=lambda: f"mark-{random.randrange(10**12):012}")

    @property
    def program(self) -> str:
        """The name of the file that runs it, such as `node`."""
        agent = AGENTS[self.agent]
        assert issubclass(agent, StreamAgent)
        installed = agent.find()
        assert installed
        return Path(installed.command[0]).resolve().name

    def job(self, *script: str, variables: Mapping[str, str] | None = None, **more: object) -> Job:
        return self.engine.job(
            "\n".join(("Mend the calculator.", *script)),
            agent=self.agent,
            environment={**self.model.environment(), "TEST_MARK": self.mark, **(variables or {})},
            **{"model": ROWS[self.agent].model, **more},
        )

    def run(self, *script: str, **more: object) -> Attempt:
        attempt = self.engine.finish(self.job(*script, **more))
        # On a slow machine a program may report what it otherwise does not, such as another try.
        if matrix.FULL:
            assert [step for step in attempt.steps if "unknown event" in step] == [], "its adapter knows all events"
        return attempt

    def waits(self) -> bool:
        """Whether the agent waits for what the model says next."""
        return any(request.waits for request in self.model.requests)

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
