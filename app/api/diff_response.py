"""Diffs as streamed responses."""

from __future__ import annotations

from flask import Response

from app.api import paging
from app.services.artifacts.diffs import Diff


def diff(found: Diff, *, page: int | None = None, per_page: int = 0) -> Response:
    """A diff as text, byte for byte as it is stored. With a page number it also has the Link header of its pages."""
    response = Response(found.chunks, content_type="text/plain; charset=utf-8")
    response.headers["X-Content-Type-Options"] = "nosniff"
    if found.files is not None:
        response.headers["Total"] = str(found.files)
    if page is not None and found.files is not None:
        response.headers["Link"] = paging.link(paging.numbered(page, per_page, found.files), per_page)
    return response
