"""Checks that operations on a runner share: it must not be archived, have an active session, or be
published at the moment."""

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


def refuse_pending_pull_request(runner: AgentRunner) -> None:
    """Raise `Conflict` while a pull request of the runner, which is locked, is being opened or updated."""
    if runner.pr_is_being_created:
        message = "A pull request of this agent runner is in progress. Wait until pr_is_being_created is false."
        raise Conflict(message, error_code="pull_request_in_progress")


def refuse_pending_commit(runner: AgentRunner) -> None:
    """Raise `Conflict` while the diff of the runner, which is locked, is being committed."""
    if runner.merge_commit_is_being_created:
        message = "A commit of this agent runner is in progress. Wait until merge_commit_is_being_created is false."
        raise Conflict(message, error_code="commit_in_progress")
