"""What acts on runners of a site without a person: schedules, hooks, and the webhook of its forge."""

from __future__ import annotations

import datetime
import uuid
import zoneinfo
from typing import Any

from flask import Response, redirect, request, url_for

from app import db
from app.api import paging
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.errors import AppError, NotFound
from app.schemas.base import PageQuery
from app.schemas.hook import CreateHookBody
from app.schemas.schedule import CreateScheduleBody
from app.services.forge_webhooks import webhooks as forge_webhooks
from app.services.hooks import hooks
from app.services.hooks.hooks import HookFields
from app.services.schedules import runs, schedules
from app.services.schedules.schedules import ScheduleFields
from app.services.sites import sites
from app.services.sites.forges import FORGES

SHOWN_DELIVERIES = "5"


@bp.get("/sites/<uuid:site_id>/automation")
def automation(site_id: uuid.UUID) -> Response:
    return show(site_id)


def show(site_id: uuid.UUID, error: AppError | None = None, secret: tuple[str, str] | None = None) -> Response:
    """The page. `secret` is a name and a text that is shown this once."""
    with db.transaction(read_only=True):
        query = forms.load(PageQuery(), {})
        site = sites.get(caller(), site_id)
        values: dict[str, Any] = {
            "site": site,
            "schedules": [(each, _next_times(each)) for each in schedules.find(caller(), site_id, query).items],
            "hooks": [_with_deliveries(site_id, each) for each in hooks.find(caller(), site_id, query).items],
            "forge": FORGES[site.forge],
            "forge_webhook": _forge_webhook(site_id),
            "agents": forms.agents(),
            "given": request.form if error else {},
        }
        return page("sites/automation.html", error.status if error else 200, error=error, secret=secret, **values)


def _next_times(schedule: Any) -> list[datetime.datetime]:
    """In the time zone of the schedule."""
    zone = zoneinfo.ZoneInfo(schedule.timezone)
    return [time.astimezone(zone) for time in schedules.next_times(schedule)]


def _with_deliveries(site_id: uuid.UUID, hook: Any) -> tuple[Any, str, list[Any]]:
    """A hook with its address and what was delivered to it last."""
    query = forms.load(PageQuery(), {"per_page": SHOWN_DELIVERIES})
    delivered = hooks.find_deliveries(caller(), site_id, hook.id, query).items
    return hook, paging.public_url(f"/hooks/{hook.id}"), delivered


def _forge_webhook(site_id: uuid.UUID) -> tuple[Any, str, list[Any]] | None:
    """The webhook of the site's forge as `_with_deliveries`; None if there is none."""
    try:
        webhook = forge_webhooks.get(caller(), site_id)
    except NotFound:
        return None
    query = forms.load(PageQuery(), {"per_page": SHOWN_DELIVERIES})
    delivered = forge_webhooks.find_deliveries(caller(), site_id, query).items
    return webhook, paging.public_url(f"/forge_webhooks/{webhook.id}"), delivered


def back(site_id: uuid.UUID, anchor: str) -> Response:
    return redirect(url_for("console.automation", site_id=site_id, _anchor=anchor), 303)  # type: ignore[return-value]


def _run_settings() -> dict[str, Any]:
    return {**forms.filled("name", "agent", "branch"), "prompt": forms.text("prompt")}


@bp.post("/sites/<uuid:site_id>/schedules")
def create_schedule(site_id: uuid.UUID) -> Response:
    given = {**_run_settings(), **forms.filled("cron", "timezone", "overlap")}
    try:
        with db.transaction():
            schedules.create(caller(), site_id, ScheduleFields(**forms.load(CreateScheduleBody(), given)))
    except NotFound:
        raise
    except AppError as error:
        return show(site_id, error)
    return back(site_id, "schedules")


@bp.post("/sites/<uuid:site_id>/schedules/<uuid:schedule_id>/<any(run, stop, resume, delete):verb>")
def change_schedule(site_id: uuid.UUID, schedule_id: uuid.UUID, verb: str) -> Response:
    try:
        with db.transaction():
            if verb == "run":
                runs.run_now(caller(), site_id, schedule_id)
            elif verb == "delete":
                schedules.delete(caller(), site_id, schedule_id)
            else:
                schedules.update(caller(), site_id, schedule_id, ScheduleFields(active=verb == "resume"))
    except NotFound:
        raise
    except AppError as error:
        return show(site_id, error)
    return back(site_id, "schedules")


@bp.post("/sites/<uuid:site_id>/hooks")
def create_hook(site_id: uuid.UUID) -> Response:
    conditions = [line.partition("=") for line in forms.lines("conditions")]
    given = {
        **_run_settings(),
        **forms.filled("subject"),
        "conditions": [{"place": place.strip(), "equals": text.strip()} for place, _, text in conditions],
    }
    try:
        with db.transaction():
            made, text = hooks.create(caller(), site_id, HookFields(**forms.load(CreateHookBody(), given)))
    except NotFound:
        raise
    except AppError as error:
        return show(site_id, error)
    return show(site_id, secret=_secret_of(made, text))


def _secret_of(hook: Any, text: str) -> tuple[str, str]:
    return f"The secret of the hook “{hook.name or 'without a name'}”", text


@bp.post("/sites/<uuid:site_id>/hooks/<uuid:hook_id>/<any(stop, resume, rotate, delete):verb>")
def change_hook(site_id: uuid.UUID, hook_id: uuid.UUID, verb: str) -> Response:
    secret = None
    try:
        with db.transaction():
            if verb == "delete":
                hooks.delete(caller(), site_id, hook_id)
            elif verb == "rotate":
                secret = _secret_of(*hooks.rotate_secret(caller(), site_id, hook_id))
            else:
                hooks.update(caller(), site_id, hook_id, HookFields(active=verb == "resume"))
    except NotFound:
        raise
    except AppError as error:
        return show(site_id, error)
    return show(site_id, secret=secret) if secret else back(site_id, "hooks")
