"""The outcome of an attempt at a session, as its worker reports it."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from typing import Any

from app import db
from app.models import AgentRunnerSession, SessionFile
from app.services.budgets import spending
from app.services.budgets.spending import Payers
from app.timestamps import format_moment


def with_ids(questions: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Questions with ids of their own, by which an answer names them. None where there are none."""
    return [{"id": str(db.new_id()), **each} for each in questions] if questions else None


@dataclass(frozen=True)
class Failure:
    """Why a session ended in ERROR: a stable code, the stage it failed in, and what a person can do."""

    code: str
    stage: str
    retryable: bool
    message: str
    retry_at: datetime.datetime | None = None
    """When it may succeed, if the model's provider said so."""

    def to_json(self) -> dict[str, Any]:
        """The value of a session's `failure`."""
        return {**dataclasses.asdict(self), "retry_at": format_moment(self.retry_at) if self.retry_at else None}


@dataclass(frozen=True)
class Work:
    """The work of an attempt, which is kept however its session ended. None: there is nothing to write."""

    result_diff_key: str | None = None
    cumulative_diff_key: str | None = None
    contains_secret: bool = False
    usage: dict[str, Any] | None = None
    base_sha: str | None = None
    conversation_key: str | None = None
    native_session_id: str | None = None
    agent_version: str | None = None
    file_keys: tuple[str, ...] = ()
    """Stored objects that the diffs point to."""
    is_all: bool = False
    """Whether these are all diffs of the session, so that what an earlier attempt left is replaced."""

    def write(self, session: AgentRunnerSession) -> None:
        """Set the session's fields, and count its usage; a None keeps the value that the session has."""
        if self.is_all:
            session.result_diff_key = session.cumulative_diff_key = None
            session.contains_secret = False
        session.result_diff_key = self.result_diff_key or session.result_diff_key
        session.cumulative_diff_key = self.cumulative_diff_key or session.cumulative_diff_key
        session.contains_secret = self.contains_secret or session.contains_secret
        if self.usage:
            spending.count(Payers.of(session), session.usage, self.usage)
            session.usage = self.usage
        session.base_sha = self.base_sha or session.base_sha
        session.conversation_key = self.conversation_key or session.conversation_key
        session.native_session_id = self.native_session_id or session.native_session_id
        session.agent_version = self.agent_version or session.agent_version
        db.session.add_all(SessionFile(session_id=session.id, file_key=key) for key in self.file_keys)


@dataclass(frozen=True)
class Outcome:
    """The end of an attempt: its work, the agent's final message, a title for the work, its questions, and the failure, if any."""

    work: Work = Work()
    result: str | None = None
    title: str | None = None
    failure: Failure | None = None
    questions: list[dict[str, Any]] | None = None

    def write(self, session: AgentRunnerSession) -> None:
        """Add it to what the session has, and set its failure."""
        self.work.write(session)
        if self.result:
            session.result = self.result
            session.text_bytes += len(self.result.encode())
        session.title = self.title or session.title
        session.questions = with_ids(self.questions) or session.questions
        session.failure = self.failure.to_json() if self.failure else None
