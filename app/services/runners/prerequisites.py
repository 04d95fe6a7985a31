"""What a new session depends on: its site, its user, and the room in the account's queue."""

from __future__ import annotations

import datetime
import functools
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from app import db
from app.config import settings
from app.errors import TooMany
from app.models import Account, AgentRunner, AgentRunnerSession, Budget, Site, User
from app.models.states import SessionState
from app.redaction.secrets import Secrets
from app.services import lookup
from app.services.accounts import storage
from app.services.budgets import sums
from app.services.budgets.spending import Payers
from app.services.callers import Caller
from app.services.sites import site_secrets
from app.services.variables import values as variables


@dataclass(frozen=True)
class Background:
    """What one query finds. The site can be neither changed nor deleted while the transaction is in progress."""

    site: Site
    user: User
    latest: AgentRunnerSession | None
    """The latest session of the runner, which may have a later one by the time that the runner is locked."""
    max_queued: int | None
    stored_bytes: int
    queued: int
    has_budget: bool
    has_variables: bool
    now: datetime.datetime

    def secrets(self) -> Secrets:
        """What must not be shown of the site and the deployment."""
        return site_secrets.secrets_of(self.site, None if self.has_variables else variables.Variables())

    def refuse_exhausted_budget(self, runner: AgentRunner) -> None:
        """Raise `TooMany` if a budget that a session of the runner would use is used up."""
        if self.has_budget:
            sums.refuse_exhausted(Payers(self.site.account_id, self.site.id, self.user.id, runner.schedule_id))

    def refuse_full_storage(self) -> None:
        """Raise `Forbidden` if the account stores as much as it may."""
        storage.refuse_full(self.stored_bytes)

    def refuse_full_queue(self) -> None:
        """Raise `TooMany` if the account's queue is full.

        The account's own limit is exact: other requests wait meanwhile. The deployment's, which keeps the queue from
        growing without end, is not: sessions that are created at the same moment may exceed it.
        """
        most, queued = self.max_queued or settings().max_queued_sessions, self.queued
        if self.max_queued is not None:
            # The last lock that is taken, so that no one who has it waits for another one.
            db.lock(f"queue of {self.site.account_id}")
            queued = db.session.scalars(_queued(self.site.account_id)).one()
        if queued >= most:
            message = (
                f"{queued} sessions of this account are waiting. The limit is {most}. Wait until some have started."
            )
            raise TooMany(message, error_code="queue_full", headers={"Retry-After": "30"})


def of_site(caller: Caller, site_id: uuid.UUID) -> Background:
    """The background of a new runner's first session; raises `NotFound` if the caller has no such site."""
    found = db.session.execute(_of_site(), {**_own(caller), "site_id": site_id}).one_or_none()
    if found is None:
        raise lookup.no_site()
    return _background(found)


def of_runner(caller: Caller, runner_id: uuid.UUID) -> Background:
    """The background of a follow-up; raises `NotFound` if the caller has no such runner."""
    found = db.session.execute(_of_runner(), {**_own(caller), "runner_id": runner_id}).one_or_none()
    if found is None:
        raise lookup.no_runner()
    return _background(found)


def _own(caller: Caller) -> dict[str, uuid.UUID]:
    return {"account_id": caller.account_id, "user_id": caller.user_id}


def _background(row: Any) -> Background:
    site, user, max_queued, stored_bytes, queued, has_budget, has_variables, now, latest = row
    return Background(site, user, latest, max_queued, stored_bytes, queued, has_budget, has_variables, now)


@functools.cache
def _of_site() -> sa.Select[*tuple[Any, ...]]:
    return _query().add_columns(sa.null()).where(Site.id == sa.bindparam("site_id"))


@functools.cache
def _of_runner() -> sa.Select[*tuple[Any, ...]]:
    return (
        _query()
        .add_columns(AgentRunnerSession)
        .join(AgentRunner, AgentRunner.site_id == Site.id)
        .outerjoin(AgentRunnerSession, AgentRunnerSession.id == AgentRunner.latest_session_id)
        .options(orm.lazyload(AgentRunnerSession.user))
        .where(AgentRunner.id == sa.bindparam("runner_id"), AgentRunner.account_id == sa.bindparam("account_id"))
    )


def _query() -> sa.Select[*tuple[Any, ...]]:
    queued = _queued(sa.bindparam("account_id")).scalar_subquery()
    has_budget = sa.exists().where(Budget.account_id == sa.bindparam("account_id"))
    has_variables = sa.exists().where(variables.are_of(Site))
    columns = (Account.max_queued_sessions, Account.stored_bytes, queued, has_budget, has_variables, db.now())
    query = (
        sa.select(Site, User, *columns)
        .join(Account, Account.id == Site.account_id)
        .join(User, User.id == sa.bindparam("user_id"))
        .where(Site.account_id == sa.bindparam("account_id"), Site.deleted_at.is_(None))
    )
    # Sessions of a site can be created concurrently, but a change of the site, or its deletion, waits for them.
    return query.with_for_update(of=Site, read=True).execution_options(populate_existing=True)


def _queued(account_id: uuid.UUID | sa.BindParameter[Any]) -> sa.Select[int]:
    """The number of waiting sessions of an account."""
    mine = (AgentRunnerSession.account_id == account_id, AgentRunnerSession.state == SessionState.NEW)
    return sa.select(sa.func.count()).where(*mine)
