"""The difference between two sessions of a runner, which is shown as a diff."""

from __future__ import annotations

import uuid

from flask import Response, redirect, url_for

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.console.views import diff as diff_view
from app.errors import AppError, NotFound
from app.schemas.comparison import ComparisonBody
from app.services.runners import comparisons


@bp.post("/runners/<uuid:runner_id>/comparisons")
def compare_sessions(runner_id: uuid.UUID) -> Response:
    given = {**forms.filled("to_session_id"), "from_session_id": forms.text("from_session_id") or None}
    try:
        with db.transaction():
            fields = forms.load(ComparisonBody(), given)
            found = comparisons.request(caller(), runner_id, fields["from_session_id"], fields["to_session_id"])
    except NotFound:
        raise
    except AppError as error:
        return diff_view.show_changes(runner_id, error)
    return redirect(url_for("console.changes", runner_id=runner_id, comparison=found.row.id), 303)  # type: ignore[return-value]


@bp.get("/runners/<uuid:runner_id>/comparisons/<uuid:comparison_id>")
def comparison(runner_id: uuid.UUID, comparison_id: uuid.UUID) -> Response:
    """A part of the page, which asks again until the comparison ended."""
    with db.transaction(read_only=True):
        found = comparisons.get(caller(), runner_id, comparison_id)
    if found.state == "done":
        return Response(headers={"HX-Refresh": "true"})
    return page("runners/comparison.html", compared=found)
