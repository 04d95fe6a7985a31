"""Operations on sites: create, read, update, delete."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from app import db, keys
from app.config import settings
from app.errors import Conflict, invalid
from app.models import AgentRunnerSession, Site
from app.models.states import ACTIVE, Execution, Forge, Scope, SessionState
from app.services import lookup, pagination
from app.services.callers import Caller
from app.services.pagination import Listing, Page
from app.services.sites import forges, git_names

_DESTINATION = ("repo_url", "forge_api_url", "forge")


def create(caller: Caller, fields: dict[str, Any]) -> Site:
    """Create a site."""
    caller.require(Scope.WRITE)
    fields = _checked(fields)
    site = Site(account_id=caller.account_id)
    _apply(site, {**_defaults(fields["repo_url"]), **fields})
    _check_forge(site)
    db.session.add(site)
    db.session.flush()
    return site


def _defaults(repo_url: str) -> dict[str, Any]:
    """Defaults from an address: the repository's name, and the forge if the host is a well-known one."""
    name = unquote(urlsplit(repo_url).path).rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
    return {"name": name[:200] or "repository", "forge": forges.recognize(repo_url)}


def get(caller: Caller, site_id: uuid.UUID) -> Site:
    caller.require(Scope.READ)
    return lookup.get_site(caller, site_id)


def find(caller: Caller, filters: dict[str, Any]) -> Page[Site]:
    """A page of the account's sites, oldest first."""
    caller.require(Scope.READ)
    own = (Site.account_id == caller.account_id, Site.deleted_at.is_(None))
    return pagination.find(Listing(Site, (Site.created_at, Site.id), [own]), filters)


def update(caller: Caller, site_id: uuid.UUID, fields: dict[str, Any]) -> Site:
    """Change the given fields and leave the others."""
    caller.require(Scope.WRITE)
    fields = _checked(fields)
    site = lookup.get_site(caller, site_id, lock=True)
    if "access_token" not in fields and _changes_destination(site, fields):
        # The token was meant for the old address, so it must not be sent to the new one.
        fields = {**fields, "access_token": None}
    _apply(site, fields)
    _check_forge(site)
    if fields.keys() & {"execution", "max_concurrent_sessions"}:
        _reschedule_waiting(site)
    db.session.flush()
    db.session.refresh(site)
    return site


def _changes_destination(site: Site, fields: dict[str, Any]) -> bool:
    """Whether the fields change where the access token is sent."""
    return any(name in fields and fields[name] != getattr(site, name) for name in _DESTINATION)


def _reschedule_waiting(site: Site) -> None:
    """Make the sweep dispatch the waiting sessions at once, or never if external workers run them now."""
    next_dispatch_at = db.now() if site.execution == Execution.INTERNAL else sa.null()
    waiting = sa.and_(AgentRunnerSession.site_id == site.id, AgentRunnerSession.state == SessionState.NEW)
    db.session.execute(sa.update(AgentRunnerSession).where(waiting).values(next_dispatch_at=next_dispatch_at))


def delete(caller: Caller, site_id: uuid.UUID) -> None:
    """Delete the site, which hides it and its runners; raises `Conflict` while a session is active."""
    caller.require(Scope.WRITE)
    site = lookup.get_site(caller, site_id, lock=True)
    active = sa.exists().where(AgentRunnerSession.site_id == site.id, AgentRunnerSession.state.in_(ACTIVE))
    if db.session.scalar(sa.select(active)):
        raise Conflict(
            "A session of this site is NEW or RUNNING. Wait until it ends, or stop it.",
            error_code="active_session_exists",
        )
    site.deleted_at = db.now()
    site.access_token_encrypted = None


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with normalized branch names; raises `Invalid`."""
    if "repo_url" in fields:
        git_names.check_repo_url(fields["repo_url"])
    if fields.get("forge_api_url") is not None:
        git_names.check_api_url("forge_api_url", fields["forge_api_url"])
    if fields.get("default_agent") is not None and fields["default_agent"] not in settings().agents:
        raise invalid("default_agent", f"must be one of {', '.join(settings().agents)}", error_code="unknown_agent")
    fields = git_names.with_plain_branches(fields, "default_branch")
    if fields.get("protected_branches") is not None:
        plain = [git_names.without_prefix(pattern) for pattern in fields["protected_branches"]]
        fields = {**fields, "protected_branches": plain}
    return fields


def _check_forge(site: Site) -> None:
    """Refuse a forge for a local path, and a forge's address without a forge."""
    if site.forge == Forge.NONE and site.forge_api_url is not None:
        message = "has no effect without a forge; set forge as well, or leave this out"
        raise invalid("forge_api_url", message, error_code="forge_missing")
    if site.forge != Forge.NONE and git_names.is_local(site.repo_url):
        message = f"must be none: the repository is a local path, which {site.forge.value} does not host"
        raise invalid("forge", message, error_code="forge_of_local_path")


def _apply(site: Site, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name == "access_token":
            site.access_token_encrypted = keys.encrypt(value) if value else None
        else:
            setattr(site, name, value)
