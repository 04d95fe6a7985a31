"""The sites: the repositories that runners work on."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, redirect, request, url_for

from app import db
from app.api import presenters
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.errors import AppError
from app.schemas.agent_runner import RunnerQuery
from app.schemas.base import PageQuery
from app.schemas.site import CreateSiteBody, UpdateSiteBody
from app.services.preflights.preflights import Found
from app.services.runners import listing
from app.services.sites import github_apps, sites
from app.services.sites.forges import FORGES
from app.services.sites.sites import SiteFields
from app.services.variables import variables

TEXTS = (
    *("default_branch", "forge_api_url", "default_agent", "default_model", "setup_command"),
    *("pr_branch_pattern", "pr_title_template", "pr_body_template"),
)
NAMES = ("fallback_agents", "pr_labels", "pr_reviewers", "pr_assignees")
LISTS = ("protected_branches", "egress_hosts")
NUMBERS = ("max_duration_seconds", "max_cost_usd", "max_concurrent_sessions")


@bp.get("/sites")
def site_list() -> Response:
    with db.transaction(read_only=True):
        query = forms.load(PageQuery(), {"page": request.args.get("page", "1"), "per_page": "50"})
        return page("sites/index.html", found=sites.find(caller(), query), uses_app=github_apps.find_repository)


@bp.get("/sites/new")
def new_site() -> Response:
    return _form("sites/new.html", None)


def _form(template: str, error: AppError | None, *, is_of_form: bool = True, **values: Any) -> Response:
    given = request.form if error and is_of_form else None
    choices = {"agents": forms.agents(), "forges": {each.value: known.name for each, known in FORGES.items()}}
    status = error.status if error else 200
    uses_app = github_apps.find_repository
    return page(template, status, error=error, given=given, uses_app=uses_app, **choices, **values)


@bp.post("/sites")
def create_site() -> Response:
    given = {**_fields(is_new=True), **forms.filled("forge")}
    try:
        with db.transaction():
            site = sites.create(caller(), SiteFields(**forms.load(CreateSiteBody(), given)))
    except AppError as error:
        return _form("sites/new.html", error)
    return redirect(url_for("console.new_runner", site_id=site.id), 303)  # type: ignore[return-value]


def _fields(*, is_new: bool) -> dict[str, Any]:
    """The fields of the form. In a new site those left blank have their defaults; in an old one they are removed."""
    given: dict[str, Any] = {name: forms.text(name).strip() or None for name in TEXTS}
    given |= {name: forms.number(name) for name in NUMBERS}
    given |= {name: forms.lines(name) for name in LISTS}
    given |= {name: forms.names(name) or None for name in NAMES}
    given["sparse_paths"] = forms.lines("sparse_paths") or None
    given["partial_clone"] = forms.flag("partial_clone")
    given["allow_agent_configuration"] = forms.flag("allow_agent_configuration")
    given["pr_status"] = forms.flag("pr_status")
    given["sensitive_files"] = "refuse" if forms.flag("refuse_sensitive_files") else "warn"
    given["on_quota"] = "wait" if forms.flag("waits_for_quota") else "fail"
    if is_new:
        given = {name: value for name, value in given.items() if value not in (None, [])}
    elif not forms.text("protected_branches").strip():
        given["protected_branches"] = None
    # An empty list says that setup is run in each session.
    given["setup_cache_files"] = [] if forms.flag("always_sets_up") else forms.lines("setup_cache_files") or None
    return {**given, **forms.filled("name", "repo_url", "access_token")}


@bp.get("/sites/<uuid:site_id>")
def site(site_id: uuid.UUID) -> Response:
    return show(site_id, None)


def show(
    site_id: uuid.UUID, error: AppError | None, *, is_of_form: bool = True, preflight: Found | None = None
) -> Response:
    """The page of a site. `is_of_form`: the error is about the fields of the site, which keep what was written there."""
    with db.transaction(read_only=True):
        row = sites.get(caller(), site_id)
        query = forms.load(RunnerQuery(), {"site_id": str(site_id), "per_page": "5"})
        recent = presenters.runners(listing.find(caller(), query).items)
        query = forms.load(PageQuery(), {})
        own = variables.find(caller(), site_id, query).items
        names = {each.name for each in own}
        inherited = [each for each in variables.find(caller(), None, query).items if each.name not in names]
        values = {"site": row, "recent": recent, "variables": own, "inherited": inherited}
        return _form("sites/show.html", error, is_of_form=is_of_form, preflight=preflight, **values)


@bp.post("/sites/<uuid:site_id>")
def update_site(site_id: uuid.UUID) -> Response:
    given = {**_fields(is_new=False), **forms.filled("forge")}
    try:
        with db.transaction():
            sites.update(caller(), site_id, SiteFields(**forms.load(UpdateSiteBody(), given)))
    except AppError as error:
        if error.status == 404:
            raise
        return show(site_id, error)
    return redirect(url_for("console.site", site_id=site_id, saved=1), 303)  # type: ignore[return-value]


@bp.post("/sites/<uuid:site_id>/delete")
def delete_site(site_id: uuid.UUID) -> Response:
    try:
        with db.transaction():
            sites.delete(caller(), site_id)
    except AppError as error:
        if error.status == 404:
            raise
        return show(site_id, error)
    return redirect(url_for("console.site_list"), 303)  # type: ignore[return-value]
