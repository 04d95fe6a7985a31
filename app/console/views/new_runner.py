"""The form for a new runner."""

from __future__ import annotations

from flask import Response, redirect, request, url_for

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.errors import AppError
from app.schemas.agent_runner import CreateRunnerBody
from app.schemas.base import PageQuery
from app.services.runners import agent_runners
from app.services.runners.creation import NewRunner
from app.services.sites import sites

LIMITS = ("max_duration_seconds", "max_cost_usd", "max_tokens")


@bp.get("/runners/new")
def new_runner() -> Response:
    return _form(None)


def _form(error: AppError | None) -> Response:
    with db.transaction(read_only=True):
        known = sites.find(caller(), forms.load(PageQuery(), {})).items
        values = request.form or request.args
        template = "runners/new.html" if known else "runners/no_site.html"
        status = error.status if error else 200
        return page(template, status, sites=known, agents=forms.agents(), error=error, values=values)


@bp.post("/runners")
def create_runner() -> Response:
    minutes = forms.number("minutes")
    duration = round(minutes * 60) if isinstance(minutes, int | float) else minutes
    limits = {"max_duration_seconds": duration, **{name: forms.number(name) for name in LIMITS[1:]}}
    given = {
        **forms.filled("site_id", "branch", "title", "agent", "model", "effort", "mode", "parent_agent_runner_id"),
        "prompt": forms.text("prompt"),
        "limits": {name: value for name, value in limits.items() if value is not None},
    }
    try:
        fields = forms.load(CreateRunnerBody(), given)
        with db.transaction():
            runner, _ = agent_runners.create(caller(), NewRunner(**fields), {})
    except AppError as error:
        return _form(error)
    return redirect(url_for("console.runner", runner_id=runner.id), 303)  # type: ignore[return-value]


@bp.post("/preview")
def preview() -> Response:
    """A prompt as Markdown."""
    return page("preview.html", text=forms.text("prompt"))
