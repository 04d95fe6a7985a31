"""The places of control workers: each account has one share of them, for all kinds of work that it has there.

A place is a task that holds a row: a publication, a delivery of a forge, a webhook, a comparison, a preflight or a
connection to somebody's account on a forge. A forge, a receiver or a repository that does not answer holds one for long,
so no account gets all of them, whatever it asks for.
What has to wait for a place is dispatched when other work ends, and by each sweep.
"""

from __future__ import annotations

import datetime
import functools
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from app import db, queue
from app.config import settings
from app.models import AgentRunner, Comparison, ForgeAccount, ForgeDelivery, Preflight, Publication, Webhook
from app.models.leased import Leased
from app.models.short_task import EXPIRES_SECONDS, ShortTask
from app.services import leases

Work = Leased | ShortTask
_TASKS: dict[type[Work], str] = {
    Publication: queue.PUBLISH,
    ForgeDelivery: queue.FOLLOW_FORGE,
    Webhook: queue.DELIVER_WEBHOOK,
    Comparison: queue.COMPARE_SESSIONS,
    Preflight: queue.RUN_PREFLIGHT,
    ForgeAccount: queue.CONNECT_FORGE_ACCOUNT,
}
_SHORT = (Comparison, Preflight, ForgeAccount)
_Kind = TypeVar("_Kind", bound=Work)


@dataclass(frozen=True)
class _Taken:
    """The places that are taken: by account, and by work that is slow for sure or likely to be."""

    by_account: Counter[uuid.UUID]
    slow: int
    share: int

    def full_accounts(self) -> set[uuid.UUID]:
        """The accounts that get no place now.

        Places beyond the first of an account, and any of accounts that were slow, are given only while few are taken.
        So several such accounts leave some to others.
        """
        if self.by_account.total() >= self.share:
            return {*self.by_account, *_slow_accounts()}
        return {account for account, places in self.by_account.items() if places >= self.share}

    def has_room(self, *, is_slow: bool) -> bool:
        """Whether there is room for more work of that kind. What is slow has a share for all accounts together."""
        return not is_slow or self.slow < self.share


def has_room(account_id: uuid.UUID, *, is_slow: bool = False) -> bool:
    """Whether the account may take one more place. `is_slow`: work of that kind, or this one lately, often holds it for long.

    From here on claims of control work wait for the end of this one, so that they count it. So a claim asks for this last,
    with all other locks that it needs: nobody's locks may delay the claims of others.
    """
    db.lock("control places")
    taken = _taken()
    return taken.has_room(is_slow=is_slow) and account_id not in taken.full_accounts()


def dispatch(row: Work) -> None:
    """Enqueue a locked row for the workers after the commit."""
    task = _TASKS[type(row)]
    if isinstance(row, Leased):
        leases.dispatch(row, task)
    else:
        row_id = str(row.id)
        db.after_commit(lambda: queue.send(task, row_id, expires=EXPIRES_SECONDS))


def dispatch_next() -> None:
    """Dispatch the work that has waited longest and has a place now."""
    db.session.flush()
    if not db.session.scalar(_any_waits()):
        return
    following = min(_waiting(_taken()), key=_waits_since, default=None)
    if isinstance(following, Publication):
        following.waits_for_site = False
    if following is not None:
        dispatch(following)


@functools.cache
def _any_waits() -> sa.Select[bool]:
    """Whether any work waits. Mostly none does, and then this is the only statement of each sweep about it."""
    return sa.select(sa.or_(*(sa.exists().where(_waits(model)) for model in _TASKS)))


def _waits(model: type[Work]) -> sa.ColumnElement[bool]:
    if issubclass(model, ShortTask):
        return sa.and_(model.is_pending(), model.claimed_at.is_(None))
    if issubclass(model, Publication):
        return sa.and_(model.state == model.WAITING, model.waits_for_site)
    return leases.dispatched(model)


def _taken() -> _Taken:
    rows = db.session.execute(sa.union_all(*_held())).all()
    accounts, slow = Counter(account for account, _ in rows), sum(is_slow for _, is_slow in rows)
    return _Taken(accounts, slow, settings().max_account_control_tasks)


def _held() -> Iterator[sa.Select[uuid.UUID, bool]]:
    """The account of each row that a worker holds, and whether the work is slow."""
    of_runner = AgentRunner.id == Publication.agent_runner_id
    yield sa.select(AgentRunner.account_id, sa.false()).join(Publication, of_runner).where(leases.live(Publication))
    yield sa.select(ForgeDelivery.account_id, sa.false()).where(leases.live(ForgeDelivery))
    yield sa.select(Webhook.account_id, Webhook.failing_since.is_not(None)).where(leases.live(Webhook))
    for model in _SHORT:
        yield sa.select(model.account_id, sa.true()).where(model.is_held())


def _slow_accounts() -> Iterator[uuid.UUID]:
    of_runner = AgentRunner.id == Publication.agent_runner_id
    slow = sa.select(AgentRunner.account_id).join(Publication, of_runner).where(Publication.slow_until > db.now())
    yield from db.session.scalars(slow.distinct())


def _waiting(taken: _Taken) -> Iterator[Work]:
    """Of each kind what has waited longest and there is room for. The rows are locked."""
    full = taken.full_accounts()
    publications = (
        sa.select(Publication)
        .join(AgentRunner, AgentRunner.id == Publication.agent_runner_id)
        .where(
            _waits(Publication),
            AgentRunner.account_id.not_in(full),
            AgentRunner.site_id.not_in(busy_sites()),
        )
    )
    yield from _first(publications.order_by(Publication.created_at), Publication)
    deliveries = sa.select(ForgeDelivery).where(_waits(ForgeDelivery), ForgeDelivery.account_id.not_in(full))
    yield from _first(deliveries.order_by(ForgeDelivery.updated_at), ForgeDelivery)
    webhooks = sa.select(Webhook).where(_waits(Webhook), Webhook.account_id.not_in(full))
    if not taken.has_room(is_slow=True):
        webhooks = webhooks.where(Webhook.failing_since.is_(None))
    yield from _first(webhooks.order_by(Webhook.failing_since.is_not(None), Webhook.updated_at), Webhook)
    for model in _SHORT if taken.has_room(is_slow=True) else ():
        unclaimed = sa.select(model).where(_waits(model))
        yield from _first(unclaimed.where(model.account_id.not_in(full)).order_by(model.created_at), model)


def _first(query: sa.Select[_Kind], model: type[_Kind]) -> Iterator[_Kind]:
    # What another process has locked is being claimed, or ends.
    yield from db.session.scalars(query.limit(1).with_for_update(of=model, skip_locked=True, key_share=True))


def _waits_since(row: Work) -> datetime.datetime:
    # These are still waiting when they were dispatched, so the others have their turn before them.
    return row.updated_at if isinstance(row, ForgeDelivery | Webhook) else row.created_at


def busy_sites() -> sa.Select[uuid.UUID]:
    """The sites that a worker is publishing for. One publication of a site runs at a time."""
    of_runner = Publication.agent_runner_id == AgentRunner.id
    return sa.select(AgentRunner.site_id).join(Publication, of_runner).where(leases.live(Publication))
