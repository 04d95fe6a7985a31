"""Operations on sites: create, read, update, delete."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from app import db, keys, queue
from app.config import settings
from app.errors import Conflict, invalid
from app.models import AgentRunnerSession, Hook, Schedule, Site
from app.models.states import ACTIVE, Execution, Forge, OnQuota, Scope, SensitiveFiles, SessionState
from app.services import lookup, pagination
from app.services.callers import Caller
from app.services.pagination import Listing, Page
from app.services.sites import ceilings, forges, git_names, guards, mcp_servers, pull_request_texts
from app.services.unset import UNSET, Unset

_DESTINATION = ("repo_url", "forge_api_url", "forge")
_DELETED_SECONDS = 86_400.0
"""For how long a site that was deleted counts. What it needed is removed after that time."""


@dataclass(frozen=True, kw_only=True)
class SiteFields:
    """The fields of a site that a request sets. One that is left out keeps its value, or has its default in a new site;
    null removes it. They have the names of their columns, except for the access token, which is stored encrypted."""

    name: str | Unset = UNSET
    repo_url: str | Unset = UNSET
    default_branch: str | Unset | None = UNSET
    forge: Forge | Unset = UNSET
    forge_api_url: str | Unset | None = UNSET
    default_agent: str | Unset | None = UNSET
    default_model: str | Unset | None = UNSET
    fallback_agents: Sequence[str] | Unset | None = UNSET
    on_quota: OnQuota | Unset = UNSET
    setup_command: str | Unset | None = UNSET
    setup_cache_files: Sequence[str] | Unset | None = UNSET
    sparse_paths: Sequence[str] | Unset | None = UNSET
    partial_clone: bool | Unset = UNSET
    protected_branches: Sequence[str] | Unset | None = UNSET
    egress_hosts: Sequence[str] | Unset = UNSET
    allow_agent_configuration: bool | Unset = UNSET
    sensitive_files: SensitiveFiles | Unset = UNSET
    pr_branch_pattern: str | Unset | None = UNSET
    pr_title_template: str | Unset | None = UNSET
    pr_body_template: str | Unset | None = UNSET
    pr_labels: Sequence[str] | Unset | None = UNSET
    pr_reviewers: Sequence[str] | Unset | None = UNSET
    pr_assignees: Sequence[str] | Unset | None = UNSET
    pr_status: bool | Unset = UNSET
    mcp_servers: Sequence[Mapping[str, Any]] | Unset | None = UNSET
    max_duration_seconds: int | Unset | None = UNSET
    max_cost_usd: Decimal | Unset | None = UNSET
    max_concurrent_sessions: int | Unset | None = UNSET
    execution: Execution | Unset = UNSET
    access_token: str | Unset | None = UNSET

    def sent(self) -> Mapping[str, Any]:
        """The fields that the request sets, with their values."""
        return {name: value for name, value in vars(self).items() if value is not UNSET}


def create(caller: Caller, fields: SiteFields) -> Site:
    """Create a site. Its name and forge are found from the address if they are left out."""
    caller.require(Scope.WRITE)
    fields = _checked(fields, caller.account_id)
    _refuse_many(caller.account_id)
    assert not isinstance(fields.repo_url, Unset)
    site = Site(
        account_id=caller.account_id,
        name=_name_in(fields.repo_url),
        forge=forges.recognize(fields.repo_url),
        default_branch=fields.default_branch or None,
        egress_hosts=[],
        partial_clone=False,
        allow_agent_configuration=False,
        sensitive_files=SensitiveFiles.WARN,
    )
    before = guards.of(site)
    _apply(site, fields)
    guards.require_admin_to_lower(caller, before, guards.of(site))
    _check_forge(site)
    db.session.add(site)
    db.session.flush()
    _refresh_mirrors(site)
    return site


def _refuse_many(account_id: uuid.UUID) -> None:
    """Raise `Conflict` if the account has as many sites as it may: each keeps rows, and a mirror on each host."""
    most = settings().max_account_sites
    if not most:
        return
    lookup.lock_account(account_id)
    counts = sa.or_(Site.deleted_at.is_(None), Site.deleted_at > db.now(-_DELETED_SECONDS))
    found = sa.select(sa.func.count()).select_from(Site).where(Site.account_id == account_id, counts)
    if db.session.scalars(found).one() >= most:
        message = f"The account has {most} sites, which is the limit; those deleted today count. Use one of them, or ask the operator."
        raise Conflict(message, error_code="too_many_sites")


def _refresh_mirrors(site: Site) -> None:
    """Make all hosts fetch the repository now. A local one is as quick to fetch when a session needs it."""
    if not git_names.is_local(site.repo_url):
        db.after_commit(queue.refresh_mirrors)


def _name_in(repo_url: str) -> str:
    """The repository's name in its address."""
    name = unquote(urlsplit(repo_url).path).rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
    return name[:200] or "repository"


def get(caller: Caller, site_id: uuid.UUID, *, lock: bool = False) -> Site:
    caller.require(Scope.READ)
    return lookup.get_site(caller, site_id, lock=lock)


