"""The periodic repair: what was lost on the way is found in the record. Safe to run several at once."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db, queue
from app.config import settings
from app.models import AgentRunnerSession, Publication
from app.services import last_runs, leases
from app.services.execution import lifecycle, session_attempts

AT_ONCE = 200


def find_sessions() -> list[uuid.UUID]:
    """Sessions whose lease has expired, those of external workers that are past their time limit, and those due to be
    dispatched, in this order: however many are due, none that lost its worker waits behind them."""
    past_limit = sa.select(AgentRunnerSession.id).where(session_attempts.is_past_time_limit())
    return [
        *leases.find_expired(AgentRunnerSession, AT_ONCE),
        *db.session.scalars(past_limit.order_by(AgentRunnerSession.created_at).limit(AT_ONCE)),
        *leases.find_due(AgentRunnerSession, AT_ONCE),
    ]


def find_publications() -> list[uuid.UUID]:
    """Publications whose lease has expired, and those due to be dispatched."""
    return [*leases.find_expired(Publication, AT_ONCE), *leases.find_due(Publication, AT_ONCE)]


def dispatch_next() -> None:
    """Dispatch the session that is next: where the broker lost its messages, idle workers have not heard of it."""
    lifecycle.dispatch_next(expires=2 * settings().sweep_seconds)


def request_garbage_collection() -> None:
    """Enqueue the removal of unreferenced artifacts, when it is due."""
    if last_runs.take(last_runs.GARBAGE, settings().garbage_seconds):
        db.after_commit(lambda: queue.send(queue.COLLECT_GARBAGE, expires=settings().garbage_seconds))


def finish() -> None:
    """Record that a sweep has completed. The age of the last one is a metric."""
    last_runs.put(last_runs.SWEEP)
