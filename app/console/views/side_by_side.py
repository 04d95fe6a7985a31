"""Runners side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, request

from app import db
from app.api import presenters
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.console.conversation import session_view
from app.errors import NotFound
from app.services.artifacts import diffs
from app.services.artifacts.diff_files import DiffFile
from app.services.runners import agent_runner_sessions, agent_runners

MOST = 8
FILES = 100


@dataclass(frozen=True)
class Compared:
    """A runner with its latest session and the first files of its diff."""

    runner: Any
    session: Any
    files: list[DiffFile]
    total: int


@bp.get("/compare")
def compare() -> Response:
    """The runners that the address names, in its order."""
    ids = dict.fromkeys(forms.reference(text) for text in request.args.getlist("runner")[:MOST])
    with db.transaction(read_only=True):
        rows = [agent_runners.get(caller(), runner_id) for runner_id in ids]
        shown = presenters.runners(rows)
        sessions = [agent_runner_sessions.get(caller(), row.id, row.latest_session.id) for row in shown]
    pairs = [(runner, session_view(session)) for runner, session in zip(shown, sessions, strict=True)]
    found = [Compared(runner, session, *_files(runner)) for runner, session in pairs]
    template = "runners/compared.html" if "HX-Request" in request.headers else "runners/compare.html"
    return page(template, compared=found)


def _files(runner: Any) -> tuple[list[DiffFile], int]:
    try:
        page = diffs.find_runner_diff(caller(), runner.id).files(1, FILES)
    except NotFound:
        return [], 0
    return page.items, page.total or 0
