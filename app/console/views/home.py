"""The runners as they live: what needs a person, what is in progress, and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, request

from app import db
from app.api import presenters
from app.api.event_stream import EventStream
from app.api.v1 import events
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.schemas.agent_runner import RunnerQuery
from app.schemas.base import PageQuery
from app.schemas.event import ResumeAccountHeaders
from app.services.budgets import budgets
from app.services.pagination import Page
from app.services.runners import listing, looks
from app.services.sites import sites

PER_PAGE = 50
GROUPS = (
    ("Failed", "ERROR", 10),
    ("In progress", "live", 25),
    ("Done", "DONE", 25),
)
TABS = (("", "All"), ("live", "In progress"), ("ERROR", "Failed"), ("DONE", "Done"), ("ARCHIVED", "Archived"))
COUNTED = ("live", "ERROR", "DONE")
"""The tabs that say how many runners they have."""
PR_STATES = ("open", "draft", "merged", "closed")
_FILTERS = ("q", "agent", "pr_state", "site_id", "branch")


@dataclass(frozen=True)
class Group:
    """Runners in the same states, with how many there are."""

    title: str
    states: str
    runners: list[Any]
    total: int
    is_capped: bool


@bp.get("/")
def home() -> Response:
    wanted = {name: value for name in _FILTERS if (value := request.args.get(name, "").strip())}
    states = request.args.get("state", "")
    number = request.args.get("page", "1")
    with db.transaction(read_only=True):
        if states:
            found = _find(wanted, states, PER_PAGE, number)
            groups = [_group("", states, found)]
            counts: dict[str, Any] = {each: _find(wanted, each, 1) for each in COUNTED}
        else:
            found = None
            others = {**wanted, "awaiting_input": "false"}
            listed = [_group(title, each, _find(others, each, size)) for title, each, size in GROUPS]
            asking = _find({**wanted, "awaiting_input": "true"}, "DONE", PER_PAGE)
            groups = [_group("Waiting for your answer", "", asking), *_with_news(listed)]
            counts = {each.states: each for each in listed}
            counts["DONE"] = _find(wanted, "DONE", 1)
        known = sites.find(caller(), forms.load(PageQuery(), {})).items
        values: dict[str, Any] = {
            "groups": groups,
            "found": found,
            "tabs": TABS,
            "counts": counts,
            "sites": known,
            "states": states,
            "wanted": wanted,
            "agents": forms.agents(),
            "pr_states": PR_STATES,
            "budgets": [
                each
                for each in budgets.find(caller())
                if each.budget.kind == "account" or each.budget.user_id == caller().user_id
            ],
        }
        part = "HX-Request" in request.headers
        return page("runners/list_part.html" if part else "runners/index.html", **values)


def _find(wanted: dict[str, str], states: str, per_page: int, number: str = "1") -> Page[Any]:
    query = {**wanted, "state": states, "per_page": per_page, "page": number}
    return listing.find(caller(), forms.load(RunnerQuery(), query))


def _group(title: str, states: str, found: Page[Any]) -> Group:
    return Group(title, states, presenters.runners(found.items), found.total or 0, found.is_capped)


def _with_news(groups: list[Group]) -> list[Group]:
    """The groups, where those of the newest runners that are done come after the failed ones if their pull request has
    conflicts, or if no one looked at them yet."""
    failed, active, done = groups
    news = looks.find_news(caller(), done.runners)
    conflicts = [runner for runner in done.runners if _has_conflict(runner)]
    new = [runner for runner in done.runners if runner.id in news and runner not in conflicts]
    rest = [runner for runner in done.runners if runner.id not in news and runner not in conflicts]
    return [
        failed,
        Group("Pull request with conflicts", "", conflicts, len(conflicts), False),
        Group("Done, not looked at yet", "", new, len(new), False),
        active,
        Group(done.title, done.states, rest, done.total - len(new) - len(conflicts), done.is_capped),
    ]


def _has_conflict(runner: Any) -> bool:
    """Whether the runner's pull request waits for a rebase, as far as was measured."""
    return bool(runner.conflicts) and runner.pr_state in ("open", "draft")


@bp.get("/events")
def account_events() -> EventStream:
    """The changes of state in the account, from now on."""
    last = request.headers.get("Last-Event-ID")
    resumed = forms.load(ResumeAccountHeaders(), {"Last-Event-ID": last} if last else {})
    return events.stream_of_account(caller(), resumed.get("last_event_id"))
