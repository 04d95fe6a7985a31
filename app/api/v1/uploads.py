"""Files for agents: `/agent_runners/upload_url` and `/agent_runners/delete_url`."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.api import examples, links
from app.api.auth import caller
from app.api.blueprint import Blueprint
from app.api.idempotency import idempotent
from app.api.rate_limits import limited
from app.api.requests import strings_in_body
from app.api.transactions import prepared_by
from app.schemas.upload import DeleteUrlBody, DeleteUrlSchema, UploadUrlBody, UploadUrlSchema
from app.services.artifacts import uploads

blp = Blueprint("Uploads", __name__, description="Files that agents can read.", url_prefix="/api/v1/agent_runners")


@blp.route("/upload_url")
class UploadUrl(MethodView):
    @limited("uploads")
    @idempotent()
    @blp.operation("createUploadUrl", links=links.UPLOAD_LINKS)
    @blp.arguments(UploadUrlBody, example=examples.UPLOAD)
    @blp.response(200, UploadUrlSchema, example=examples.UPLOAD_URL)
    def post(self, fields: dict[str, Any]) -> Any:
        """Get a signed URL to upload a file for agents.

        PUT the file there with exactly the headers given, then name its `file_key` in `file_keys` of a session. A file
        may have at most 10 MiB and may be empty.
        """
        key, signed = uploads.upload_url(caller(), fields)
        return {
            "upload_url": signed.url,
            "file_key": key,
            "headers": signed.headers,
            "expires_at": signed.expires_at,
        }


@blp.route("/delete_url")
class DeleteUrl(MethodView):
    @prepared_by(lambda: uploads.find_uploaded(caller(), strings_in_body("file_key")))
    @idempotent()
    @blp.operation("createDeleteUrl", conflict="`file_in_use`")
    @blp.arguments(DeleteUrlBody, example={"file_key": examples.FILE_KEY})
    @blp.response(200, DeleteUrlSchema, example=examples.DELETE_URL)
    def post(self, fields: dict[str, Any], prepared: uploads.Uploaded) -> Any:
        """Get a signed URL to delete an uploaded file.

        A file that a session uses cannot be deleted.
        """
        signed = uploads.delete_url(caller(), fields["file_key"], prepared)
        return {"delete_url": signed.url, "file_key": fields["file_key"]}