def find(caller: Caller, filters: dict[str, Any]) -> Page[Site]:
    """A page of the account's sites, oldest first."""
    caller.require(Scope.READ)
    own = (Site.account_id == caller.account_id, Site.deleted_at.is_(None))
    return pagination.find(Listing(Site, (Site.created_at, Site.id), [own]), filters)


def update(caller: Caller, site_id: uuid.UUID, fields: SiteFields) -> Site:
    """Change the given fields and leave the others."""
    caller.require(Scope.WRITE)
    fields = _checked(fields, caller.account_id)
    site = lookup.get_site(caller, site_id, lock=True)
    if fields.access_token is UNSET and _changes_destination(site, fields):
        # The token was meant for the old address, so it must not be sent to the new one.
        fields = replace(fields, access_token=None)
    before = guards.of(site)
    _apply(site, fields)
    guards.require_admin_to_lower(caller, before, guards.of(site))
    _check_forge(site)
    if fields.execution is not UNSET or fields.max_concurrent_sessions is not UNSET:
        _reschedule_waiting(site)
    db.session.flush()
    db.session.refresh(site)
    _refresh_mirrors(site)
    return site


def _changes_destination(site: Site, fields: SiteFields) -> bool:
    """Whether the fields change where the access token is sent."""
    sent = fields.sent()
    return any(name in sent and sent[name] != getattr(site, name) for name in _DESTINATION)


def _reschedule_waiting(site: Site) -> None:
    """Make the sweep dispatch the waiting sessions as soon as they may run, or never if external workers run them now."""
    soonest = sa.func.coalesce(AgentRunnerSession.waiting_until, db.now())
    next_dispatch_at = soonest if site.execution == Execution.INTERNAL else sa.null()
    waiting = sa.and_(AgentRunnerSession.site_id == site.id, AgentRunnerSession.state == SessionState.NEW)
    db.session.execute(sa.update(AgentRunnerSession).where(waiting).values(next_dispatch_at=next_dispatch_at))


def delete(caller: Caller, site_id: uuid.UUID) -> None:
    """Delete the site, which hides it and its runners; raises `Conflict` while a session is active."""
    caller.require(Scope.WRITE)
    for row in (Schedule, Hook):
        # They create no runners any more, and nobody can delete them, so their prompts should not count as stored. They are
        # locked before the site, as where they create a runner.
        own = (row.site_id == site_id, row.account_id == caller.account_id)
        db.session.execute(sa.update(row).where(*own).values(prompt=""))
    site = lookup.get_site(caller, site_id, lock=True)
    active = sa.exists().where(AgentRunnerSession.site_id == site.id, AgentRunnerSession.state.in_(ACTIVE))
    if db.session.scalar(sa.select(active)):
        raise Conflict(
            "A session of this site is NEW or RUNNING. Wait until it ends, or stop it.",
            error_code="active_session_exists",
        )
    site.deleted_at = db.now()
    site.access_token_encrypted = None


def _checked(fields: SiteFields, account_id: uuid.UUID) -> SiteFields:
    """The fields with normalized branch names; raises `Invalid`."""
    if fields.repo_url is not UNSET:
        git_names.check_repo_url(fields.repo_url, account_id)
    ceilings.check(fields.sent())
    pull_request_texts.check(fields.sent())
    if fields.forge_api_url:
        git_names.check_api_url("forge_api_url", fields.forge_api_url)
    if fields.default_agent and fields.default_agent not in settings().agents:
        raise invalid("default_agent", f"must be one of {', '.join(settings().agents)}", error_code="unknown_agent")
    for named in fields.fallback_agents or ():
        if named.partition(":")[0] not in settings().agents:
            message = f"must name agents of this deployment: {', '.join(settings().agents)}"
            raise invalid("fallback_agents", message, error_code="unknown_agent")
    if fields.mcp_servers is not UNSET:
        fields = replace(fields, mcp_servers=mcp_servers.checked(fields.mcp_servers))
    if fields.default_branch:
        fields = replace(fields, default_branch=git_names.plain_branch("default_branch", fields.default_branch))
    if fields.protected_branches:
        plain = [git_names.without_prefix(pattern) for pattern in fields.protected_branches]
        fields = replace(fields, protected_branches=plain)
    return fields


def _check_forge(site: Site) -> None:
    """Refuse a forge for a local path, and a forge's address without a forge."""
    if site.forge == Forge.NONE and site.forge_api_url is not None:
        message = "has no effect without a forge; set forge as well, or leave this out"
        raise invalid("forge_api_url", message, error_code="forge_missing")
    if site.forge != Forge.NONE and git_names.is_local(site.repo_url):
        message = f"must be none: the repository is a local path, which {site.forge.value} does not host"
        raise invalid("forge", message, error_code="forge_of_local_path")


def _apply(site: Site, fields: SiteFields) -> None:
    for name, value in fields.sent().items():
        if name == "access_token":
            site.access_token_encrypted = keys.encrypt(value) if value else None
        else:
            setattr(site, name, value)
