"""A diff as a review: its files, by pages. The first are there at once, and each other one once it comes into view."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any
from urllib.parse import urlencode

from flask import Response, redirect, request, url_for

from app import db
from app.api import diff_response, presenters
from app.console import conversation, diff_images, diff_layout, forms, viewed
from app.console.access import caller
from app.console.blueprint import bp, page
from app.console.diff_rows import Rows, rows_of
from app.console.diff_search import search
from app.console.generated import is_generated
from app.errors import AppError, Conflict, NotFound
from app.schemas.base import PageQuery
from app.services.artifacts import diffs
from app.services.artifacts.diff_files import DiffFile
from app.services.runners import agent_runners, comparisons, looks
from app.services.sites import branches

KINDS = ("result", "cumulative")
ALL = "all"
LAYOUTS = ("unified", "split")
FIRST_BYTES, MOST_SHOWN_BYTES = 30_000, 500_000
"""How much of a diff a page shows at once, and at most if it is asked for with all of its files."""


def chosen() -> dict[str, str]:
    """What the address names: a session's own diff or its cumulative one, a comparison of two sessions, or else the
    runner's diff."""
    session_id, kind = request.args.get("session_id", ""), request.args.get("kind", "result")
    if session_id and session_id != ALL:
        return {"session_id": session_id, "kind": kind if kind in KINDS else "result"}
    comparison = "" if session_id else request.args.get("comparison", "")
    return {"comparison": comparison} if comparison else {}


def layout() -> dict[str, str]:
    """How the diff is shown, if not as it is by default: `view` is split, `space` is ignored."""
    view = request.args.get("view") or request.cookies.get("view", "")
    space = {"space": "ignore"} if request.args.get("space") == "ignore" else {}
    return {**({"view": "split"} if view == "split" else {}), **space}


def find_diff(runner_id: uuid.UUID, wanted: dict[str, str]) -> diffs.StoredDiff:
    if not wanted:
        return diffs.find_runner_diff(caller(), runner_id)
    if "comparison" in wanted:
        return comparisons.find_diff(caller(), runner_id, forms.reference(wanted["comparison"]))
    return diffs.find_session_diff(caller(), runner_id, forms.reference(wanted["session_id"]), wanted["kind"])


@bp.get("/runners/<uuid:runner_id>/changes")
def changes(runner_id: uuid.UUID) -> Response:
    return show_changes(runner_id)


def show_changes(runner_id: uuid.UUID, error: AppError | None = None) -> Response:
    query = forms.load(PageQuery(), {"page": request.args.get("page", "1")})
    wanted, shown_as = chosen(), layout()
    with db.transaction(read_only=True):
        row = agent_runners.get(caller(), runner_id)
        shown = presenters.runner(row)
        sessions = conversation.find(caller(), runner_id, 100, 1).items
        marks = looks.find_viewed(caller(), runner_id)
        patterns = branches.find_generated(caller(), row.site_id)
        is_new = bool(looks.find_news(caller(), [row]))
        compared = _find_comparison(runner_id, wanted)
    if is_new:
        with db.transaction():
            looks.look_at(caller(), runner_id)
    diff = found = hits = None
    is_viewed: list[bool] = []
    generated: list[bool] = []
    contents: dict[int, dict[str, Any]] = {}
    wants_all = request.args.get("files") == "shown"
    first = (query["page"] - 1) * query["per_page"]
    try:
        diff = find_diff(runner_id, wanted)
        found = diff.files(query["page"], query["per_page"])
        is_viewed = viewed.find_viewed(diff, found.items, marks)
        if text := request.args.get("q", "").strip():
            hits = _search(diff, text, query["per_page"])
        generated = [is_generated(file.path, patterns) for file in found.items]
        by_hand = {number: file for number, file in enumerate(found.items, first) if not generated[number - first]}
        contents = _contents(diff, by_hand, MOST_SHOWN_BYTES if wants_all else FIRST_BYTES)
    except NotFound as missing:
        if missing.error_code in ("session_not_found", "comparison_not_found"):
            raise
    response = page(
        "runners/changes.html",
        error.status if error else 200,
        error=error,
        layout=shown_as,
        query=urlencode({**wanted, **shown_as}),
        hits=hits,
        runner=shown,
        found=found,
        viewed=is_viewed,
        generated=generated,
        can_mark=found is not None and viewed.can_mark(found.items),
        version=diff.tag if diff else "",
        first=first,
        contents=contents,
        can_show_more=not wants_all and len(contents) < generated.count(False),
        chosen=wanted,
        draft=draft_name(runner_id, wanted),
        sessions=list(enumerate(reversed(sessions), 1)),
        compared=compared,
        agents=forms.reading_agents(),
    )
    if request.args.get("view") in LAYOUTS:
        response.set_cookie("view", request.args["view"], max_age=365 * 86_400, samesite="Lax", httponly=True)
    return response


def _find_comparison(runner_id: uuid.UUID, wanted: dict[str, str]) -> comparisons.Found | None:
    if "comparison" not in wanted:
        return None
    return comparisons.get(caller(), runner_id, forms.reference(wanted["comparison"]))


