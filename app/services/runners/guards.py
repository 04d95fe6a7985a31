"""Checks that operations on a runner share: it must not be archived or have an active session."""

from __future__ import annotations

from app.errors import Conflict
from app.models import AgentRunner


def refuse_archived(runner: AgentRunner) -> None:
    """Raise `Conflict` if the runner is archived."""
    if runner.is_archived:
        raise Conflict("The agent runner is archived. Unarchive it first.", error_code="runner_archived")


def refuse_while_active(runner: AgentRunner) -> None:
    """Raise `Conflict` while a session of the runner, which is locked, is NEW or RUNNING."""
    if runner.active_session_created_at is not None:
        raise Conflict(
            "A session of this agent runner is NEW or RUNNING. Wait until it ends, or stop it.",
            error_code="active_session_exists",
        )
