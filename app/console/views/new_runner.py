"""The form for a new runner, or for one with each of several agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Response, jsonify, make_response, redirect, request, url_for
from werkzeug.datastructures import MultiDict

from app import db
from app.api.rate_limits import limited
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.errors import AppError, invalid
from app.schemas.agent_runner import CreateRunnerBody
from app.schemas.base import PageQuery
from app.schemas.upload import UploadUrlBody
from app.services.artifacts import uploads
from app.services.runners import agent_runner_sessions, agent_runners
from app.services.runners.agent_runners import Prepared
from app.services.runners.creation import NewRunner
from app.services.sites import branches, sites

LIMITS = ("max_duration_seconds", "max_cost_usd", "max_tokens")
TEXTS = ("site_id", "branch", "title", "model", "effort", "mode", "parent_agent_runner_id")
MOST_AGENTS = 8
SHOWN_BRANCHES = 30


@bp.get("/runners/new")
def new_runner() -> Response:
    return _form(_again() if "again" in request.args else request.args, None)


def _again() -> MultiDict[str, Any]:
    """The fields of the form as they were for a session, which the address names."""
    wanted = {name: forms.reference(request.args.get(name)) for name in ("again", "session")}
    with db.transaction(read_only=True):
        runner = agent_runners.get(caller(), wanted["again"])
        session = agent_runner_sessions.get(caller(), runner.id, wanted["session"])
        limits, seconds = session.limits, session.limits.get("max_duration_seconds")
        values = {
            "site_id": str(runner.site_id),
            "branch": runner.branch,
            "agent": session.agent,
            "minutes": f"{seconds / 60:g}" if seconds else None,
            **{name: getattr(session, name) for name in ("prompt", "model", "effort", "mode")},
            **{name: limits.get(name) for name in LIMITS[1:]},
            "file_keys": session.attached_file_keys,
        }
    return MultiDict({name: value for name, value in values.items() if value is not None})


def _form(values: Mapping[str, Any], error: AppError | None) -> Response:
    with db.transaction(read_only=True):
        known = sites.find(caller(), forms.load(PageQuery(), {})).items
        template = "runners/new.html" if known else "runners/no_site.html"
        status = error.status if error else 200
        return page(template, status, sites=known, agents=forms.agents(), error=error, values=values)


@bp.post("/runners")
def create_runner() -> Response:
    """Create a runner; with several agents one for each, all or none of them."""
    try:
        others = list(dict.fromkeys(name for name in request.form.getlist("also") if name != forms.text("agent")))
        if len(others) >= MOST_AGENTS:
            raise invalid("also", f"may name at most {MOST_AGENTS - 1} agents", error_code="too_many_agents")
        given = _given()
        wanted = [NewRunner(**forms.load(CreateRunnerBody(), {**given, **agent})) for agent in _agents(others)]
        uploaded = uploads.find_uploaded(caller(), given["file_keys"])
        with db.transaction():
            made = [agent_runners.create(caller(), new, Prepared(uploaded=uploaded))[0].id for new in wanted]
    except AppError as error:
        return _form(request.form, error)
    several = url_for("console.compare", runner=made)
    return redirect(several if len(made) > 1 else url_for("console.runner", runner_id=made[0]), 303)  # type: ignore[return-value]


def _agents(others: list[str]) -> list[dict[str, str]]:
    return [forms.filled("agent"), *({"agent": name} for name in others)]


def _given() -> dict[str, Any]:
    minutes = forms.number("minutes")
    duration = round(minutes * 60) if isinstance(minutes, int | float) else minutes
    limits = {"max_duration_seconds": duration, **{name: forms.number(name) for name in LIMITS[1:]}}
    return {
        **forms.filled(*TEXTS),
        "prompt": forms.text("prompt"),
        "file_keys": request.form.getlist("file_keys"),
        "limits": {name: value for name, value in limits.items() if value is not None},
    }


@bp.post("/runners/upload")
def begin_upload() -> Response:
    """Where the page's script may PUT a file, as JSON; errors are JSON too."""
    try:
        return _upload()
    except AppError as error:
        return make_response(jsonify(message=error.message), error.status, error.headers)


@limited("uploads")
def _upload() -> Response:
    given = {**forms.filled("filename", "content_type"), "size": forms.number("size")}
    with db.transaction():
        key, signed = uploads.upload_url_of_api(caller(), forms.load(UploadUrlBody(), given))
    address = urlsplit(signed.url)
    return jsonify(key=key, url=f"{address.path}?{address.query}", headers=signed.headers)


@bp.get("/branches")
def find_branches() -> Response:
    """Branches of a site to choose from, as options."""
    site_id = forms.reference(request.args.get("site_id"))
    text = request.args.get("branch") or request.args.get("target_branch", "")
    with db.transaction(read_only=True):
        found = branches.find(caller(), site_id, text.strip())
    return page("branches.html", names=found.names[:SHOWN_BRANCHES])


@bp.post("/preview")
def preview() -> Response:
    """A prompt as Markdown."""
    return page("preview.html", text=forms.text("prompt"))
