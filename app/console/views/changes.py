"""A diff as a review: its files, by pages, and each file once it comes into view."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, request

from app import db
from app.api import diff_response, presenters
from app.console import conversation, forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.console.diff_rows import rows_of
from app.errors import NotFound
from app.schemas.base import PageQuery
from app.services.artifacts import diffs
from app.services.runners import agent_runners

KINDS = ("result", "cumulative")


def _chosen() -> dict[str, str]:
    """What the address names: a session's own diff or its cumulative one, else the runner's."""
    session_id, kind = request.args.get("session_id", ""), request.args.get("kind", "result")
    return {"session_id": session_id, "kind": kind if kind in KINDS else "result"} if session_id else {}


def _diff(runner_id: uuid.UUID, chosen: dict[str, str]) -> diffs.StoredDiff:
    if not chosen:
        return diffs.find_runner_diff(caller(), runner_id)
    try:
        session_id = uuid.UUID(chosen["session_id"])
    except ValueError:
        session_id = uuid.UUID(int=0)
    return diffs.find_session_diff(caller(), runner_id, session_id, chosen["kind"])


@bp.get("/runners/<uuid:runner_id>/changes")
def changes(runner_id: uuid.UUID) -> Response:
    query = forms.load(PageQuery(), {"page": request.args.get("page", "1")})
    chosen = _chosen()
    with db.transaction(read_only=True):
        row = agent_runners.get(caller(), runner_id)
        shown = presenters.runner(row)
        sessions = [each for each in conversation.find(caller(), runner_id, 100, 1).items if each.has_result_diff]
    try:
        found = _diff(runner_id, chosen).files(query["page"], query["per_page"])
    except NotFound as error:
        if error.error_code == "session_not_found":
            raise
        found = None
    first = (query["page"] - 1) * query["per_page"]
    return page(
        "runners/changes.html", runner=shown, found=found, first=first, chosen=chosen, sessions=list(reversed(sessions))
    )


@bp.get("/runners/<uuid:runner_id>/changes/<int:number>")
def changed_file(runner_id: uuid.UUID, number: int) -> Response:
    """One file of the diff, by its number in it."""
    chosen = _chosen()
    found = _diff(runner_id, chosen)
    files = found.files(number + 1, 1).items
    if not files:
        raise NotFound("The diff has no such file.", error_code="file_not_found")
    file = files[0]
    rows = None if file.binary else rows_of(found.read(file.offset, file.offset + file.size), file.path)
    values: dict[str, Any] = {"file": file, "rows": rows, "number": number, "chosen": chosen}
    if "HX-Request" not in request.headers:
        with db.transaction(read_only=True):
            values["runner"] = presenters.runner(agent_runners.get(caller(), runner_id))
        return page("runners/file_page.html", **values)
    return page("runners/file.html", runner_id=runner_id, **values)


@bp.get("/runners/<uuid:runner_id>/changes.diff")
def whole_diff(runner_id: uuid.UUID) -> Response:
    """The diff as `git apply` takes it."""
    return diff_response.diff(_diff(runner_id, _chosen()))
