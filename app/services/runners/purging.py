"""Deletes a runner and everything of it, for data that must go. The audit trail keeps that it happened."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from app import db
from app.models import (
    AgentRunner,
    AgentRunnerSession,
    Comparison,
    Event,
    ForgeDelivery,
    ForgeWebhook,
    Hook,
    HookDelivery,
    IdempotencyKey,
    Look,
    Preflight,
    Publication,
    Schedule,
    SessionFile,
    Token,
    WebhookDelivery,
)
from app.models.states import ForgeDeliveryState, HookDeliveryState, Scope
from app.services import audit, idempotency, lookup
from app.services.artifacts import deletions
from app.services.callers import Caller
from app.services.runners.guards import refuse_pending_commit, refuse_pending_pull_request, refuse_while_active

_PURGED = "The agent runner was purged."
_TO_GO_ON = (ForgeDeliveryState.PENDING, ForgeDeliveryState.WAITING, ForgeDeliveryState.STARTED)


def may_purge(caller: Caller) -> bool:
    return caller.may(Scope.ADMIN)


def get(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    """The runner, for one who may purge it."""
    caller.require(Scope.ADMIN)
    return lookup.get_runner(caller, runner_id)


def purge(caller: Caller, runner_id: uuid.UUID) -> None:
    """Delete the runner, and list its artifacts to be deleted. Runners that began with its diff keep that.

    Raises `Conflict` while a session is active, or while its diff is being published.
    """
    _lock_before_runners(get(caller, runner_id))
    runner = lookup.get_runner_to_delete(caller, runner_id)
    refuse_while_active(runner)
    refuse_pending_pull_request(runner)
    refuse_pending_commit(runner)
    audit.record(caller, "agent_runner.purged", str(runner.id), runner.site_id)
    deletions.request(runner.id)
    idempotency.forget_runner(runner.account_id, runner.id)
    sessions = sa.select(AgentRunnerSession.id).where(AgentRunnerSession.agent_runner_id == runner.id)
    _forget_in_others(runner.id, sessions)
    _delete_rows(runner.id, sessions)


def _lock_before_runners(runner: AgentRunner) -> None:
    """Lock what may refer to the runner, and is locked before runners elsewhere."""
    for model in (Schedule, Hook, ForgeWebhook):
        of_site = sa.select(model).where(model.site_id == runner.site_id).order_by(model.id)
        db.session.scalars(lookup.locked(of_site, model)).all()
    about = sa.select(ForgeDelivery).where(ForgeDelivery.agent_runner_id == runner.id).order_by(ForgeDelivery.id)
    db.session.scalars(lookup.locked(about, ForgeDelivery)).all()


def _forget_in_others(runner_id: uuid.UUID, sessions: sa.Select[uuid.UUID]) -> None:
    """Remove what other rows have of the runner. Deliveries stay, so that a repeat of one is recognized."""
    nothing = sa.null()
    child, hook, forge = AgentRunner, HookDelivery, ForgeDelivery
    _update(child, child.parent_agent_runner_id == runner_id, parent_agent_runner_id=nothing)
    _update(Schedule, Schedule.last_runner_id == runner_id, last_runner_id=nothing)
    _update(Preflight, Preflight.setup_session_id.in_(sessions), setup_session_id=nothing)
    waits, goes_on = hook.state == HookDeliveryState.WAITING, forge.state.in_(_TO_GO_ON)
    _update(
        hook,
        hook.agent_runner_id == runner_id,
        **dict.fromkeys(("agent_runner_id", "session_id", "subject", "prompt"), nothing),
        state=sa.case((waits, sa.literal(HookDeliveryState.FAILED, hook.state.type)), else_=hook.state),
        error=sa.case((waits, _PURGED), else_=nothing),
    )
    _update(
        forge,
        forge.agent_runner_id == runner_id,
        **dict.fromkeys(("agent_runner_id", "session_id", "publication_id"), nothing),
        **dict.fromkeys(("author", "prompt", "answer", "lease_expires_at", "next_dispatch_at"), nothing),
        state=sa.case((goes_on, sa.literal(ForgeDeliveryState.IGNORED, forge.state.type)), else_=forge.state),
        error=sa.case((goes_on, _PURGED), else_=nothing),
    )


def _delete_rows(runner_id: uuid.UUID, sessions: sa.Select[uuid.UUID]) -> None:
    events = sa.select(Event.id).where(Event.agent_runner_id == runner_id)
    # A webhook may be about to deliver one of them.
    db.session.execute(sa.select(sa.func.count()).select_from(events.with_for_update().subquery()))
    tokens = sa.select(Token.id).where(Token.session_id.in_(sessions))
    _delete(WebhookDelivery, WebhookDelivery.event_id.in_(events))
    _delete(IdempotencyKey, IdempotencyKey.token_id.in_(tokens))
    _delete(Token, Token.session_id.in_(sessions))
    _delete(SessionFile, SessionFile.session_id.in_(sessions))
    for model in (Look, Comparison, Publication, Event, AgentRunnerSession):
        _delete(model, model.agent_runner_id == runner_id)
    _delete(AgentRunner, AgentRunner.id == runner_id)


def _update(model: Any, condition: sa.ColumnElement[bool], **values: Any) -> None:
    _execute(sa.update(model).where(condition).values(**values))


def _delete(model: Any, condition: sa.ColumnElement[bool]) -> None:
    _execute(sa.delete(model).where(condition))


def _execute(statement: sa.Update | sa.Delete) -> None:
    db.session.execute(statement.execution_options(synchronize_session=False))
