"""The base of adapters whose agents print a stream of JSON lines, and must report success in a final event."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from workers.agents.base import Agent, prompt_with_attachments
from workers.agents.plain_output import PlainOutput
from workers.agents.programs import Installed, find_installed, find_missing_companion, find_version
from workers.agents.tool_servers import server_files
from workers.agents.unknown_events import UnknownEvents
from workers.agents.values import as_object
from workers.errors import EngineError
from workers.events import Event
from workers.job import Job
from workers.processes.lines import Line
from workers.sandbox import Place

# Providers use many wordings; the programs report the status, the text or both.
_REFUSED = re.compile(
    r"\b(401|403)\b|unauthori[sz]ed|authenticat|not logged in|(invalid|incorrect|missing).{0,20}key", re.I
)
_TOO_MUCH = re.compile(r"\b(429|529)\b|rate.?limit|too many requests|overloaded|high demand|quota|usage limit", re.I)


class StreamAgent(Agent):
    """An agent that prints one JSON object per line. Its standard error is only shown if it fails."""

    label: ClassVar[str]
    program: ClassVar[str]
    wheel: ClassVar[str | None] = None
    companions: ClassVar[tuple[str, ...]] = ()
    """Programs that must be beside it."""
    install: ClassVar[str]
    key: ClassVar[str]
    silent: ClassVar[frozenset[str]] = frozenset()
    """Kinds of events that are known, and repeat what other events say."""

    @classmethod
    def find(cls) -> Installed | None:
        """Its program on this host."""
        return find_installed(cls.program, cls.wheel)

    @classmethod
    def find_version(cls) -> str | None:
        """The version of the package that its program is a part of."""
        installed = cls.find()
        return find_version(installed) if installed else None

    @classmethod
    def find_missing(cls) -> str | None:
        installed = cls.find()
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
        installed, missing = self.find(), self.find_missing()
        if installed is None or missing:
            raise EngineError("agent_not_installed", "agent", missing or "")
        self.called = installed.command
        self.runtime_paths = installed.runtime_paths
        self.errors = PlainOutput(job.secrets)
        self.unknown = UnknownEvents(self.label, job.secrets, self.silent)
        self.failure: str | None = None
        """The agent's own message about a failure."""

    def files(self, place: Place) -> Mapping[str, bytes]:
        return server_files(self.job) if self.speaks_mcp else {}

    def stdin(self, place: Place, attachments: Sequence[str]) -> bytes:
        return prompt_with_attachments(self.job, place, attachments)

    def parse(self, line: Line) -> Iterable[Event]:
        event = as_object(line) if line.stream == "out" else None
        if event is not None:
            yield from self.read(event)
        elif line.data.strip():
            self.errors.add(line.text)

    @abstractmethod
    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        """The events of one JSON object. Fields may be missing or of any type, because the program may change.

        What is not known is named by `unknown`.
        """

    def verdict(self, status: int) -> EngineError | None:
        """Success needs both the final event and the exit status; neither alone is reliable."""
        if self.failure is None and self.finished and status == 0:
            return None
        said = self.failure or self.errors.tail or "It gave no reason."
        if _REFUSED.search(said):
            message = f"The model provider refused the key of {self.label}. Check {self.key}.\n{said}"
            return EngineError("agent_auth", "agent", message)
        if _TOO_MUCH.search(said):
            message = f"The model provider of {self.label} is at its rate limit. Try again later.\n{said}"
            return EngineError("agent_rate_limited", "agent", message, retryable=True)
        if self.failure is not None:
            return EngineError("agent_failed", "agent", f"{self.label} failed: {said}")
        if status > 128:
            message = f"{self.label} was killed by signal {status - 128}.\n{said}"
            return EngineError("agent_crashed", "agent", message, retryable=True)
        if status != 0:
            return EngineError("agent_failed", "agent", f"{self.label} ended with exit status {status}.\n{said}")
        message = f"{self.label} ended without a final result. Run the session again.\n{said}"
        return EngineError("agent_no_result", "agent", message, retryable=True)
