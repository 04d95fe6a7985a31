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
from app.services.variables import values

SLOW_FETCH_SECONDS = 10.0
"""While a session has been fetching for longer, no other one of its site starts: it would only wait as well."""
UNCLAIMED_SWEEPS = 2
"""A worker claims a session within so many sweeps if it is idle, even when a message was lost."""
_ZERO = sa.literal_column("0", sa.Integer())


@dataclass(frozen=True)
class Waiting:
    """Why a session has not started, and how many that wait for the same thing are ahead of it."""

    reason: WaitingReason
    position: int
    until: datetime.datetime | None = None
    """When it ends, where that is known in advance."""


@dataclass(frozen=True)
class Next:
    """The session that is next, with its account and its runner, whose site is loaded. All four rows are locked."""

    account: Account
    runner: AgentRunner
    session: AgentRunnerSession
    has_variables: bool


def find_next() -> uuid.UUID | None:
    """The waiting session that is next, of those that our own workers run and that the concurrency limits allow.

    The account with the fewest running sessions comes first, then the one whose last claim is the longest ago; within
    an account, the oldest session. So no account has to wait until another's queue is empty, even with one worker.
    """
    return db.session.scalar(_next())


def lock_next() -> Next | None:
    """Lock the session that is next. None as well if it was stopped, or its site given to external workers, before the
    locks were granted."""
    found = db.session.execute(_locked_next()).one_or_none()
    return Next(*found) if found else None


def plan_next() -> None:
    """Have the database plan `lock_next`, which locks and reads nothing: what a new connection has to look up first for
    that takes it longer than the statement."""
    db.session.execute(sa.text(_explained_next(db.dialect())))


@functools.cache
def _explained_next(_dialect: str) -> str:
    whole = {"literal_binds": True, "render_postcompile": True}
    return f"EXPLAIN {_locked_next().compile(db.session.get_bind(), compile_kwargs=whole)}"


@functools.cache
def _locked_next() -> sa.Select[Account, AgentRunner, AgentRunnerSession, bool]:
    query = (
        sa.select(Account, AgentRunner, AgentRunnerSession, sa.exists().where(values.are_of(Site)))
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
    external = Site.execution == Execution.EXTERNAL
    held = query.add_columns(
        session.id,
        session.account_id,
        session.site_id,
        session.created_at,
        session.waiting_until,
        Account.last_claimed_at,
        _number(of_account.c.internal).label("running"),
        external.label("external"),
        sa.not_(_takes_calls()).label("quota"),
        sa.not_(_is_below(Account.max_concurrent_sessions, of_account)).label("account"),
        sa.not_(_is_below(Site.max_concurrent_sessions, of_site)).label("site"),
        sa.and_(sa.not_(external), sa.not_(_may_fetch(of_site))).label("fetch"),
    )
    by = held.subquery("held").c
    reason = sa.case(
        (by.quota, WaitingReason.QUOTA.value),
        (by.account, WaitingReason.ACCOUNT_LIMIT.value),
        (by.site, WaitingReason.SITE_LIMIT.value),
        (by.fetch, WaitingReason.FETCH.value),
        else_=WaitingReason.QUEUED.value,
    )
    # The sessions that wait for the same thing form one queue. External workers claim from one site at a time.
    whose = sa.case(
        (by.quota, by.id), (by.account, by.account_id), (sa.or_(by.site, by.fetch, by.external), by.site_id)
    )
    until = sa.case((by.quota, by.waiting_until))
    kept = [by.id, by.account_id, by.created_at, by.last_claimed_at, by.external, by.running]
    queued = sa.select(*kept, reason.label("reason"), whose.label("whose"), until.label("until")).subquery("queued").c
    mine = [queued.reason, queued.whose, queued.account_id]
    nth = sa.func.row_number().over(partition_by=mine, order_by=(queued.created_at, queued.id))
    # How many sessions the account runs by the time that this one is next, if none ends meanwhile.
    running_then = (queued.running + nth).label("running_then")
    kept = [queued.id, queued.created_at, queued.last_claimed_at, queued.external]
    found = sa.select(*kept, queued.reason, queued.whose, queued.until, running_then).subquery("found").c
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
    ).subquery("placed")
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
    running_here = _number(of_account.c.internal)
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
    fetching, slow = (_number(running.c[name]) for name in ("fetching", "fetching_slowly"))
    return sa.and_(slow == _ZERO, sa.or_(Site.fetch_failed_at.is_(None), fetching == _ZERO))


def _new_sessions() -> tuple[sa.Select[Any], sa.Subquery, sa.Subquery]:
    """A query for the waiting sessions, still without columns, and the running sessions of their accounts and sites.

    Of those of an account, `internal` are on our own workers. Of those of a site, `fetching` are at its repository, and
    `fetching_slowly` for long.
    """
    session = AgentRunnerSession
    internal = Site.execution == Execution.INTERNAL
    # A worker reports its first stage soon after the claim.
    fetching = sa.and_(internal, sa.or_(session.reported_stage.is_(None), session.reported_stage == Stage.FETCHING))
    slowly = sa.and_(fetching, session.started_at < db.now(-SLOW_FETCH_SECONDS))
    of_account = _running(session.account_id, internal=internal)
    of_site = _running(session.site_id, fetching=fetching, fetching_slowly=slowly)
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


def _running(whose: orm.InstrumentedAttribute[uuid.UUID], **counted: sa.ColumnElement[bool]) -> sa.Subquery:
    """The number of running sessions of each account or site: of all of them, and of those that `counted` describes."""
    counts = [sa.func.count().filter(condition).label(name) for name, condition in counted.items()]
    running = sa.select(whose.label("whose"), sa.func.count().label("all"), *counts)
    running = running.join(Site, Site.id == AgentRunnerSession.site_id)
    return running.where(AgentRunnerSession.state == SessionState.RUNNING).group_by(whose).subquery()


def _number(count: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """A count of running sessions, which is missing where there are none."""
    return sa.func.coalesce(count, _ZERO)


def _is_below(limit: orm.InstrumentedAttribute[int | None], running: sa.Subquery) -> sa.ColumnElement[bool]:
    return sa.or_(limit.is_(None), _number(running.c["all"]) < limit)


def record_fetch(site_id: uuid.UUID, *, failed: bool) -> None:
    """Note whether the repository could be fetched from. While it could not, its sessions fetch one at a time."""
    update = sa.update(Site).where(Site.id == site_id)
    db.session.execute(update.values(fetch_failed_at=db.now() if failed else None))


def has_room(account: Account, site: Site) -> bool:
    """Whether the concurrency limits allow one more session. The account and the site are locked."""
    for place, column in ((account, AgentRunnerSession.account_id), (site, AgentRunnerSession.site_id)):
        if place.max_concurrent_sessions is not None:
            mine = (column == place.id, AgentRunnerSession.state == SessionState.RUNNING)
            running = db.session.scalars(sa.select(sa.func.count()).where(*mine)).one()
            if running >= place.max_concurrent_sessions:
                return False
    return True