def _contents(diff: diffs.StoredDiff, files: dict[int, DiffFile], most: int) -> dict[int, dict[str, Any]]:
    """What the first files contain, by their numbers: they are there at once, and do not move the others when they come."""
    shown: dict[int, dict[str, Any]] = {}
    size = 0
    for number, file in files.items():
        size += file.size
        if size > most:
            break
        shown[number] = _content(diff, file)
    return shown


def _content(diff: diffs.StoredDiff, file: DiffFile) -> dict[str, Any]:
    """The rows of a file, laid out as the address says, or its pictures."""
    rows, shown_as = _rows(diff, file), layout()
    if rows and "space" in shown_as:
        rows = dataclasses.replace(rows, rows=diff_layout.without_space_changes(rows.rows))
    pairs = diff_layout.side_by_side(rows.rows) if rows and "view" in shown_as else None
    images = _images(diff, file)
    return {"rows": rows, "pairs": pairs, "images": [side for side in ("before", "after") if side in images]}


def _rows(diff: diffs.StoredDiff, file: DiffFile) -> Rows | None:
    return None if file.binary else rows_of(diff.read(file.offset, file.offset + file.size), file.path)


def _search(diff: diffs.StoredDiff, text: str, per_page: int) -> dict[str, Any]:
    """The lines that contain the text, each with the path of its file and the page that shows it."""
    found = search(diff.read(0, diff.size), text)
    paths = {hit.file: diff.files(hit.file + 1, 1).items[0].path for hit in found.hits}
    lines = [{"hit": hit, "path": paths[hit.file], "page": hit.file // per_page + 1} for hit in found.hits]
    return {"text": text, "lines": lines, "is_cut": found.is_cut}


def draft_name(runner_id: uuid.UUID, wanted: dict[str, str]) -> str:
    """What browsers keep the comments on a diff under until they are sent."""
    return ":".join(["review", str(runner_id), *wanted.values()])


def read_file(diff: diffs.StoredDiff, number: int) -> tuple[DiffFile, Rows | None]:
    """A file of the diff by its number, and its rows, which a binary file has not."""
    file = _get_file(diff, number)
    return file, _rows(diff, file)


def _get_file(diff: diffs.StoredDiff, number: int) -> DiffFile:
    files = diff.files(number + 1, 1).items
    if not files:
        raise NotFound("The diff has no such file.", error_code="file_not_found")
    return files[0]


@bp.get("/runners/<uuid:runner_id>/changes/<int:number>")
def changed_file(runner_id: uuid.UUID, number: int) -> Response:
    """One file of the diff, by its number in it."""
    return show_file(runner_id, number)


def show_file(runner_id: uuid.UUID, number: int, error: AppError | None = None) -> Response:
    wanted = chosen()
    diff = find_diff(runner_id, wanted)
    file = _get_file(diff, number)
    values = {"file": file, "number": number, "total": diff.total, "query": urlencode(wanted), **_content(diff, file)}
    if "HX-Request" in request.headers:
        return page("runners/file.html", runner_id=runner_id, **values)
    with db.transaction(read_only=True):
        values["runner"] = presenters.runner(agent_runners.get(caller(), runner_id))
    status = error.status if error else 200
    return page(
        "runners/file_page.html", status, error=error, version=diff.tag, agents=forms.reading_agents(), **values
    )


def _images(diff: diffs.StoredDiff, file: DiffFile) -> dict[str, tuple[str, bytes]]:
    """The pictures that a binary file was and is, as far as the diff contains them."""
    if not file.binary or file.size > diff_images.MOST_PATCH_BYTES:
        return {}
    return diff_images.find(b"".join(diff.read(file.offset, file.offset + file.size)))


@bp.get("/runners/<uuid:runner_id>/changes/<int:number>/<any(before, after):side>")
def image(runner_id: uuid.UUID, number: int, side: str) -> Response:
    """A picture of the diff."""
    diff = find_diff(runner_id, chosen())
    files = diff.files(number + 1, 1).items
    found = _images(diff, files[0]) if files else {}
    if side not in found:
        raise NotFound("The diff has no such picture.", error_code="file_not_found")
    kind, content = found[side]
    return Response(content, content_type=kind)


@bp.post("/runners/<uuid:runner_id>/changes/<int:number>/viewed")
def mark_viewed(runner_id: uuid.UUID, number: int) -> Response:
    """Mark a file as viewed by the caller, or remove the mark."""
    diff = find_diff(runner_id, chosen())
    if request.form.get("version") != diff.tag:
        raise Conflict("The diff has changed since the page was loaded. Reload it.", error_code="diff_changed")
    file = _get_file(diff, number)
    digest = viewed.digest_of(diff.read(file.offset, file.offset + file.size))
    with db.transaction():
        looks.mark(caller(), runner_id, digest, is_viewed=forms.flag("viewed"))
    if "HX-Request" in request.headers:
        return Response(status=204)
    values: dict[str, Any] = {"runner_id": runner_id, **chosen()}
    return redirect(url_for("console.changes", **values) + f"#file-{number}", 303)  # type: ignore[return-value]


@bp.get("/runners/<uuid:runner_id>/changes.diff")
def whole_diff(runner_id: uuid.UUID) -> Response:
    """The diff as `git apply` takes it."""
    return diff_response.diff(find_diff(runner_id, chosen()))
