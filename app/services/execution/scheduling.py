"""Which waiting session a worker claims next, and whether the concurrency limits allow one more to run."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from app import db
from app.models import Account, AgentRunnerSession, Site
from app.models.states import Execution, SessionState


@dataclass(frozen=True)
class Candidate:
    """A session that may be claimed, with the rows that are locked before it."""

    account_id: uuid.UUID
    site_id: uuid.UUID
    session_id: uuid.UUID


def find_next() -> Candidate | None:
    """The waiting session that is next, of those that our own workers run and that the concurrency limits allow.

    The account with the fewest running sessions comes first, then the one whose last claim is the longest ago; within
    an account, the oldest session. So no account has to wait until another's queue is empty, even with one worker.
    """
    query, running_here = _that_may_run(
        AgentRunnerSession.account_id, AgentRunnerSession.site_id, AgentRunnerSession.id
    )
    order = (running_here, Account.last_claimed_at.nulls_first(), AgentRunnerSession.created_at, AgentRunnerSession.id)
    found = db.session.execute(query.order_by(*order).limit(1)).one_or_none()
    return Candidate(*found) if found else None


def longest_wait() -> float:
    """Seconds that the oldest session has waited which our own workers could run now; 0 if there is none."""
    query, _ = _that_may_run(sa.func.min(AgentRunnerSession.created_at), db.now())
    oldest, now = db.session.execute(query).one()
    return (now - oldest).total_seconds() if oldest else 0.0


def _that_may_run(*wanted: Any) -> tuple[sa.Select[Any], sa.ColumnElement[int]]:
    """A query for columns of the waiting sessions that our own workers may run now, and the number of sessions that the
    account of each is running on them."""
    session = AgentRunnerSession
    of_account, of_site = _running(session.account_id), _running(session.site_id)
    query = (
        sa.select(*wanted)
        .select_from(session)
        .join(Site, Site.id == session.site_id)
        .join(Account, Account.id == session.account_id)
        .outerjoin(of_account, of_account.c.whose == session.account_id)
        .outerjoin(of_site, of_site.c.whose == session.site_id)
        .where(
            session.state == SessionState.NEW,
            Site.execution == Execution.INTERNAL,
            _is_below(Account.max_concurrent_sessions, of_account),
            _is_below(Site.max_concurrent_sessions, of_site),
        )
    )
    return query, sa.func.coalesce(of_account.c.internal, 0)


def _running(whose: orm.InstrumentedAttribute[uuid.UUID]) -> sa.Subquery:
    """The number of running sessions of each account or site: all of them, and those on our own workers."""
    internal = sa.func.count().filter(Site.execution == Execution.INTERNAL)
    counts = sa.select(whose.label("whose"), sa.func.count().label("all"), internal.label("internal"))
    running = counts.join(Site, Site.id == AgentRunnerSession.site_id).where(
        AgentRunnerSession.state == SessionState.RUNNING
    )
    return running.group_by(whose).subquery()


def _is_below(limit: orm.InstrumentedAttribute[int | None], running: sa.Subquery) -> sa.ColumnElement[bool]:
    return sa.or_(limit.is_(None), sa.func.coalesce(running.c["all"], 0) < limit)


def has_room(account: Account, site: Site) -> bool:
    """Whether the concurrency limits allow one more session. The account and the site are locked."""
    for limit, mine in (
        (account.max_concurrent_sessions, AgentRunnerSession.account_id == account.id),
        (site.max_concurrent_sessions, AgentRunnerSession.site_id == site.id),
    ):
        running = sa.select(sa.func.count()).where(mine, AgentRunnerSession.state == SessionState.RUNNING)
        if limit is not None and (db.session.scalar(running) or 0) >= limit:
            return False
    return True
