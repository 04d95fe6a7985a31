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
    """Sessions whose lease has run out, those that run outside for too long, and those whose bell is due, the oldest of
    each first.

    However many wait to be rung for, none that lost its worker waits behind them.
    """
    lost = sa.and_(AgentRunnerSession.state == SessionState.RUNNING, AgentRunnerSession.lease_expires_at < db.now())
    waiting = sa.and_(AgentRunnerSession.state == SessionState.NEW, AgentRunnerSession.next_bell_at <= db.now())
    found: list[uuid.UUID] = []
    for due in (lost, session_attempts.is_overtime(), waiting):
        query = sa.select(AgentRunnerSession.id).where(due).order_by(AgentRunnerSession.created_at).limit(AT_ONCE)
        found.extend(db.session.scalars(query))
    return found


def repair(session_id: uuid.UUID) -> None:
    """Ring again for a session that waits, queue one again whose worker was lost, end one that runs outside for too
    long. Looks again under the lock."""
    locked = lookup.lock_session(session_id)
    if locked is None:
        return
    runner, session = locked
    if session.state == SessionState.NEW and db.session.scalar(sa.select(session.next_bell_at <= db.now())):
        lifecycle.ring(session)
    else:
        session_attempts.expire_lease(runner, session)
        session_attempts.end_overtime(runner, session)


def ring_for_next() -> None:
    """Ring for the session whose turn it is: where a broker lost its messages, idle workers have heard of none."""
    lifecycle.ring_next(expires=2 * settings().sweep_seconds)


def find_stale_publications() -> list[uuid.UUID]:
    """Publications that were to be taken up by now, those that wait the longest for it first, so that none is kept
    waiting by many others that are rung for again and again."""
    query = sa.select(Publication.id).where(
        Publication.state == PublicationState.PENDING, Publication.next_bell_at < db.now()
    )
    return list(db.session.scalars(query.order_by(Publication.next_bell_at).limit(AT_ONCE)))


def resume_publication(publication_id: uuid.UUID) -> None:
    """Ring again for a publication, unless another sweep just did."""
    query = sa.select(Publication).where(
        Publication.id == publication_id,
        Publication.state == PublicationState.PENDING,
        Publication.next_bell_at < db.now(),
    )
    publication = db.session.scalar(lookup.locked(query, Publication))
    if publication is not None:
        publications.ring(publication)


def ring_for_garbage() -> None:
    """Have what nothing refers to removed from the artifact store, when it is time again."""
    if last_runs.take(last_runs.GARBAGE, settings().garbage_seconds):
        db.after_commit(lambda: queue.send(queue.COLLECT_GARBAGE, expires=settings().garbage_seconds))


def finish() -> None:
    """Write down that a sweep came to its end: its age is what tells whether anybody repairs anything."""
    last_runs.put(last_runs.SWEEP)


def drop_idempotency_keys() -> None:
    """Forget the answers that are older than 24 hours."""
    db.session.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < db.now(-IDEMPOTENCY_SECONDS)))
