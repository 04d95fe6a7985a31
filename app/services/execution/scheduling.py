"""Which waiting session a worker claims next, and whether the concurrency limits allow one more to run."""

from __future__ import annotations

import datetime
import functools
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from app import db
from app.config import settings
from app.models import Account, AgentRunner, AgentRunnerSession, Site
from app.models.states import Execution, Mode, SessionState, Stage, WaitingReason
from app.services import lookup

SLOW_FETCH_SECONDS = 10.0
"""While a session has been fetching for longer, no other one of its site starts: it would only wait as well."""
UNCLAIMED_SWEEPS = 2
"""A worker claims a session within so many sweeps if it is idle, even when a message was lost."""


@dataclass(frozen=True)
class Waiting:
    """Why a session has not started, and how many that wait for the same thing are ahead of it."""

    reason: WaitingReason
    position: int
    until: datetime.datetime | None = None
    """When it ends, where that is known in advance."""


def find_next() -> uuid.UUID | None:
    """The waiting session that is next, of those that our own workers run and that the concurrency limits allow.

    The account with the fewest running sessions comes first, then the one whose last claim is the longest ago; within
    an account, the oldest session. So no account has to wait until another's queue is empty, even with one worker.
    """
    return db.session.scalar(_next())


def lock_next() -> tuple[Account, AgentRunner, AgentRunnerSession] | None:
    """The session that is next, with its account and its runner, whose site is loaded. All four rows are locked.

    None as well if the session was stopped, or its site given to external workers, before the locks were granted.
    """
    found = db.session.execute(_locked_next()).one_or_none()
    return (found[0], found[1], found[2]) if found else None


@functools.cache
def _locked_next() -> sa.Select[Account, AgentRunner, AgentRunnerSession]:
    query = (
        sa.select(Account, AgentRunner, AgentRunnerSession)
        .join(AgentRunner, AgentRunner.id == AgentRunnerSession.agent_runner_id)
        .join(AgentRunner.site)
        .join(Account, Account.id == AgentRunnerSession.account_id)
        .where(
            AgentRunnerSession.id == _next().scalar_subquery(),
            # Checked again once the locks are granted.
            AgentRunnerSession.state == SessionState.NEW,
            Site.execution == Execution.INTERNAL,
        )
        .options(
            orm.contains_eager(AgentRunner.site), orm.lazyload(AgentRunner.user), orm.lazyload(AgentRunnerSession.user)
        )
    )
    return lookup.locked(query, Account, Site, AgentRunner, AgentRunnerSession)


@functools.cache
def _next() -> sa.Select[Any]:
    query, running_here = _that_may_run(AgentRunnerSession.id)
    order = (running_here, Account.last_claimed_at.nulls_first(), AgentRunnerSession.created_at, AgentRunnerSession.id)
    return query.order_by(*order).limit(1)


def longest_wait() -> float:
    """Seconds that the oldest session has waited which our own workers could run now; 0 if there is none."""
    query, _ = _that_may_run(sa.func.min(AgentRunnerSession.created_at), db.now())
    oldest, now = db.session.execute(query).one()
    return (now - oldest).total_seconds() if oldest else 0.0


def waiting(session_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Waiting]:
    """Why those of the sessions that are NEW have not started yet, by session id. One query, whatever their number."""
    wanted = {"ids": list(session_ids), "overdue_seconds": UNCLAIMED_SWEEPS * settings().sweep_seconds}
    return {
        session_id: Waiting(WaitingReason(reason), position, until)
        for session_id, reason, position, until in db.session.execute(_waiting(), wanted)
    }


@functools.cache
def _waiting() -> sa.Select[uuid.UUID, str, int, datetime.datetime | None]:
    session = AgentRunnerSession
    query, of_account, of_site = _new_sessions()
    held_by_account = sa.not_(_is_below(Account.max_concurrent_sessions, of_account))
    held_by_site = sa.not_(_is_below(Site.max_concurrent_sessions, of_site))
    external = Site.execution == Execution.EXTERNAL
    held_by_fetch = sa.and_(sa.not_(external), sa.not_(_may_fetch(of_site)))
    held_by_quota = sa.not_(_takes_calls())
    held_by = sa.case(
        (held_by_quota, WaitingReason.QUOTA.value),
        (held_by_account, WaitingReason.ACCOUNT_LIMIT.value),
        (held_by_site, WaitingReason.SITE_LIMIT.value),
        (held_by_fetch, WaitingReason.FETCH.value),
        else_=WaitingReason.QUEUED.value,
    )
    # The sessions that wait for the same thing form one queue. External workers claim from one site at a time.
    queue = (
        held_by,
        sa.case(
            (held_by_quota, session.id),
            (held_by_account, session.account_id),
            (sa.or_(held_by_site, held_by_fetch, external), session.site_id),
        ),
    )
    oldest_first = (session.created_at, session.id)
    nth = sa.func.row_number().over(partition_by=[*queue, session.account_id], order_by=oldest_first)
    rows = query.add_columns(
        session.id,
        session.created_at,
        Account.last_claimed_at,
        external.label("external"),
        held_by.label("reason"),
        sa.case((held_by_quota, session.waiting_until)).label("until"),
        queue[1].label("whose"),
        # How many sessions the account runs by the time that this one is next, if none ends meanwhile.
        (sa.func.coalesce(of_account.c.internal, 0) + nth).label("running_then"),
    ).subquery()
    found = rows.c
    order = (found.running_then, found.last_claimed_at.nulls_first(), found.created_at, found.id)
    place = sa.func.row_number().over(partition_by=[found.reason, found.whose], order_by=order)
    never_claimed = sa.select(sa.func.max(Account.last_claimed_at).is_(None)).scalar_subquery()
    overdue = db.now(-sa.bindparam("overdue_seconds", type_=sa.Float()))
    no_worker = sa.and_(
        found.reason == WaitingReason.QUEUED.value, sa.not_(found.external), never_claimed, found.created_at < overdue
    )
    placed = sa.select(
        found.id,
        sa.case((no_worker, WaitingReason.NO_WORKER.value), else_=found.reason).label("reason"),
        (place - 1).label("position"),
        found.until,
    ).subquery()
    columns = (placed.c.id, placed.c.reason, placed.c.position, placed.c.until)
    return sa.select(*columns).where(placed.c.id.in_(sa.bindparam("ids", expanding=True)))


