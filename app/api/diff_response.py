"""Diffs as responses: whole, in pages of files, or parts of them (`Range`)."""

from __future__ import annotations

import base64

from flask import Response, request
from werkzeug.wsgi import wrap_file

from app.api import paging
from app.services.artifacts.diff_files import without_binary
from app.services.artifacts.diffs import StoredDiff

ALSO = {206: "The part of `Range`.", 304: "The diff has the `ETag` of `If-None-Match`.", 416: "`range_not_satisfiable`"}
"""The statuses that a diff is answered with besides 200, for the description of the API."""


def diff(found: StoredDiff, *, page: int | None = None, per_page: int = 0, strip_binary: bool = False) -> Response:
    """A diff as text, byte for byte as it is stored. With a page number it is one page of its files."""
    response = Response(content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(found.tag)
    if response.make_conditional(request).status_code != 200:
        return response
    response.headers["Total"] = str(found.total)
    if page is None and not strip_binary and found.digest is not None:
        # Of the whole diff (RFC 9530): a long file is sent unread.
        response.headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(found.digest).decode()}:"
    start, end = 0, found.size
    if page is not None:
        response.headers["Link"] = paging.link(paging.numbered(page, per_page, found.total), per_page)
        start, end = found.span(page, per_page)
    if strip_binary:
        del response.headers["Content-Length"]
        response.response = without_binary(found.read(start, end))
        return response
    response.make_conditional(request, accept_ranges=True, complete_length=end - start)
    if response.status_code == 206:
        part = response.content_range
        start, end = start + (part.start or 0), start + (part.stop or 0)
    response.content_length = end - start
    file = found.open() if end - start == found.size else None
    if file is None:
        response.response = found.read(start, end)
    else:
        # A server that can does so without reading the file itself, by sendfile(2).
        response.response, response.direct_passthrough = wrap_file(request.environ, file), True
    return response
