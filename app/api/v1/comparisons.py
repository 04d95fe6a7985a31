"""The diff between any two sessions of a runner: `/agent_runners/:id/comparisons`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import diff_response, examples, paging
from app.api.auth import caller
from app.api.blueprint import DIFF_HEADERS, WHOLE_DIFF_HEADERS, Blueprint
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.transactions import reading
from app.schemas.comparison import ComparisonBody, ComparisonSchema
from app.schemas.diff import DiffFileSchema, DiffFilesQuery, RunnerDiffQuery
from app.services.runners import comparisons
from app.services.runners.comparisons import Found

blp = Blueprint(
    "Comparisons",
    __name__,
    description="The difference between the work of two sessions.",
    url_prefix="/api/v1/agent_runners/<uuid:agent_runner_id>/comparisons",
)


def _view(found: Found) -> RowView:
    return RowView(found.row, state=found.state, failure=found.failure)


@blp.route("")
class Comparisons(MethodView):
    @idempotent()
    @blp.operation("compareSessions")
    @blp.arguments(ComparisonBody, example=examples.COMPARE)
    @blp.response(200, ComparisonSchema, example=examples.COMPARISON)
    def post(self, fields: dict[str, Any], agent_runner_id: uuid.UUID) -> Any:
        """Compare the work of two sessions.

        Both need a cumulative diff. If `state` is `pending`, poll the answer's `Location` until it is not; then the diff
        can be read. The same two sessions have the same comparison again.
        """
        found = comparisons.request(caller(), agent_runner_id, fields["from_session_id"], fields["to_session_id"])
        url = paging.public_url(f"/agent_runners/{agent_runner_id}/comparisons/{found.row.id}")
        return _view(found), {"Location": url}


@blp.route("/<uuid:comparison_id>")
class Comparison(MethodView):
    @reading
    @blp.operation("getComparison")
    @blp.response(200, ComparisonSchema, example=examples.COMPARISON)
    def get(self, agent_runner_id: uuid.UUID, comparison_id: uuid.UUID) -> Any:
        """Get a comparison.

        It is kept for a week.
        """
        return _view(comparisons.get(caller(), agent_runner_id, comparison_id))


@blp.route("/<uuid:comparison_id>/diff")
class ComparisonDiff(MethodView):
    @blp.operation("getComparisonDiff", also=diff_response.ALSO)
    @blp.arguments(RunnerDiffQuery, location="query")
    @blp.response(200, {"type": "string"}, content_type="text/plain", headers=WHOLE_DIFF_HEADERS, example=examples.DIFF)
    def get(self, query: dict[str, Any], agent_runner_id: uuid.UUID, comparison_id: uuid.UUID) -> Response:
        """Get the difference between two sessions as text.

        `git apply --binary` applies it to the files of the first one, and gives those of the second. Pages, `Range` and
        `If-None-Match` are as for the runner's diff.
        """
        return diff_response.diff(comparisons.find_diff(caller(), agent_runner_id, comparison_id), **query)


@blp.route("/<uuid:comparison_id>/diff/files")
class ComparisonDiffFiles(MethodView):
    @blp.operation("listComparisonDiffFiles")
    @blp.arguments(DiffFilesQuery, location="query")
    @blp.response(200, DiffFileSchema(many=True), headers=DIFF_HEADERS, example=[examples.DIFF_FILE])
    def get(self, query: dict[str, Any], agent_runner_id: uuid.UUID, comparison_id: uuid.UUID) -> Any:
        """List the files that differ between two sessions.

        They are in the order of the diff. To read one of them, request its bytes of the diff with `Range`.
        """
        page = comparisons.find_diff(caller(), agent_runner_id, comparison_id).files(**query)
        return page.items, paging.headers(page)
