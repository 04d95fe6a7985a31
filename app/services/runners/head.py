"""Moving a runner's head to another of its sessions, or back to the base."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db
from app.errors import BadRequest, Conflict
from app.models import AgentRunner, AgentRunnerSession, Publication
from app.models.states import PublicationKind, PublicationState, Scope
from app.services import lookup
from app.services.callers import Caller
from app.services.execution import lifecycle
from app.services.runners.guards import refuse_archived, refuse_while_active


def revert(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID | None) -> AgentRunner:
    """Move the runner's head to a session with a cumulative diff, or with None back to the base."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    refuse_archived(runner)
    refuse_while_active(runner)
    target = lookup.get_session(runner, session_id) if session_id else None
    if target is not None and not target.has_cumulative_diff:
        raise BadRequest(
            "session_id: that session left no cumulative diff to go back to", error_code="no_cumulative_diff"
        )
    refuse_to_discard_landed(runner, chain(runner, target.id if target else None))
    lifecycle.move_head(runner, target)
    db.session.refresh(runner)
    return runner


def refuse_to_discard_landed(runner: AgentRunner, kept: set[uuid.UUID]) -> None:
    """Raise where the runner's work would be `kept` alone, and what is lost is on a branch or about to be."""
    lost = chain(runner, runner.head_session_id) - kept
    if lost & _committed(runner, PublicationState.DONE):
        message = "this would discard a session whose work is on a branch already, by a commit"
        raise BadRequest(message, error_code="already_landed")
    if lost & _committed(runner, PublicationState.PENDING):
        message = "this would discard a session whose work is being committed; wait for the end of that"
        raise Conflict(message, error_code="commit_in_progress")


def chain(runner: AgentRunner, session_id: uuid.UUID | None) -> set[uuid.UUID]:
    """A session of the runner and those that it builds on."""
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
    """The sessions whose work is brought to a branch by a `commit` in that state: its head and all ancestors."""
    heads = db.session.scalars(
        sa.select(Publication.session_id).where(
            Publication.agent_runner_id == runner.id,
            Publication.kind == PublicationKind.COMMIT,
            Publication.state == state,
        )
    )
    return {session_id for head in heads for session_id in chain(runner, head)}
