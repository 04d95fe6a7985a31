"""The endpoints of the artifact store's signed URLs that lead to the API: `/blobs/:key`. The signature is the permission."""

from __future__ import annotations

import sys
from urllib.parse import parse_qsl, unquote, urlsplit

from flask import Response, request
from flask.views import MethodView

from app.api.blueprint import Blueprint, empty
from app.api.requests import MAX_BODY_BYTES
from app.services.artifacts import uploads
from app.serving.shares import take_share

blp = Blueprint(
    "Blobs",
    __name__,
    description="The endpoints of signed URLs: all of a local artifact store, and of S3 what a bucket cannot check.",
    url_prefix="/api/v1/blobs",
    is_open=True,
)
CHUNK = 256 * 1024


@blp.before_request
def _take_share() -> None:
    """Count a signed request for its account, or for the runner that the file is of."""
    key = (request.view_args or {})["key"]
    if uploads.is_signed(request.method, key, request.args.to_dict()):
        take_share(request.environ, key.split("/")[1], is_account=key.startswith(f"{uploads.PREFIX}/"))


@blp.route("/<path:key>")
class Blob(MethodView):
    @blp.operation("putBlob")
    @blp.response(200)
    def put(self, key: str) -> Response:
        """Upload to a signed URL.

        Send exactly the headers that came with the URL. The signature is the permission, so no token is needed.
        """
        # The signature sets the limit, so that of JSON bodies does not apply.
        request.max_content_length = sys.maxsize
        chunks = iter(lambda: request.stream.read(CHUNK), b"")
        length = request.content_length
        if length is None and "Transfer-Encoding" not in request.headers:
            length = 0  # Without either header a request has no content (RFC 9110, section 6.4).
        uploads.put_blob(key, request.args.to_dict(), request.content_type or "", length, chunks)
        return empty(200)

    @blp.operation("getBlob")
    @blp.response(200, {"type": "string", "format": "binary"}, content_type="application/octet-stream")
    def get(self, key: str) -> Response:
        """Read from a signed URL.

        The signature is the permission, so no token is needed.
        """
        chunks = uploads.read_blob(key, request.args.to_dict())
        # Somebody else's file: a browser saves it, and never runs it as a page of this address.
        headers = {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox; default-src 'none'"}
        return Response(chunks, headers=headers, content_type="application/octet-stream")

    @blp.operation("deleteBlob", conflict="`file_in_use`")
    @blp.response(204)
    def delete(self, key: str) -> Response:
        """Delete by a signed URL.

        The signature is the permission, so no token is needed. A file that a session uses by now is not deleted.
        """
        uploads.delete_blob(key, request.args.to_dict())
        return empty(204)


def body_limit(method: str, target: str) -> int:
    """The bytes that the body of a request may have: that of an upload what was signed, others what JSON may."""
    prefix, url = f"{blp.url_prefix}/", urlsplit(target)
    if method != "PUT" or not url.path.startswith(prefix):
        return MAX_BODY_BYTES
    return uploads.signed_size(unquote(url.path.removeprefix(prefix)), dict(parse_qsl(url.query)))
