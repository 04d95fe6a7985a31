"""What the adapters of real agents share: a stream of JSON lines, and a verdict that needs a final event."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from workers.agents.base import Agent, prompt_with_attachments
from workers.agents.chatter import Chatter
from workers.agents.installed import find_installed, find_missing_companion
from workers.agents.values import as_object
from workers.errors import EngineError
from workers.job import Event, Job
from workers.processes.lines import Line
from workers.sandbox import Place

# Providers put it in many ways; the programs pass on the status, the words or both.
_REFUSED = re.compile(
    r"\b(401|403)\b|unauthori[sz]ed|authenticat|not logged in|(invalid|incorrect|missing).{0,20}key", re.I
)
_TOO_MUCH = re.compile(r"\b(429|529)\b|rate.?limit|too many requests|overloaded|high demand|quota|usage limit", re.I)


class StreamAgent(Agent):
    """An agent that prints one JSON object a line. What it says on standard error is only shown when it fails."""

    label: ClassVar[str]
    program: ClassVar[str]
    wheel: ClassVar[str | None] = None
    companions: ClassVar[tuple[str, ...]] = ()
    """Programs that have to lie beside it."""
    install: ClassVar[str]
    key: ClassVar[str]

    @classmethod
    def find_missing(cls) -> str | None:
        installed = find_installed(cls.program, cls.wheel)
        lacking = find_missing_companion(installed, cls.companions) if installed else None
        if installed and not lacking:
            return None
        what = f"{lacking} is missing, which {cls.label} needs" if lacking else f"{cls.label} is not installed"
        return (
            f"{what} on the worker. Install it: `bin/install-agents {cls.name}`, or `{cls.install}`. "
            f"In containers: build the image with `--build-arg AGENTS={cls.name}`."
        )

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        installed, missing = find_installed(self.program, self.wheel), self.find_missing()
        if installed is None or missing:
            raise EngineError("agent_not_installed", "agent", missing or "")
        self.called = installed.command
        self.runtime_paths = installed.runtime_paths
        self.complaints = Chatter(job.secrets)
        self.tool_calls = 0
        self.failure: str | None = None
        """What it said about a failure, in its own words."""

    def stdin(self, place: Place, attachments: Sequence[str]) -> bytes:
        return prompt_with_attachments(self.job, place, attachments)

    def parse(self, line: Line) -> Iterable[Event]:
        event = as_object(line) if line.stream == "out" else None
        if event is not None:
            yield from self.read(event)
        elif line.data.strip():
            self.complaints.take(line.text)

    @abstractmethod
    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        """What one JSON object means. Fields may be missing or of any type: the program changes, the adapter not."""

    def verdict(self, status: int) -> EngineError | None:
        """The final event and the exit status both have to say that it went well; neither alone can be trusted."""
        if self.failure is None and self.finished and status == 0:
            return None
        said = self.failure or self.complaints.tail or "It said nothing about why."
        if _REFUSED.search(said):
            message = f"{self.label} was refused by its model provider. Check {self.key}.\n{said}"
            return EngineError("agent_auth", "agent", message)
        if _TOO_MUCH.search(said):
            message = f"The model provider of {self.label} takes no more requests for now.\n{said}"
            return EngineError("agent_rate_limited", "agent", message, retryable=True)
        if self.failure is not None:
            return EngineError("agent_failed", "agent", f"{self.label} failed: {said}")
        if status > 128:
            message = f"{self.label} was killed by signal {status - 128}.\n{said}"
            return EngineError("agent_crashed", "agent", message, retryable=True)
        if status != 0:
            return EngineError("agent_failed", "agent", f"{self.label} ended with exit status {status}.\n{said}")
        message = f"{self.label} ended without saying that it was done.\n{said}"
        return EngineError("agent_no_result", "agent", message, retryable=True)
