"""Comments on a diff, sent to the agent as one follow-up."""

from __future__ import annotations

import functools
import re
import uuid

from flask import Response, redirect, request, url_for

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp
from app.console.review import MOST_COMMENTS, Comment, parse_lines, prompt_of, quoted
from app.console.views import diff as diff_view
from app.errors import AppError, NotFound, invalid
from app.schemas.agent_runner_session import CreateSessionBody
from app.services.runners import agent_runner_sessions
from app.services.runners.creation import FollowUp

_NUMBER = re.compile("[0-9]{1,9}")
_FIELDS = ("file", "path", "version", "lines", "comment")


@bp.post("/runners/<uuid:runner_id>/review")
def send_review(runner_id: uuid.UUID) -> Response:
    """Send the comments of the form, each of which has the fields `_FIELDS`."""
    try:
        given = {"prompt": prompt_of(forms.text("note"), _comments(runner_id)), **forms.filled("agent")}
        new = FollowUp(**forms.load(CreateSessionBody(), given))
        with db.transaction():
            agent_runner_sessions.create(caller(), runner_id, new, {})
    except NotFound:
        raise
    except AppError as error:
        # Without scripts a form is about one file, and shows what was written.
        only = forms.text("only")
        return (
            diff_view.show_file(runner_id, int(only), error)
            if _NUMBER.fullmatch(only)
            else diff_view.show_changes(runner_id, error)
        )
    address = url_for("console.runner", runner_id=runner_id, reviewed=_draft_name(runner_id))
    return redirect(f"{address}#end", 303)  # type: ignore[return-value]


def _draft_name(runner_id: uuid.UUID) -> str:
    return diff_view.draft_name(runner_id, diff_view.chosen())


def _comments(runner_id: uuid.UUID) -> list[Comment]:
    rows = zip(*(request.form.getlist(name) for name in _FIELDS), strict=False)
    written = [row for row in rows if row[-1].strip()][: MOST_COMMENTS + 1]
    if not written:
        raise invalid("comment", "must not be empty; write what should change", error_code="no_comment")
    if len(written) > MOST_COMMENTS:
        raise invalid(
            "comment", f"may be at most {MOST_COMMENTS}; send the rest afterwards", error_code="too_many_comments"
        )
    diff = diff_view.find_diff(runner_id, diff_view.chosen())
    read = functools.cache(lambda number: diff_view.read_file(diff, number))
    comments = []
    for number, path, version, lines, text in written:
        first, last = parse_lines(lines)
        code = None
        if first and version == diff.tag and _NUMBER.fullmatch(number):
            file, shown = read(int(number))
            path, code = file.path, quoted(shown.rows if shown else [], first, last)
        comments.append(Comment(path, first, last, text.replace("\r\n", "\n"), code))
    return comments
