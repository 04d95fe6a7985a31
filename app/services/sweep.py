"""The periodic repair: what was lost on the way is found in the record. Safe to run several at once."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db, queue
from app.config import settings
from app.models import AgentRunnerSession, IdempotencyKey, Publication
from app.models.states import PublicationState, SessionState
from app.services import last_runs, lookup
from app.services.execution import lifecycle, session_attempts
from app.services.publishing import publications

IDEMPOTENCY_SECONDS = 24 * 3600.0
AT_ONCE = 200


def find_due() -> list[uuid.UUID]:
    """Sessions whose lease has run out, those of external workers that are past their time limit, and those due to be
    dispatched again, the oldest of each first.

    A session that lost its worker never waits behind those due to be dispatched, however many they are.
    """
    lost = sa.and_(AgentRunnerSession.state == SessionState.RUNNING, AgentRunnerSession.lease_expires_at < db.now())
    waiting = sa.and_(AgentRunnerSession.state == SessionState.NEW, AgentRunnerSession.next_dispatch_at <= db.now())
    found: list[uuid.UUID] = []
    for due in (lost, session_attempts.is_past_time_limit(), waiting):
        query = sa.select(AgentRunnerSession.id).where(due).order_by(AgentRunnerSession.created_at).limit(AT_ONCE)
        found.extend(db.session.scalars(query))
    return found


def repair(session_id: uuid.UUID) -> None:
    """Dispatch a waiting session again, requeue one whose worker was lost, end one of an external worker that is past
    its time limit. Each is checked again under the lock."""
    locked = lookup.lock_session(session_id)
    if locked is None:
        return
    runner, session = locked
    if session.state == SessionState.NEW and db.session.scalar(sa.select(session.next_dispatch_at <= db.now())):
        lifecycle.dispatch(session)
    else:
        session_attempts.expire_lease(runner, session)
        session_attempts.end_past_time_limit(runner, session)


def dispatch_next() -> None:
    """Dispatch the session that is next: where the broker lost its messages, idle workers have not heard of it."""
    lifecycle.dispatch_next(expires=2 * settings().sweep_seconds)


def find_stale_publications() -> list[uuid.UUID]:
    """Publications due to be dispatched, the longest due first, so that none waits behind many that are dispatched again
    and again."""
    query = sa.select(Publication.id).where(
        Publication.state == PublicationState.PENDING, Publication.next_dispatch_at < db.now()
    )
    return list(db.session.scalars(query.order_by(Publication.next_dispatch_at).limit(AT_ONCE)))


def resume_publication(publication_id: uuid.UUID) -> None:
    """Dispatch a publication again, unless another sweep just did."""
    query = sa.select(Publication).where(
        Publication.id == publication_id,
        Publication.state == PublicationState.PENDING,
        Publication.next_dispatch_at < db.now(),
    )
    publication = db.session.scalar(lookup.locked(query, Publication))
    if publication is not None:
        publications.dispatch(publication)


def request_garbage_collection() -> None:
    """Enqueue the removal of unreferenced artifacts, when it is due."""
    if last_runs.take(last_runs.GARBAGE, settings().garbage_seconds):
        db.after_commit(lambda: queue.send(queue.COLLECT_GARBAGE, expires=settings().garbage_seconds))


def finish() -> None:
    """Record that a sweep has completed. The age of the last one is a metric."""
    last_runs.put(last_runs.SWEEP)


def drop_idempotency_keys() -> None:
    """Forget the answers that are older than 24 hours."""
    db.session.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < db.now(-IDEMPOTENCY_SECONDS)))
