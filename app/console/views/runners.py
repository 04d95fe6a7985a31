"""A runner: its conversation as it happens, and what people do with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from flask import Response, redirect, request, url_for

from app import db
from app.api import presenters
from app.api.event_stream import EventStream
from app.api.v1 import events
from app.console import conversation, forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.errors import AppError, Conflict, NotFound
from app.schemas.agent_runner import RebaseBody, RevertBody, UpdateRunnerBody
from app.schemas.agent_runner_session import CreateSessionBody
from app.schemas.event import ResumeHeaders
from app.services.artifacts import diffs, uploads
from app.services.event_streams import RunnerEvents
from app.services.publishing import base_drift
from app.services.runners import agent_runner_sessions, agent_runners, head, looks, purging
from app.services.runners.creation import FollowUp
from app.services.sites.forges import FORGES

SESSIONS = 20
PROMPTS = ("prompt", "agent", "model", "effort", "mode")


@bp.get("/runners/<uuid:runner_id>")
def runner(runner_id: uuid.UUID) -> Response:
    return _show(runner_id)


def _show(runner_id: uuid.UUID, error: AppError | None = None) -> Response:
    number = request.args.get("page", "1")
    with db.transaction(read_only=True):
        row = agent_runners.get(caller(), runner_id)
        base_drift.refresh_if_stale(row)
        found = conversation.find(
            caller(), runner_id, SESSIONS, int(number) if number.isdigit() and number != "0" else 1
        )
        sessions = conversation.sessions_of(reversed(found.items))
        latest = sessions[-1] if sessions and found.number == 1 else None
        steps = conversation.steps_after(latest, 0) if latest else None
        values = {**_about(row, latest), "sessions": sessions, "found": found, "steps": steps}
        is_new = bool(looks.find_news(caller(), [row]))
        response = _page_of("runners/show.html", error, **values)
    return _looked_at(runner_id, response, is_new)


def _looked_at(runner_id: uuid.UUID, response: Response, is_new: bool) -> Response:
    """Record that the caller sees the outcome, if it is new."""
    if is_new:
        with db.transaction():
            looks.look_at(caller(), runner_id)
    return response


def _page_of(template: str, error: AppError | None, **values: Any) -> Response:
    return page(template, error.status if error else 200, error=error, **values)


def _about(row: Any, latest: Any) -> dict[str, Any]:
    """What the parts beside the conversation show."""
    shown = presenters.runner(row)
    return {
        "runner": shown,
        "latest": latest,
        "may_purge": purging.may_purge(caller()),
        "can_open_pull_request": FORGES[row.site.forge].has_pull_requests,
        "agents": forms.agents(),
        "diff_tag": diffs.StoredDiff(row.diff_key).tag if row.diff_key else "",
    }


@bp.get("/runners/<uuid:runner_id>/live")
def live(runner_id: uuid.UUID) -> Response:
    """What changed: the parts of the page, and the steps after a position."""
    with db.transaction(read_only=True):
        row = agent_runners.get(caller(), runner_id)
        newest, *earlier = conversation.find(caller(), runner_id, SESSIONS, 1).items
        shown = [request.args.get("session"), request.args.get("attempt")]
        if shown != [str(newest.id), str(newest.attempt)]:
            # Another session or attempt began, so its steps are others.
            response = Response(status=200)
            response.headers["HX-Refresh"] = "true"
            return response
        latest = conversation.sessions_of([newest])[0]
        steps = conversation.steps_after(latest, request.args.get("after", 0, int))
        response = page("runners/live.html", session=latest, earlier=earlier, steps=steps, **_about(row, latest))
        response.headers["Steps-After"] = str(steps.after)
        response.headers["Steps-More"] = "false" if steps.is_all else "true"
        is_new = bool(looks.find_news(caller(), [row]))
    return _looked_at(runner_id, response, is_new)


@bp.get("/runners/<uuid:runner_id>/events")
def runner_events(runner_id: uuid.UUID) -> EventStream:
    """The events of the runner after those that the page shows."""
    last = request.headers.get("Last-Event-ID") or request.args.get("after", "0")
    position = forms.load(ResumeHeaders(), {"Last-Event-ID": last})["last_event_id"]
    return events.stream(caller(), RunnerEvents(runner_id), position)


@bp.get("/runners/<uuid:runner_id>/sessions/<uuid:session_id>")
def session(runner_id: uuid.UUID, session_id: uuid.UUID) -> Response:
    """A session by itself, with all of its prompt and its result."""
    with db.transaction(read_only=True):
        row = agent_runners.get(caller(), runner_id)
        found = agent_runner_sessions.get(caller(), runner_id, session_id)
        waiting = agent_runner_sessions.waiting([found]).get(found.id)
        shown = conversation.session_view(found, prompt_truncated=False, result_truncated=False, waiting=waiting)
        steps = conversation.steps_after(shown, request.args.get("after", 0, int))
        template = "runners/more_steps.html" if "HX-Request" in request.headers else "runners/session.html"
        return page(template, runner=presenters.runner(row), session=shown, steps=steps)


def change(runner_id: uuid.UUID, verb: Callable[[], Any], anchor: str = "") -> Response:
    """Do something in a transaction and show the runner, with the error where it was refused."""
    try:
        with db.transaction():
            verb()
    except NotFound:
        raise
    except AppError as error:
        return _show(runner_id, error)
    return redirect(url_for("console.runner", runner_id=runner_id) + anchor, 303)  # type: ignore[return-value]


@bp.post("/runners/<uuid:runner_id>/follow-up")
def follow_up(runner_id: uuid.UUID) -> Response:
    keys = request.form.getlist("file_keys")
    uploaded = uploads.find_uploaded(caller(), keys)

    def create() -> None:
        asked = agent_runners.get(caller(), runner_id).questions or []
        answers = [{"question_id": each["id"], "answer": answer} for each in asked if (answer := _answer(each["id"]))]
        given = {**forms.filled(*PROMPTS[1:]), "answers": answers, "file_keys": keys}
        if not answers or forms.text("prompt").strip():
            given["prompt"] = forms.text("prompt")
        new = FollowUp(**forms.load(CreateSessionBody(), given))
        agent_runner_sessions.create(caller(), runner_id, new, uploaded)

    return change(runner_id, create, "#end")


def _answer(question_id: str) -> str:
    """What the form answers to a question: in words, or by a choice."""
    return forms.text(f"answer-{question_id}").strip() or forms.text(f"choice-{question_id}")


@bp.post("/runners/<uuid:runner_id>/sessions/<uuid:session_id>/retry")
def retry(runner_id: uuid.UUID, session_id: uuid.UUID) -> Response:
    return change(runner_id, lambda: agent_runner_sessions.retry(caller(), runner_id, session_id), "#end")


@bp.post("/runners/<uuid:runner_id>/stop")
def stop(runner_id: uuid.UUID) -> Response:
    return change(runner_id, lambda: agent_runner_sessions.stop_active(caller(), runner_id), "#end")


@bp.post("/runners/<uuid:runner_id>/archive")
def archive(runner_id: uuid.UUID) -> Response:
    return change(runner_id, lambda: agent_runners.archive(caller(), runner_id))


@bp.post("/runners/<uuid:runner_id>/unarchive")
def unarchive(runner_id: uuid.UUID) -> Response:
    return change(runner_id, lambda: agent_runners.unarchive(caller(), runner_id))


@bp.get("/runners/<uuid:runner_id>/purge")
def purge_question(runner_id: uuid.UUID) -> Response:
    """What a purge would delete."""
    with db.transaction(read_only=True):
        row = purging.get(caller(), runner_id)
        sessions = conversation.find(caller(), runner_id, 1, 1).total
        return page("runners/purge.html", runner=presenters.runner(row), sessions=sessions)


@bp.post("/runners/<uuid:runner_id>/purge")
def purge(runner_id: uuid.UUID) -> Response:
    try:
        with db.transaction():
            purging.purge(caller(), runner_id)
    except Conflict as error:
        return _show(runner_id, error)
    return redirect(url_for("console.home"), 303)  # type: ignore[return-value]


@bp.post("/runners/<uuid:runner_id>/rename")
def rename(runner_id: uuid.UUID) -> Response:
    def rename_it() -> None:
        fields = forms.load(UpdateRunnerBody(), {"title": forms.text("title")})
        agent_runners.update(caller(), runner_id, agent_runners.RunnerUpdate(**fields), None)

    return change(runner_id, rename_it)


@bp.get("/runners/<uuid:runner_id>/revert")
def revert_preview(runner_id: uuid.UUID) -> Response:
    """What a revert would do: the files that the runner's diff has now, and would have."""
    wanted = request.args.get("session_id", "")
    fields = forms.load(RevertBody(), {"session_id": wanted or None})
    with db.transaction(read_only=True):
        row = agent_runners.get(caller(), runner_id)
        target = agent_runner_sessions.get(caller(), runner_id, fields["session_id"]) if fields["session_id"] else None
        shown = presenters.runner(row)
        newer = conversation.find(caller(), runner_id, 100, 1).items
    now = _files(lambda: diffs.find_runner_diff(caller(), runner_id))
    then = _files(lambda: diffs.find_session_diff(caller(), runner_id, target.id, "cumulative")) if target else {}
    return page("runners/revert.html", runner=shown, target=target, now=now, then=then, sessions=newer)


def _files(find: Callable[[], diffs.StoredDiff]) -> dict[str, Any]:
    """The first files of a diff by their paths; none where there is no diff."""
    try:
        return {file.path: file for file in find().files(1, 100).items}
    except NotFound:
        return {}


@bp.post("/runners/<uuid:runner_id>/revert")
def revert(runner_id: uuid.UUID) -> Response:
    def move() -> None:
        fields = forms.load(RevertBody(), {"session_id": forms.text("session_id") or None})
        head.revert(caller(), runner_id, fields["session_id"])

    return change(runner_id, move)


@bp.post("/runners/<uuid:runner_id>/refresh")
def refresh(runner_id: uuid.UUID) -> Response:
    return change(runner_id, lambda: base_drift.request_refresh(caller(), runner_id))


@bp.post("/runners/<uuid:runner_id>/rebase")
def rebase(runner_id: uuid.UUID) -> Response:
    fields = forms.load(RebaseBody(), forms.filled("resolve"))
    return change(runner_id, lambda: agent_runner_sessions.rebase(caller(), runner_id, **fields))
