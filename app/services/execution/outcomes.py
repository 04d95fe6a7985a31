"""The outcome of an attempt at a session, as its worker reports it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from app.models import AgentRunnerSession


@dataclass(frozen=True)
class Failure:
    """Why a session ended in ERROR: a stable code, the stage it failed in, and what a person can do."""

    code: str
    stage: str
    retryable: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        """The value of a session's `failure`."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Work:
    """The work of an attempt, which is kept however its session ended. None: there is nothing to write."""

    result_diff_key: str | None = None
    cumulative_diff_key: str | None = None
    contains_secret: bool = False
    usage: dict[str, Any] | None = None
    base_sha: str | None = None

    def write(self, session: AgentRunnerSession) -> None:
        """Set the session's fields; a None keeps the value that the session has."""
        session.result_diff_key = self.result_diff_key or session.result_diff_key
        session.cumulative_diff_key = self.cumulative_diff_key or session.cumulative_diff_key
        session.contains_secret = self.contains_secret or session.contains_secret
        session.usage = self.usage or session.usage
        session.base_sha = self.base_sha or session.base_sha


@dataclass(frozen=True)
class Outcome:
    """The end of an attempt: its work, the agent's final message, a title for the work, and the failure, if any."""

    work: Work = Work()
    result: str | None = None
    title: str | None = None
    failure: Failure | None = None

    def write(self, session: AgentRunnerSession) -> None:
        """Add it to what the session has, and set its failure."""
        self.work.write(session)
        session.result = self.result or session.result
        session.title = self.title or session.title
        session.failure = self.failure.to_json() if self.failure else None
