"""The diffs of a session: `/agent_runners/:id/sessions/:session_id/diff`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import diff_response, examples, paging
from app.api.auth import caller
from app.api.blueprint import DIFF_HEADERS, Blueprint
from app.api.idempotency import idempotent
from app.schemas.diff import DiffFileSchema, SessionDiffFilesQuery
from app.schemas.upload import DiffUploadsSchema
from app.services.artifacts import diffs
from app.services.execution import external_workers

PREFIX = "/api/v1/agent_runners/<uuid:agent_runner_id>/sessions/<uuid:session_id>/diff"
blp = Blueprint("Session diffs", __name__, description="What a session changed.", url_prefix=PREFIX)


@blp.route("/result")
class ResultDiff(MethodView):
    @blp.operation("getSessionResultDiff", also=diff_response.ALSO)
    @blp.response(200, {"type": "string"}, content_type="text/plain", example=examples.DIFF)
    def get(self, agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Response:
        """Get what this session alone changed, as text.

        It is sent byte for byte as it is stored.
        """
        return diff_response.diff(diffs.find_session_diff(caller(), agent_runner_id, session_id, "result"))


@blp.route("/cumulative")
class CumulativeDiff(MethodView):
    @blp.operation("getSessionCumulativeDiff", also=diff_response.ALSO)
    @blp.response(200, {"type": "string"}, content_type="text/plain", example=examples.DIFF)
    def get(self, agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Response:
        """Get what this session and those before it changed together, as text.

        It is sent byte for byte as it is stored; `git apply --binary` applies it to the base.
        """
        return diff_response.diff(diffs.find_session_diff(caller(), agent_runner_id, session_id, "cumulative"))


@blp.route("/files")
class DiffFiles(MethodView):
    @blp.operation("listSessionDiffFiles")
    @blp.arguments(SessionDiffFilesQuery, location="query")
    @blp.response(200, DiffFileSchema(many=True), headers=DIFF_HEADERS, example=[examples.DIFF_FILE])
    def get(self, query: dict[str, Any], agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Any:
        """List the files of a diff of the session.

        They are in the order of the diff. To read one of them, request its bytes of the diff with `Range`.
        """
        found = diffs.find_session_diff(caller(), agent_runner_id, session_id, query.pop("kind"))
        page = found.files(**query)
        return page.items, paging.headers(page)


@blp.route("/upload_urls")
class UploadUrls(MethodView):
    @idempotent()
    @blp.operation("createDiffUploadUrls", conflict="`not_running`, `already_claimed` or `lease_lost`")
    @blp.response(200, DiffUploadsSchema, example=examples.DIFF_UPLOADS)
    def post(self, agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Any:
        """Get URLs to upload the diffs of an attempt.

        For an external worker, with the session token. Upload each diff with exactly the headers given, then report
        its `s3_key`.
        """
        urls = external_workers.upload_urls(caller(), agent_runner_id, session_id)
        return {
            kind: {"upload_url": signed.url, "s3_key": key, "headers": signed.headers}
            for kind, (key, signed) in urls.items()
        }
