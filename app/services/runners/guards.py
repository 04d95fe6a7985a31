"""What a runner must not be for a verb to go on: archived, or busy with a session."""

from __future__ import annotations

from app.errors import Conflict
from app.models import AgentRunner
from app.services import lookup


def refuse_archived(runner: AgentRunner) -> None:
    """Raise `Conflict` where the runner is archived."""
    if runner.is_archived:
        raise Conflict("the agent runner is archived; unarchive it first", error_code="runner_archived")


def refuse_while_active(runner: AgentRunner) -> None:
    """Raise `Conflict` while a session of the runner is NEW or RUNNING."""
    if lookup.find_active_session(runner) is not None:
        raise Conflict(
            "a session of this agent runner is NEW or RUNNING; wait for its end or stop it",
            error_code="active_session_exists",
        )
