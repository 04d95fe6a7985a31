"""The accounts that people have on forges: connected with a token of theirs, listed, removed, and found for their work.

A control worker asks the forge whose token it is. Nobody but the person sees an account, and it is used for nothing that
somebody else asks for.
"""

from __future__ import annotations

import contextlib
import datetime
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, keys
from app.errors import Conflict, NotFound, invalid
from app.keys import SecretKeyChanged
from app.models import ForgeAccount, User
from app.models.states import Forge, ForgeAccountState, Scope
from app.services import audit, control_places, lookup, pagination, short_tasks
from app.services.callers import Caller
from app.services.pagination import Listing, Page
from app.services.sites import git_names
from app.services.sites.forges import FORGES, server_of

MOST_PENDING = 4
"""Of an account at once."""
CONNECTABLE = tuple(forge for forge, known in FORGES.items() if known.has_pull_requests)


@dataclass(frozen=True)
class Found:
    """An account as it is now: where no worker has asked the forge in time, it has failed."""

    row: ForgeAccount
    state: ForgeAccountState
    failure: dict[str, Any] | None


def connect(caller: Caller, *, forge: Forge, forge_api_url: str | None, token: str) -> Found:
    """Store an account of the caller's user, and have a worker ask the forge whose token it is.

    One that has failed on the same server is replaced. Raises `Conflict` if there is another one.
    """
    caller.require(Scope.WRITE)
    api_url = _api_url(forge, forge_api_url)
    lookup.lock_account(caller.account_id)
    short_tasks.refuse_many(ForgeAccount, caller.account_id, MOST_PENDING, error_code="too_many_forge_accounts")
    for known in _on_server(caller.user_id, forge, api_url):
        if _found(known, _now()).state != ForgeAccountState.FAILED:
            message = f"You have connected an account at {api_url} already. Remove it first to connect another one."
            raise Conflict(message, error_code="forge_account_exists")
        db.session.delete(known)
    db.session.flush()
    row = ForgeAccount(
        account_id=caller.account_id,
        user_id=caller.user_id,
        forge=forge,
        forge_api_url=api_url,
        token_encrypted=keys.encrypt(token),
    )
    db.session.add(row)
    db.session.flush()
    audit.record(caller, "forge_account.created", str(row.id), **_described(row))
    control_places.dispatch(row)
    return _found(row, _now())


def find(caller: Caller, filters: dict[str, Any]) -> Page[Found]:
    """A page of the accounts of the caller's user, oldest first."""
    caller.require(Scope.READ)
    own = [ForgeAccount.user_id == caller.user_id]
    page = pagination.find(Listing(ForgeAccount, (ForgeAccount.created_at, ForgeAccount.id), [own]), filters)
    now = _now()
    return page.map(lambda row: _found(row, now))


def get(caller: Caller, forge_account_id: uuid.UUID) -> Found:
    """An account of the caller's user; raises `NotFound`."""
    caller.require(Scope.READ)
    return _found(_get(caller, forge_account_id), _now())


def delete(caller: Caller, forge_account_id: uuid.UUID) -> None:
    """Delete an account of the caller's user with its token; raises `NotFound`."""
    caller.require(Scope.WRITE)
    row = _get(caller, forge_account_id)
    db.session.delete(row)
    audit.record(caller, "forge_account.deleted", str(row.id), **_described(row))


def delete_all(user_id: uuid.UUID) -> None:
    """Delete all accounts of a user."""
    db.session.execute(sa.delete(ForgeAccount).where(ForgeAccount.user_id == user_id))


def claim(forge_account_id: uuid.UUID) -> ForgeAccount | None:
    """Claim an account that is to be connected. None means: drop the message."""
    query = sa.select(ForgeAccount).where(ForgeAccount.id == forge_account_id)
    row = db.session.scalar(lookup.locked(query, ForgeAccount))
    return row if row is not None and short_tasks.begin(row) else None