def _that_may_run(*wanted: Any) -> tuple[sa.Select[Any], sa.ColumnElement[int]]:
    """A query for columns of the waiting sessions that our own workers may run now, and the number of sessions that the
    account of each is running on them."""
    query, of_account, of_site = _new_sessions()
    query = query.add_columns(*wanted).where(
        Site.execution == Execution.INTERNAL,
        _takes_calls(),
        _is_below(Account.max_concurrent_sessions, of_account),
        _is_below(Site.max_concurrent_sessions, of_site),
        _may_fetch(of_site),
    )
    running_here = sa.func.coalesce(of_account.c.internal, 0)
    most = sa.bindparam(None, callable_=lambda: settings().max_shared_sessions, type_=sa.Integer())
    return query.where(sa.or_(running_here == 0, most == 0, _count_running() < most)), running_here


def _count_running() -> sa.ScalarSelect[int]:
    """The number of sessions of all accounts that our own workers run."""
    query = sa.select(sa.func.count()).select_from(AgentRunnerSession)
    query = query.join(Site, Site.id == AgentRunnerSession.site_id).correlate(None)
    return query.where(
        AgentRunnerSession.state == SessionState.RUNNING, Site.execution == Execution.INTERNAL
    ).scalar_subquery()


def _takes_calls() -> sa.ColumnElement[bool]:
    """Whether the session does not wait for the quota of its model, as far as is known."""
    until = AgentRunnerSession.waiting_until
    return sa.or_(until.is_(None), until <= db.now())


def _may_fetch(running: sa.Subquery) -> sa.ColumnElement[bool]:
    """Whether a further session of the site may start to fetch. An unresponsive repository holds one worker, not all."""
    fetching, slow = (sa.func.coalesce(running.c[name], 0) for name in ("fetching", "fetching_slowly"))
    return sa.and_(slow == 0, sa.or_(Site.fetch_failed_at.is_(None), fetching == 0))


def _new_sessions() -> tuple[sa.Select[Any], sa.Subquery, sa.Subquery]:
    """A query for the waiting sessions, still without columns, and the running sessions of their accounts and sites."""
    session = AgentRunnerSession
    of_account, of_site = _running(session.account_id), _running(session.site_id)
    query: sa.Select[Any] = (
        sa.select()
        .select_from(session)
        .join(Site, Site.id == session.site_id)
        .join(Account, Account.id == session.account_id)
        .outerjoin(of_account, of_account.c.whose == session.account_id)
        .outerjoin(of_site, of_site.c.whose == session.site_id)
        # A mode that is not known is for workers of a later release.
        .where(session.state == SessionState.NEW, session.mode.in_(Mode))
    )
    return query, of_account, of_site


def _running(whose: orm.InstrumentedAttribute[uuid.UUID]) -> sa.Subquery:
    """The number of running sessions of each account or site: all of them, those on our own workers, and those of these
    that fetch the repository."""
    internal = sa.func.count().filter(Site.execution == Execution.INTERNAL)
    # A worker reports its first stage soon after the claim.
    is_fetching = sa.and_(
        Site.execution == Execution.INTERNAL,
        sa.or_(AgentRunnerSession.reported_stage.is_(None), AgentRunnerSession.reported_stage == Stage.FETCHING),
    )
    is_slow = sa.and_(is_fetching, AgentRunnerSession.started_at < db.now(-SLOW_FETCH_SECONDS))
    counts = sa.select(
        whose.label("whose"),
        sa.func.count().label("all"),
        internal.label("internal"),
        sa.func.count().filter(is_fetching).label("fetching"),
        sa.func.count().filter(is_slow).label("fetching_slowly"),
    )
    running = counts.join(Site, Site.id == AgentRunnerSession.site_id).where(
        AgentRunnerSession.state == SessionState.RUNNING
    )
    return running.group_by(whose).subquery()


def _is_below(limit: orm.InstrumentedAttribute[int | None], running: sa.Subquery) -> sa.ColumnElement[bool]:
    return sa.or_(limit.is_(None), sa.func.coalesce(running.c["all"], 0) < limit)


def record_fetch(site_id: uuid.UUID, *, failed: bool) -> None:
    """Note whether the repository could be fetched from. While it could not, its sessions fetch one at a time."""
    update = sa.update(Site).where(Site.id == site_id)
    db.session.execute(update.values(fetch_failed_at=db.now() if failed else None))


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
