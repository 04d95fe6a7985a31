"""The people of an account and their roles: added, listed, changed, removed."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from marshmallow import ValidationError, validate

from app import db
from app.errors import Conflict, NotFound, invalid
from app.models import User
from app.models.states import Role, Scope
from app.services import audit, lookup, pagination
from app.services.accounts import forge_accounts, tokens
from app.services.callers import Caller, scope_within
from app.services.pagination import Listing, Page
from app.services.unset import UNSET, Unset

LONGEST_EMAIL = 320
ROLES = tuple(role.value for role in Role)


@dataclass(frozen=True, kw_only=True)
class MemberFields:
    """What a request changes about a member. What is left out keeps its value."""

    full_name: str | Unset = UNSET
    role: Role | Unset = UNSET
    disabled: bool | Unset = UNSET


def create_user(account_id: uuid.UUID, email: str, full_name: str, role: Role) -> User:
    """Create a user; raises `Invalid` for a malformed address, and `Conflict` if another user has it."""
    try:
        validate.And(validate.Length(max=LONGEST_EMAIL), validate.Email())(email)
    except ValidationError:
        message = f"{email!r} is not an email address, such as ada@example.org"
        raise invalid("email", message, error_code="bad_email") from None
    # Addresses are unique over all accounts, whose locks differ.
    db.lock("users")
    if db.session.scalar(sa.select(User.id).where(User.email == email)) is not None:
        raise Conflict(
            f"A user with the address {email} exists already. Use another address.", error_code="user_exists"
        )
    user = User(account_id=account_id, email=email, full_name=full_name, role=role)
    db.session.add(user)
    db.session.flush()
    return user


def create(caller: Caller, email: str, full_name: str, role: Role) -> tuple[User, str]:
    """Add a member; returns it with the text of a token that allows what its role does."""
    caller.require(Scope.ADMIN)
    lookup.lock_account(caller.account_id)
    user = create_user(caller.account_id, email, full_name, role)
    audit.record(caller, "member.created", str(user.id), role=role.value)
    return user, tokens.create(user, scope_within(role, Scope.ADMIN), "invitation")[1]


def find(caller: Caller, filters: dict[str, Any]) -> Page[User]:
    """A page of the members of the account, oldest first."""
    caller.require(Scope.READ)
    own = [User.account_id == caller.account_id]
    return pagination.find(Listing(User, (User.created_at, User.id), [own]), filters)


def get(caller: Caller, member_id: uuid.UUID) -> User:
    """A member of the account; raises `NotFound`."""
    caller.require(Scope.READ)
    user = db.session.scalar(sa.select(User).where(User.id == member_id, User.account_id == caller.account_id))
    if user is None:
        raise NotFound(
            "Your account has no member with this id. GET /account/members lists them.", error_code="member_not_found"
        )
    return user


def update(caller: Caller, member_id: uuid.UUID, fields: MemberFields) -> User:
    """Change the given fields. Raises `Conflict` if no administrator would be left."""
    caller.require(Scope.ADMIN)
    lookup.lock_account(caller.account_id)
    user = get(caller, member_id)
    given = {name: value for name, value in asdict(fields).items() if value is not UNSET}
    if "full_name" in given:
        user.full_name = given["full_name"]
    if "role" in given:
        user.role = given["role"]
    if given.get("disabled") is True and user.disabled_at is None:
        user.disabled_at = db.session.scalar(sa.select(db.now()))
    elif given.get("disabled") is False:
        user.disabled_at = None
    _require_administrator(caller.account_id)
    audit.record(caller, "member.updated", str(user.id), **given)
    return user


def remove(caller: Caller, member_id: uuid.UUID) -> None:
    """Disable a member, revoke all of its tokens and delete its accounts on forges. It stays in the list: runners name it.

    Raises `Conflict` if no administrator would be left.
    """
    update(caller, member_id, MemberFields(disabled=True))
    tokens.revoke_all(member_id)
    forge_accounts.delete_all(member_id)


def _require_administrator(account_id: uuid.UUID) -> None:
    db.session.flush()
    is_one = (User.account_id == account_id, User.role == Role.ADMIN, User.disabled_at.is_(None))
    if db.session.scalar(sa.select(User.id).where(*is_one).limit(1)) is None:
        message = "The account would have no administrator left. Make another member one first."
        raise Conflict(message, error_code="last_administrator")
