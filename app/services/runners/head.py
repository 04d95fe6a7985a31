"""Moves a runner's head to another of its sessions, or back to the base."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db
from app.errors import BadRequest, Conflict
from app.models import AgentRunner, AgentRunnerSession, Publication
from app.models.states import PublicationKind, PublicationState, Scope
from app.services import events, lookup
from app.services.callers import Caller
from app.services.execution import lifecycle
from app.services.runners.guards import refuse_archived, refuse_while_active


def revert(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID | None) -> AgentRunner:
    """Move the runner's head to a session with a cumulative diff, or to the base if `session_id` is None."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    refuse_archived(runner)
    refuse_while_active(runner)
    target = lookup.get_session(runner, session_id) if session_id else None
    if target is not None and not target.has_cumulative_diff:
        raise BadRequest(
            "session_id: that session has no cumulative diff; choose one whose has_cumulative_diff is true",
            error_code="no_cumulative_diff",
        )
    refuse_to_discard_landed(runner, chain(runner, target.id if target else None))
    lifecycle.move_head(runner, target)
    lifecycle.refresh_runner(runner)
    events.record_runner_state(runner)
    db.session.flush()
    db.session.refresh(runner)
    return runner


def refuse_to_discard_landed(runner: AgentRunner, kept: set[uuid.UUID]) -> None:
    """Raise if keeping only the sessions `kept` would discard work that is on a branch or is being committed."""
    lost = chain(runner, runner.head_session_id) - kept
    if lost & _committed(runner, PublicationState.DONE):
        message = (
            "This would discard a session whose work is committed to a branch already. Undo it in a follow-up instead, or "
            "create a new runner."
        )
        raise BadRequest(message, error_code="already_landed")
    if lost & _committed(runner, PublicationState.PENDING):
        message = (
            "This would discard a session whose work is being committed. Wait until merge_commit_is_being_created is "
            "false."
        )
        raise Conflict(message, error_code="commit_in_progress")


def chain(runner: AgentRunner, session_id: uuid.UUID | None) -> set[uuid.UUID]:
    """The ids of a session of the runner and of those that it builds on."""
    parents = {session.id: session.parent_session_id for session in _sessions(runner)}
    found: set[uuid.UUID] = set()
    while session_id is not None and session_id not in found:
        found.add(session_id)
        session_id = parents[session_id]
    return found


def _sessions(runner: AgentRunner) -> list[AgentRunnerSession]:
    db.session.flush()
    mine = AgentRunnerSession.agent_runner_id == runner.id
    return list(db.session.scalars(sa.select(AgentRunnerSession).where(mine)))


def _committed(runner: AgentRunner, state: PublicationState) -> set[uuid.UUID]:
    """The ids of the sessions whose work is part of a commit in that state: its head and all ancestors."""
    heads = db.session.scalars(
        sa.select(Publication.session_id).where(
            Publication.agent_runner_id == runner.id,
            Publication.kind == PublicationKind.COMMIT,
            Publication.state == state,
        )
    )
    return {session_id for head in heads for session_id in chain(runner, head)}