def succeed(forge_account_id: uuid.UUID, *, login: str, name: str, email: str | None) -> None:
    """Record whose account it is, as the forge says."""
    if row := db.session.get(ForgeAccount, forge_account_id):
        row.state, row.login, row.name, row.email = ForgeAccountState.CONNECTED, login, name, email
        short_tasks.end(row)


def fail(forge_account_id: uuid.UUID, code: str, message: str) -> None:
    """Record why it is not known whose account it is."""
    if row := db.session.get(ForgeAccount, forge_account_id):
        row.state, row.token_encrypted = ForgeAccountState.FAILED, None
        row.failure = {"code": code, "message": message}
        short_tasks.end(row)


def known_tokens(accounts: Iterable[ForgeAccount]) -> Iterator[str]:
    """The tokens of the accounts. One that cannot be decrypted cannot leak either, and is left out.

    Of `e-mail:token` the token is secret without the rest, too.
    """
    for account in accounts:
        with contextlib.suppress(SecretKeyChanged):
            token = token_of(account)
            yield token
            if password := token.partition(":")[2]:
                yield password


def token_of(account: ForgeAccount) -> str:
    """The token in plain text. Raises `SecretKeyChanged`."""
    return keys.decrypt(account.token_encrypted or "", "The token of your account on the forge")


def find_connected(user_ids: Collection[uuid.UUID], forge: Forge) -> list[ForgeAccount]:
    """The connected accounts of users who are not disabled, on all servers of that kind, oldest first."""
    theirs = (ForgeAccount.user_id.in_(user_ids), ForgeAccount.forge == forge)
    usable = (ForgeAccount.state == ForgeAccountState.CONNECTED, User.disabled_at.is_(None))
    query = sa.select(ForgeAccount).join(User, User.id == ForgeAccount.user_id).where(*theirs, *usable)
    return list(db.session.scalars(query.order_by(ForgeAccount.created_at, ForgeAccount.id)))


def _api_url(forge: Forge, given: str | None) -> str:
    """The address of the forge's server, in one spelling."""
    known = FORGES[forge]
    if not known.has_pull_requests:
        raise invalid("forge", f"must be one of {', '.join(CONNECTABLE)}", error_code="forge_without_accounts")
    url = given or known.api_url
    if url is None:
        message = f"is needed for {known.name}: each organization and each server has an address of its own"
        raise invalid("forge_api_url", message, error_code="forge_api_url_missing")
    git_names.check_api_url("forge_api_url", url)
    return server_of(forge, url)


def _on_server(user_id: uuid.UUID, forge: Forge, server: str) -> list[ForgeAccount]:
    """The accounts of a user on a server. Earlier releases stored its address as it was given, so there may be several."""
    query = sa.select(ForgeAccount).where(ForgeAccount.user_id == user_id, ForgeAccount.forge == forge)
    return [each for each in db.session.scalars(query) if server_of(forge, each.forge_api_url) == server]


def _described(row: ForgeAccount) -> dict[str, Any]:
    return {"forge": row.forge.value, "forge_api_url": row.forge_api_url}


def _get(caller: Caller, forge_account_id: uuid.UUID) -> ForgeAccount:
    mine = (ForgeAccount.id == forge_account_id, ForgeAccount.user_id == caller.user_id)
    row = db.session.scalar(sa.select(ForgeAccount).where(*mine))
    if row is None:
        message = "You have no account on a forge with this id. GET /account/forge_accounts lists yours."
        raise NotFound(message, error_code="forge_account_not_found")
    return row


def _found(row: ForgeAccount, now: datetime.datetime) -> Found:
    if short_tasks.is_lost(row, now):
        return Found(row, ForgeAccountState.FAILED, {"code": "forge_account_expired", "message": short_tasks.LOST})
    return Found(row, row.state, row.failure)


def _now() -> datetime.datetime:
    return db.session.scalars(sa.select(db.now())).one()
