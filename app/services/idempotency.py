"""Stores the first answer to a POST under the caller's key, so that a repeat does not do the work twice."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, keys
from app.errors import Conflict, Invalid
from app.models import IdempotencyKey
from app.services.callers import Caller

KEPT_SECONDS = 24 * 3600.0
_LOCK_NOT_AVAILABLE = "55P03"
_NOT_ANSWERED = "The first request with this Idempotency-Key is still in progress. Try again shortly."


class InFlight(Conflict):
    """The first request with this key has not been answered yet."""

    error_code = "idempotency_in_flight"


class Reused(Invalid):
    """The key was used for another request."""

    error_code = "idempotency_key_reused"


@dataclass(frozen=True)
class Repeatable:
    """A POST with a key: the token, the key, and digests of the body."""

    token_id: uuid.UUID
    key: str
    method: str
    path: str
    body_digest: str
    plain_digest: str
    """As the release before stored it: a repeat after an upgrade is one."""

    @property
    def name(self) -> dict[str, Any]:
        return {"token_id": self.token_id, "key": self.key, "method": self.method, "path": self.path}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def repeatable(caller: Caller, key: str, method: str, path: str, body: bytes) -> Repeatable:
    # A body can hold a short secret, which a plain hash would show to whoever reads the table and tries them all.
    return Repeatable(caller.token_id, key, method, path, keys.digest(body), hashlib.sha256(body).hexdigest())


def begin(asked: Repeatable) -> Answer | None:
    """Claim the key in the transaction in progress; returns the answer to an earlier request, if there was one.

    On Postgres this waits up to two seconds for a request in flight. On SQLite the start of the transaction waited.
    """
    name = [getattr(IdempotencyKey, column) == value for column, value in asked.name.items()]
    too_old = IdempotencyKey.created_at < db.now(-KEPT_SECONDS)
    db.session.execute(sa.delete(IdempotencyKey).where(*name, too_old))
    if _insert(asked, body_digest=asked.body_digest):
        return None
    kept = db.session.scalars(sa.select(IdempotencyKey).where(*name)).one()
    if kept.body_digest not in (asked.body_digest, asked.plain_digest):
        raise Reused(
            "Idempotency-Key: was used with another body. Use a new key for another request.",
            errors={"Idempotency-Key": ["was used with another body"]},
        )
    if kept.status is None:
        raise InFlight(_NOT_ANSWERED)
    return Answer(kept.status, kept.headers or {}, kept.body or "")


def keep(asked: Repeatable, answer: Answer) -> None:
    """Store the answer to the request that claimed the key."""
    name = [getattr(IdempotencyKey, column) == value for column, value in asked.name.items()]
    values = {"status": answer.status, "headers": answer.headers, "body": answer.body}
    db.session.execute(sa.update(IdempotencyKey).where(*name).values(values))


def keep_refusal(asked: Repeatable, answer: Answer) -> None:
    """Store the error answer to a request whose own transaction, and with it the key, was rolled back."""
    _insert(asked, body_digest=asked.body_digest, status=answer.status, headers=answer.headers, body=answer.body)


def forget_expired() -> None:
    """Delete the answers that are older than `KEPT_SECONDS`."""
    db.session.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < db.now(-KEPT_SECONDS)))


def _insert(asked: Repeatable, **values: Any) -> bool:
    """Insert the row unless there is one; waits for a transaction that has just inserted it."""
    statement = (
        db.insert(IdempotencyKey).values(**asked.name, **values).on_conflict_do_nothing().returning(IdempotencyKey.id)
    )
    if db.dialect() == "sqlite":
        return db.session.scalar(statement) is not None
    db.session.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
    try:
        inserted = db.session.scalar(statement) is not None
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise InFlight(_NOT_ANSWERED) from None
        raise
    db.session.execute(sa.text("SET LOCAL lock_timeout TO DEFAULT"))
    return inserted
