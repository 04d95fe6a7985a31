"""The periodic repair: it finds lost work in the database. Several sweeps may safely run at once."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db, queue
from app.config import settings
from app.models import AgentRunnerSession, Publication
from app.services import idempotency, last_runs, leases
from app.services.execution import lifecycle, repairs
from app.services.forge_webhooks import deliveries as forge_deliveries
from app.services.hooks import deliveries as hook_deliveries
from app.services.webhooks import deliveries as webhook_deliveries

AT_ONCE = 200
FORGET_EVERY_SECONDS = 60.0


def find_sessions() -> list[uuid.UUID]:
    """Sessions with an expired lease, sessions of external workers past their time limit, and sessions due to be
    dispatched. In this order a session that lost its worker never waits behind many that are due."""
    past_limit = sa.select(AgentRunnerSession.id).where(repairs.is_past_time_limit())
    return [
        *leases.find_expired(AgentRunnerSession, AT_ONCE),
        *db.session.scalars(past_limit.order_by(AgentRunnerSession.created_at).limit(AT_ONCE)),
        *leases.find_due(AgentRunnerSession, AT_ONCE),
    ]


def find_publications() -> list[uuid.UUID]:
    """Publications with an expired lease, and those due to be dispatched."""
    return [*leases.find_expired(Publication, AT_ONCE), *leases.find_due(Publication, AT_ONCE)]


def dispatch_next() -> None:
    """Dispatch the next session. If the broker lost its message, idle workers would not know of it."""
    lifecycle.dispatch_next(expires=2 * settings().sweep_seconds)


def request_garbage_collection() -> None:
    """Enqueue the removal of unreferenced artifacts if it is due."""
    if last_runs.start_if_due(last_runs.GARBAGE, settings().garbage_seconds):
        db.after_commit(lambda: queue.send(queue.COLLECT_GARBAGE, expires=settings().garbage_seconds))


def forget_old() -> None:
    """Delete what is kept for days only, once a minute."""
    if last_runs.start_if_due(last_runs.FORGETTING, FORGET_EVERY_SECONDS):
        idempotency.forget_expired()
        webhook_deliveries.forget_old()
        hook_deliveries.forget_old()
        forge_deliveries.forget_old()


def finish() -> None:
    """Record that a sweep has completed. The age of the last one is a metric."""
    last_runs.record(last_runs.SWEEP)
