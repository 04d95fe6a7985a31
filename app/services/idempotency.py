"""Stores the first answer to a POST under the caller's key, so that a repeat does not do the work twice."""

from __future__ import annotations

import functools
import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, keys
from app.errors import Conflict, Invalid, NotFound
from app.models import IdempotencyKey, Token, User
from app.services.callers import Caller

GONE = 404
"""The status of an answer whose body is forgotten."""
KEPT_SECONDS = 24 * 3600.0
_UNIQUE = ("token_id", "key", "method", "path")
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
        return {name: getattr(self, name) for name in _UNIQUE}


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
    if _insert(asked, body_digest=asked.body_digest):
        return None
    kept = db.session.scalars(sa.select(IdempotencyKey).filter_by(**asked.name)).one()
    if kept.body_digest not in (asked.body_digest, asked.plain_digest):
        raise Reused(
            "Idempotency-Key: was used with another body. Use a new key for another request.",
            errors={"Idempotency-Key": ["was used with another body"]},
        )
    if kept.status is None:
        raise InFlight(_NOT_ANSWERED)
    if kept.status == GONE and kept.body is None:
        message = "The agent runner of the first request with this Idempotency-Key was purged."
        raise NotFound(message, error_code="agent_runner_not_found")
    return Answer(kept.status, kept.headers or {}, kept.body or "")


def keep(asked: Repeatable, answer: Answer) -> None:
    """Store the answer to the request that claimed the key."""
    its_name = {f"its_{name}": value for name, value in asked.name.items()}
    values = {"status": answer.status, "headers": answer.headers, "body": answer.body}
    db.session.execute(_update(), {**its_name, **values})


@functools.cache
def _update() -> sa.Update:
    """Sets the columns that are given in the row whose name is given with `its_` before each part of it."""
    table: Any = IdempotencyKey.__table__
    return sa.update(table).where(*(table.c[name] == sa.bindparam(f"its_{name}") for name in _UNIQUE))


def keep_refusal(asked: Repeatable, answer: Answer) -> None:
    """Store the error answer to a request whose own transaction, and with it the key, was rolled back."""
    _insert(asked, body_digest=asked.body_digest, status=answer.status, headers=answer.headers, body=answer.body)


def forget_expired() -> None:
    """Delete the answers that are older than `KEPT_SECONDS`."""
    db.session.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < db.now(-KEPT_SECONDS)))


def forget_runner(account_id: uuid.UUID, runner_id: uuid.UUID) -> None:
    """Forget the answers that show a runner of the account, which is purged. The key of the request that created it stays,
    so that a repeat does not create another one."""
    row = IdempotencyKey
    tokens = sa.select(Token.id).join(User, User.id == Token.user_id).where(User.account_id == account_id)
    is_answered = (row.token_id.in_(tokens), row.status.is_not(None))
    created_it = sa.cast(row.headers, sa.Text).contains(f"/agent_runners/{runner_id}")
    for statement in (
        sa.delete(row).where(*is_answered, row.path.contains(f"/agent_runners/{runner_id}/")),
        sa.update(row).where(*is_answered, created_it).values(status=GONE, headers=sa.null(), body=sa.null()),
    ):
        db.session.execute(statement.execution_options(synchronize_session=False))


def _insert(asked: Repeatable, **values: Any) -> bool:
    """Insert the row, in the place of one that is too old, unless there is another one; waits for a transaction that has
    just inserted it."""
    row = {**asked.name, **values}
    insert = _insertion(tuple(row), db.dialect())
    try:
        inserted = db.session.execute(insert, {f"new_{name}": value for name, value in row.items()})
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise InFlight(_NOT_ANSWERED) from None
        raise
    return inserted.first() is not None


@functools.cache
def _insertion(names: tuple[str, ...], dialect: str) -> Any:
    """The statement of `_insert` for the columns of these names, which takes `new_` and the name of each."""
    # Of the table, because parameters of an INSERT of the ORM are always the values of a row.
    table: Any = IdempotencyKey.__table__
    row = sa.select(*(sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names))
    insert = db.insert(table).from_select([*names], row.where(_patience("2s", dialect)))
    replaced = {name: insert.excluded[name] for name in ("created_at", "body_digest", "status", "headers", "body")}
    too_old = table.c.created_at < db.now(-KEPT_SECONDS)
    insert = insert.on_conflict_do_update(index_elements=_UNIQUE, set_=replaced, where=too_old)
    return insert.returning(table.c.id, _patience(None, dialect))


def _patience(longest: str | None, dialect: str) -> sa.ColumnElement[bool]:
    """Has Postgres wait so long for a lock at most, from where this is evaluated to the end of the transaction. None: as
    long as it is configured to."""
    return sa.true() if dialect == "sqlite" else sa.func.set_config("lock_timeout", longest, True).is_not(None)
