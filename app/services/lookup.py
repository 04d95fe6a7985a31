"""Finds rows in the caller's account, and locks them in one fixed order: account, site, runner, session."""

from __future__ import annotations

import functools
import uuid
from typing import TypeVarTuple

import sqlalchemy as sa
from sqlalchemy import orm

from app import db
from app.errors import NotFound
from app.models import Account, AgentRunner, AgentRunnerSession, Base, Site
from app.models.leased import Leased
from app.services.callers import Caller

Ts = TypeVarTuple("Ts")


def lock_account(account_id: uuid.UUID) -> Account:
    return db.session.scalars(locked(sa.select(Account).where(Account.id == account_id), Account)).one()


def lock_site(site_id: uuid.UUID) -> Site:
    return db.session.scalars(locked(sa.select(Site).where(Site.id == site_id), Site)).one()


def get_site(caller: Caller, site_id: uuid.UUID, *, lock: bool = False) -> Site:
    """The caller's site; raises `NotFound` if it is deleted or belongs to another account."""
    query = sa.select(Site).where(Site.id == site_id, Site.account_id == caller.account_id, Site.deleted_at.is_(None))
    site = db.session.scalar(locked(query, Site) if lock else query)
    if site is None:
        raise no_site()
    return site


def get_runner(caller: Caller, runner_id: uuid.UUID, *, lock: bool = False) -> AgentRunner:
    """The caller's runner; raises `NotFound` if it belongs to another account or its site is deleted."""
    query = _own_runner(caller, runner_id)
    return _found(db.session.scalar(locked(query, AgentRunner) if lock else query))


def get_parent(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    """Do as `get_runner` for a runner that a new one begins with. Nobody can delete it until the new one is there."""
    query = _own_runner(caller, runner_id).with_for_update(of=AgentRunner, read=True, key_share=True)
    return _found(db.session.scalar(query.execution_options(populate_existing=True)))


def get_runner_to_delete(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    """Do as `get_runner`, with a lock for which those wait, too, who add a row that refers to the runner."""
    query = _own_runner(caller, runner_id).with_for_update(of=AgentRunner)
    return _found(db.session.scalar(query.execution_options(populate_existing=True)))


def _own_runner(caller: Caller, runner_id: uuid.UUID) -> sa.Select[AgentRunner]:
    own = (AgentRunner.id == runner_id, AgentRunner.account_id == caller.account_id, Site.deleted_at.is_(None))
    return sa.select(AgentRunner).join(AgentRunner.site).where(*own)


def _found(runner: AgentRunner | None) -> AgentRunner:
    if runner is None:
        raise no_runner()
    return runner


def no_site() -> NotFound:
    return NotFound("Your account has no site with this id. GET /sites lists them.", error_code="site_not_found")


def no_runner() -> NotFound:
    message = "Your account has no agent runner with this id. GET /agent_runners lists them."
    return NotFound(message, error_code="agent_runner_not_found")


def get_session(runner: AgentRunner, session_id: uuid.UUID, *, lock: bool = False) -> AgentRunnerSession:
    """A session of that runner; raises `NotFound`."""
    query = sa.select(AgentRunnerSession).where(
        AgentRunnerSession.id == session_id, AgentRunnerSession.agent_runner_id == runner.id
    )
    session = db.session.scalar(locked(query, AgentRunnerSession) if lock else query)
    if session is None:
        message = "This agent runner has no session with this id. GET the sessions of the runner for a list."
        raise NotFound(message, error_code="session_not_found")
    return session


def find_active_session(runner: AgentRunner) -> AgentRunnerSession | None:
    """The runner's session that is NEW or RUNNING, locked."""
    query = sa.select(AgentRunnerSession).where(
        AgentRunnerSession.agent_runner_id == runner.id, AgentRunnerSession.state.in_(("NEW", "RUNNING"))
    )
    return db.session.scalar(locked(query, AgentRunnerSession))


def lock_session(session_id: uuid.UUID) -> tuple[AgentRunner, AgentRunnerSession] | None:
    """A session and its runner, of any account, locked in order; None if there is no such session."""
    found = db.session.execute(_locked_session(), {"session_id": session_id}).one_or_none()
    return (found[0], found[1]) if found else None


@functools.cache
def _locked_session() -> sa.Select[AgentRunner, AgentRunnerSession]:
    query = (
        sa.select(AgentRunner, AgentRunnerSession)
        .join(AgentRunnerSession, AgentRunnerSession.agent_runner_id == AgentRunner.id)
        .where(AgentRunnerSession.id == sa.bindparam("session_id"))
        .options(orm.lazyload(AgentRunner.user), orm.lazyload(AgentRunnerSession.user))
    )
    return locked(query, AgentRunner, AgentRunnerSession)


def locked(query: sa.Select[*Ts], *models: type[Base]) -> sa.Select[*Ts]:
    """The query, with a lock on the rows of `models` that it finds, in that order."""
    # A write to a runner or a session makes Postgres lock the account and the site that it refers to against deletion.
    # That must not wait for us, out of order, so this is the weaker lock that allows such references.
    # What was read before the lock was granted may be stale, so the row is read again.
    query = query.with_for_update(of=models, key_share=True).execution_options(populate_existing=True)
    clocks = [orm.with_expression(model.locked_at, db.now()) for model in models if issubclass(model, Leased)]
    return query.options(*clocks)
