"""Operations on hooks: create, read, update, delete, and replace the secret."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, keys
from app.errors import Conflict, NotFound
from app.models import Hook, HookDelivery
from app.models.states import Scope
from app.services import lookup, pagination
from app.services.callers import Caller
from app.services.hooks.authenticity import new_secret
from app.services.pagination import Listing, Page
from app.services.runners import run_settings
from app.services.runners.run_settings import RunFields
from app.services.unset import UNSET, Unset

MOST_OF_A_SITE = 50


@dataclass(frozen=True, kw_only=True)
class HookFields(RunFields):
    """The fields of a hook that a request sets. One that is left out keeps its value, or has its default."""

    name: str | Unset = UNSET
    active: bool | Unset = UNSET
    subject: str | Unset | None = UNSET
    conditions: Sequence[Mapping[str, str]] | Unset = UNSET


def create(caller: Caller, site_id: uuid.UUID, fields: HookFields) -> tuple[Hook, str]:
    """Create a hook. Returns it with its secret. Its runners are created in the name of the caller's user."""
    caller.require(Scope.ADMIN)
    run_settings.reserve_prompt(caller, fields)
    site = lookup.get_site(caller, site_id, lock=True)
    if db.session.scalars(sa.select(sa.func.count()).where(Hook.site_id == site.id)).one() >= MOST_OF_A_SITE:
        message = f"The site has {MOST_OF_A_SITE} hooks, which is the limit. Delete one, or change it."
        raise Conflict(message, error_code="too_many_hooks")
    hook = Hook(account_id=caller.account_id, site_id=site.id, user_id=caller.user_id, conditions=[])
    secret = _replace_secret(hook)
    run_settings.apply(site, hook, fields)
    db.session.add(hook)
    db.session.flush()
    return hook, secret


def get(caller: Caller, site_id: uuid.UUID, hook_id: uuid.UUID, *, lock: bool = False) -> Hook:
    """A hook of the site; raises `NotFound`."""
    caller.require(Scope.READ)
    site = lookup.get_site(caller, site_id)
    query = sa.select(Hook).where(Hook.id == hook_id, Hook.site_id == site.id)
    hook = db.session.scalar(lookup.locked(query, Hook) if lock else query)
    if hook is None:
        message = "The site has no hook with this id. GET its agent_runner_hooks for a list."
        raise NotFound(message, error_code="hook_not_found")
    return hook


def find(caller: Caller, site_id: uuid.UUID, filters: dict[str, Any]) -> Page[Hook]:
    """A page of the site's hooks, oldest first."""
    caller.require(Scope.READ)
    own = (Hook.site_id == lookup.get_site(caller, site_id).id,)
    return pagination.find(Listing(Hook, (Hook.created_at, Hook.id), [own]), filters)


def update(caller: Caller, site_id: uuid.UUID, hook_id: uuid.UUID, fields: HookFields) -> Hook:
    """Change the given fields."""
    caller.require(Scope.ADMIN)
    hook = get(caller, site_id, hook_id, lock=True)
    run_settings.reserve_prompt(caller, fields, hook)
    run_settings.apply(lookup.get_site(caller, site_id), hook, fields)
    db.session.flush()
    db.session.refresh(hook)
    return hook


def delete(caller: Caller, site_id: uuid.UUID, hook_id: uuid.UUID) -> None:
    """Delete a hook and the log of its deliveries. Runners that it created stay."""
    caller.require(Scope.ADMIN)
    hook = get(caller, site_id, hook_id, lock=True)
    db.session.execute(sa.delete(HookDelivery).where(HookDelivery.hook_id == hook.id))
    db.session.delete(hook)


def rotate_secret(caller: Caller, site_id: uuid.UUID, hook_id: uuid.UUID) -> tuple[Hook, str]:
    """Give a hook a new secret, and return both. The old one is worth nothing from then on."""
    caller.require(Scope.ADMIN)
    hook = get(caller, site_id, hook_id, lock=True)
    secret = _replace_secret(hook)
    db.session.flush()
    db.session.refresh(hook)
    return hook, secret


def find_deliveries(
    caller: Caller, site_id: uuid.UUID, hook_id: uuid.UUID, filters: dict[str, Any]
) -> Page[HookDelivery]:
    """A page of what was delivered to a hook, newest first."""
    mine = [HookDelivery.hook_id == get(caller, site_id, hook_id).id]
    order = (HookDelivery.created_at, HookDelivery.id)
    return pagination.find(Listing(HookDelivery, order, [mine], descending=True), filters)


def _replace_secret(hook: Hook) -> str:
    secret = new_secret()
    hook.secret_encrypted = keys.encrypt(secret)
    return secret
