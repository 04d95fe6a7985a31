"""How much an account stores: uploaded files, diffs, and the prompts and steps of its sessions, and the limit on them.

The number is measured where all objects are listed anyway, when unused ones are deleted. Between two measurements it
grows with each upload URL, by what may be uploaded there, and with each long prompt. Diffs and steps count from the next
measurement on: the work of a session that has run is never refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import sqlalchemy as sa

from app import db
from app.config import settings
from app.errors import Forbidden
from app.models import Account, AgentRunnerSession

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
        "files that no session uses, or ask the operator to raise AGENT_RUNNERS_MAX_ACCOUNT_STORED_BYTES.",
        error_code="storage_full",
    )


def every_account() -> dict[uuid.UUID, int]:
    """What each account stores, in bytes, as far as is known."""
    return dict(db.session.execute(sa.select(Account.id, Account.stored_bytes)).all())


def texts_of_accounts() -> dict[uuid.UUID, int]:
    """The size of what the sessions of each account keep in the database."""
    session = AgentRunnerSession
    size = sa.cast(sa.func.sum(session.text_bytes), sa.BigInteger)
    return dict(db.session.execute(sa.select(session.account_id, size).group_by(session.account_id)).all())


def correct(before: Mapping[uuid.UUID, int], measured: Mapping[uuid.UUID, int]) -> None:
    """Replace what each account stored `before` the measurement by what was measured; what was added since stays."""
    for account_id, size in before.items():
        if difference := measured.get(account_id, 0) - size:
            changed = sa.update(Account).where(Account.id == account_id)
            db.session.execute(changed.values(stored_bytes=Account.stored_bytes + difference))
