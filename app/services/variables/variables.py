"""Operations on variables: create, read, update, delete. Without a site, they are those of the account."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from app.errors import Conflict, NotFound, invalid
from app.keys import SecretKeyChanged
from app.models import Variable
from app.models.states import Scope, VariableStage
from app.redaction.secrets import SHORTEST
from app.services import audit, lookup, pagination
from app.services.callers import Caller
from app.services.pagination import Listing, Page
from app.services.unset import UNSET, Unset
from app.services.variables import binding, names, values

MOST = 50
"""Of a site, and of an account."""
MOST_BYTES = 8192


@dataclass(frozen=True, kw_only=True)
class VariableFields:
    """The fields of a variable that a request sets. One that is left out keeps its value, or has its default."""

    value: str | Unset = UNSET
    secret: bool | Unset = UNSET
    stage: VariableStage | Unset = UNSET
    host: str | Unset | None = UNSET
    header: str | Unset | None = UNSET


def create(caller: Caller, site_id: uuid.UUID | None, name: str, fields: VariableFields) -> Variable:
    """Create a variable; raises `Invalid` and `Conflict`."""
    caller.require(Scope.ADMIN)
    names.check(name)
    # The lock makes the count and the look-up exact.
    lookup.get_site(caller, site_id, lock=True) if site_id else lookup.lock_account(caller.account_id)
    taken = set(db.session.scalars(sa.select(Variable.name).where(*_own(caller, site_id))))
    if name in taken:
        message = f"There is a variable {name} here already. Change it, or delete it first."
        raise Conflict(message, error_code="variable_exists")
    if len(taken) >= MOST:
        raise Conflict(
            f"There are {MOST} variables here, which is the limit. Delete one.", error_code="too_many_variables"
        )
    variable = Variable(
        account_id=caller.account_id, site_id=site_id, name=name, secret=True, stage=VariableStage.AGENT, version=0
    )
    _apply(caller, variable, fields, "variable.created")
    db.session.add(variable)
    db.session.flush()
    return variable


def get(caller: Caller, site_id: uuid.UUID | None, variable_id: uuid.UUID, *, lock: bool = False) -> Variable:
    """A variable of the site, or of the account; raises `NotFound`."""
    caller.require(Scope.READ)
    query = sa.select(Variable).where(Variable.id == variable_id, *_own(caller, site_id))
    variable = db.session.scalar(lookup.locked(query, Variable) if lock else query)
    if variable is None:
        message = "There is no variable with this id here. GET the variables for a list."
        raise NotFound(message, error_code="variable_not_found")
    return variable


def find(caller: Caller, site_id: uuid.UUID | None, filters: dict[str, Any]) -> Page[Variable]:
    """A page of the variables of the site, or of the account, oldest first."""
    caller.require(Scope.READ)
    keys = (Variable.created_at, Variable.id)
    return pagination.find(Listing(Variable, keys, [_own(caller, site_id)]), filters)


def update(caller: Caller, site_id: uuid.UUID | None, variable_id: uuid.UUID, fields: VariableFields) -> Variable:
    """Change the given fields. A secret stays one, and stays bound to its host unless its value is given again."""
    caller.require(Scope.ADMIN)
    variable = get(caller, site_id, variable_id, lock=True)
    binding.refuse_release(variable, fields.host, fields.value)
    if variable.secret and fields.secret is False:
        message = "must stay true: the value of a secret is never shown. Delete the variable and create it again"
        raise invalid("secret", message, error_code="secret_stays_secret")
    _apply(caller, variable, fields, "variable.updated")
    db.session.flush()
    db.session.refresh(variable)
    return variable


def delete(caller: Caller, site_id: uuid.UUID | None, variable_id: uuid.UUID) -> None:
    """Delete a variable. Sessions that run already keep it."""
    caller.require(Scope.ADMIN)
    variable = get(caller, site_id, variable_id, lock=True)
    audit.record(caller, "variable.deleted", variable.name, site_id, **_described(variable))
    db.session.delete(variable)


def shown_value(variable: Variable) -> str | None:
    """The value; None for a secret, and for what was encrypted with another key."""
    with contextlib.suppress(SecretKeyChanged):
        return None if variable.secret else values.decrypt(variable)
    return None


def _own(caller: Caller, site_id: uuid.UUID | None) -> tuple[sa.ColumnElement[bool], ...]:
    """The condition for the variables of the caller's site, or of the account; raises `NotFound`."""
    if site_id is None:
        return (Variable.account_id == caller.account_id, Variable.site_id.is_(None))
    return (Variable.site_id == lookup.get_site(caller, site_id).id,)


def _apply(caller: Caller, variable: Variable, fields: VariableFields, action: str) -> None:
    if not isinstance(fields.secret, Unset):
        variable.secret = fields.secret
    if not isinstance(fields.stage, Unset):
        variable.stage = fields.stage
    if not isinstance(fields.host, Unset):
        variable.host = fields.host
    if not isinstance(fields.header, Unset):
        variable.header = fields.header
    value = values.decrypt(variable) if isinstance(fields.value, Unset) else fields.value
    _check(value, is_secret=variable.secret)
    binding.check(variable, value)
    if not isinstance(fields.value, Unset):
        variable.value_encrypted, variable.fingerprint = values.encrypt(value)
    variable.version += 1
    variable.updated_by = caller.user_id
    changed = [name for name, given in asdict(fields).items() if given is not UNSET]
    audit.record(caller, action, variable.name, variable.site_id, **_described(variable), changed=changed)


def _check(value: str, *, is_secret: bool) -> None:
    size = len(value.encode())
    if size > MOST_BYTES:
        message = f"must have at most {MOST_BYTES} bytes of UTF-8. Fetch larger ones in the setup command"
        raise invalid("value", message, error_code="value_too_long")
    if is_secret and size < SHORTEST:
        message = (
            f"must have at least {SHORTEST} bytes: a shorter secret could not be redacted from logs and steps. Use a "
            "longer one, or set secret to false"
        )
        raise invalid("value", message, error_code="secret_too_short")


def _described(variable: Variable) -> dict[str, Any]:
    return {
        "version": variable.version,
        "secret": variable.secret,
        "stage": variable.stage.value,
        "host": variable.host,
        "header": variable.header,
        "fingerprint": variable.fingerprint,
    }
