"""How much an account stores: uploaded files, diffs, the prompts and steps of its sessions, and the prompts of its schedules
and hooks, and the limit on them.

The number is measured where all objects are listed anyway, when unused ones are deleted. Between two measurements it
grows with each upload URL, by what may be uploaded there, with each long prompt, and with the prompts of schedules and hooks.
Diffs and steps count from the next
measurement on: the work of a session that has run is never refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import sqlalchemy as sa

from app import db
from app.config import settings
from app.errors import Forbidden
from app.models import Account, AgentRunnerSession, Event, Hook, Schedule
from app.models.states import ACTIVE
from app.services import events

_LONG_BYTES = 16 * 1024


def reserve(account_id: uuid.UUID, size: int) -> None:
    """Count `size` bytes that may be uploaded; raises `Forbidden` if the account may not store so much more."""
    added = sa.update(Account).where(Account.id == account_id).values(stored_bytes=Account.stored_bytes + size)
    if most := settings().max_account_stored_bytes:
        added = added.where(Account.stored_bytes + size <= most)
    if db.session.scalar(added.returning(Account.id)) is None:
        raise full()


def reserve_prompt(account_id: uuid.UUID, prompt: str) -> None:
    """Count a long prompt; raises `Forbidden` as `reserve` does. Short ones count from the next measurement on, so that the
    requests of an account need not wait for each other.

    This locks the account, so nothing that is locked after it may be locked yet.
    """
    if (size := len(prompt.encode())) >= _LONG_BYTES:
        reserve(account_id, size)


def refuse_full(stored: int) -> None:
    """Raise `Forbidden` if an account that stores so many bytes may create nothing that stores more."""
    if settings().max_account_stored_bytes and stored >= settings().max_account_stored_bytes:
        raise full()


def full() -> Forbidden:
    return Forbidden(
        f"The account stores as much as it may: {settings().max_account_stored_bytes} bytes of files, diffs, prompts and steps. Delete "
        "files that no session uses, schedules and hooks, or ask the operator to raise AGENT_RUNNERS_MAX_ACCOUNT_STORED_BYTES.",
        error_code="storage_full",
    )


def every_account() -> dict[uuid.UUID, int]:
    """What each account stores, in bytes, as far as is known."""
    return dict(db.session.execute(sa.select(Account.id, Account.stored_bytes)).all())


def texts_of_accounts() -> dict[uuid.UUID, int]:
    """The size of what the sessions, schedules and hooks of each account keep in the database."""
    session = AgentRunnerSession
    prompts = (sa.select(each.account_id, db.byte_length(each.prompt)) for each in (Schedule, Hook))
    sizes = sa.union_all(sa.select(session.account_id, session.text_bytes.label("size")), *prompts).subquery()
    size = sa.cast(sa.func.sum(sizes.c.size), sa.BigInteger)
    return dict(db.session.execute(sa.select(sizes.c.account_id, size).group_by(sizes.c.account_id)).all())


def measure_earlier_texts(most: int) -> bool:
    """Measure so many ended sessions of releases that did not. Returns whether there were any."""
    session, event = AgentRunnerSession, Event
    title, message = (db.byte_length(event.payload[name].as_string()) for name in ("title", "message"))
    of_session = (event.session_id == session.id, event.kind == events.STEP)
    steps = sa.select(sa.func.sum(title + message)).where(*of_session).scalar_subquery()
    result = sa.func.coalesce(db.byte_length(session.result), 0)
    size = db.byte_length(session.prompt) + result + sa.func.coalesce(steps, 0)
    # One that is empty gets a byte, so that it is not measured again.
    measured = sa.update(session).values(text_bytes=sa.case((size == 0, 1), else_=size)).returning(session.id)
    unmeasured = sa.select(session.id).where(session.text_bytes == 0, session.state.not_in(ACTIVE)).limit(most)
    return bool(db.session.scalars(measured.where(session.id.in_(unmeasured))).all())


def correct(before: Mapping[uuid.UUID, int], measured: Mapping[uuid.UUID, int]) -> None:
    """Replace what each account stored `before` the measurement by what was measured; what was added since stays."""
    for account_id, size in before.items():
        if difference := measured.get(account_id, 0) - size:
            changed = sa.update(Account).where(Account.id == account_id)
            db.session.execute(changed.values(stored_bytes=Account.stored_bytes + difference))
