"""Metrics for operators. They are read from the database, because no process lives as long as the deployment."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from app import db
from app.models import AgentRunnerSession, Counter, Publication, Site
from app.models.states import ACTIVE, Execution, PublicationState, SessionState
from app.services import last_runs, leases
from app.services.execution import scheduling

log = structlog.get_logger()


@dataclass(frozen=True)
class Measured:
    """The deployment as it is now. `sweep_age_seconds` is None before the first sweep."""

    sweep_age_seconds: float | None
    sessions: dict[str, int]
    """The number of sessions in each state that is not final."""
    oldest_waiting_seconds: float
    expired_leases: int
    pending_publications: int
    counted: dict[str, int]
    """The values of the counters, by name."""


@dataclass(frozen=True)
class Stuck:
    """Work that should have progressed by now."""

    longest_wait_seconds: float
    """Of the sessions that no limit keeps from running."""
    running: int
    """Sessions on internal workers."""
    expired_leases: int
    pending_publications: int
    lost_sessions: int
    """Sessions that ended with `worker_lost`."""


def measure() -> Measured:
    """Measure the deployment in the transaction in progress."""
    session = AgentRunnerSession
    by_state = sa.select(session.state, sa.func.count()).where(session.state.in_(ACTIVE)).group_by(session.state)
    found = {state.value: count for state, count in db.session.execute(by_state)}
    since = sa.select(sa.func.min(session.created_at), db.now()).where(session.state == SessionState.NEW)
    oldest, now = db.session.execute(since).one()
    pending = sa.select(sa.func.count()).where(Publication.state == PublicationState.PENDING)
    expired = sa.select(sa.func.count()).where(leases.expired(session))
    return Measured(
        sweep_age_seconds=last_runs.age(last_runs.SWEEP),
        sessions={state.value: found.get(state.value, 0) for state in sorted(ACTIVE)},
        oldest_waiting_seconds=(now - oldest).total_seconds() if oldest else 0.0,
        expired_leases=db.session.scalar(expired) or 0,
        pending_publications=db.session.scalar(pending) or 0,
        counted={counter.name: counter.value for counter in db.session.scalars(sa.select(Counter))},
    )


def find_stuck(lease_seconds: float, publication_seconds: float, lost_seconds: float) -> Stuck:
    """Read what is stuck, in the transaction in progress.

    Counts leases that expired more than `lease_seconds` ago, pending publications older than `publication_seconds`, and
    sessions that were lost within the last `lost_seconds`.
    """
    session = AgentRunnerSession
    ours = sa.select(Site.id).where(Site.execution == Execution.INTERNAL)
    here = (session.state == SessionState.RUNNING, session.site_id.in_(ours))
    pending = (Publication.state == PublicationState.PENDING, Publication.created_at < db.now(-publication_seconds))
    lost = (
        session.state == SessionState.ERROR,
        session.done_at > db.now(-lost_seconds),
        session.failure["code"].as_string() == "worker_lost",
    )
    count = sa.select(sa.func.count())
    return Stuck(
        longest_wait_seconds=scheduling.longest_wait(),
        running=db.session.scalar(count.where(*here)) or 0,
        expired_leases=db.session.scalar(count.where(leases.expired(session, lease_seconds))) or 0,
        pending_publications=db.session.scalar(count.where(*pending)) or 0,
        lost_sessions=db.session.scalar(count.where(*lost)) or 0,
    )
