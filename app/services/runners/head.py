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
    was_discarded = {row.id for row in _sessions(runner) if row.is_discarded}
    lifecycle.move_head(runner, target)
    newly_discarded = {row.id for row in _sessions(runner) if row.is_discarded} - was_discarded
    if newly_discarded & _committed(runner, PublicationState.DONE):
        raise BadRequest(
            "this would discard a session whose work is on a branch already, by a commit", error_code="already_landed"
        )
    if newly_discarded & _committed(runner, PublicationState.PENDING):
        raise Conflict(
            "this would discard a session whose work is being committed; wait for the end of that",
            error_code="commit_in_progress",
        )
    db.session.refresh(runner)
    return runner


def _sessions(runner: AgentRunner) -> list[AgentRunnerSession]:
    db.session.flush()
    mine = AgentRunnerSession.agent_runner_id == runner.id
    return list(db.session.scalars(sa.select(AgentRunnerSession).where(mine)))


def _committed(runner: AgentRunner, state: PublicationState) -> set[uuid.UUID | None]:
    """The sessions whose work is brought to a branch by a `commit` in that state: its head and all ancestors."""
    heads = db.session.scalars(
        sa.select(Publication.session_id).where(
            Publication.agent_runner_id == runner.id,
            Publication.kind == PublicationKind.COMMIT,
            Publication.state == state,
        )
    )
    parents = {session.id: session.parent_session_id for session in _sessions(runner)}
    landed: set[uuid.UUID | None] = set()
    for head in heads:
        step = head
        while step is not None and step not in landed:
            landed.add(step)
            step = parents[step]
    return landed
