"""The console's own files: scripts and styles. Their addresses hold a digest of all of them, so browsers keep them."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from flask import Response, request

from app.config import settings
from app.errors import NotFound

FOLDER = Path(__file__).with_name("static")
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"


@functools.cache
def files() -> dict[str, bytes]:
    """The files, by their paths below the folder."""
    found = sorted(path for path in FOLDER.rglob("*") if path.suffix in TYPES)
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in found}


@functools.cache
def version() -> str:
    """A digest of all files."""
    digest = hashlib.sha256()
    for name, content in files().items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def url(name: str) -> str:
    """The address of a file of this release."""
    assert name in files(), name
    return f"/assets/{version()}/{name}"


def send(asked: str, name: str) -> Response:
    """A file. Only the address of this release may be kept forever: an old page may ask for it during an upgrade."""
    content = files().get(name)
    if content is None:
        raise NotFound("There is no such file.", error_code="route_not_found")
    kind = f"{TYPES[Path(name).suffix]}; charset=utf-8"
    response = Response(content, content_type=kind)
    response.headers["Cache-Control"] = _FOREVER if asked == version() else "no-cache"
    response.set_etag(version())
    return response.make_conditional(request)  # type: ignore[return-value]


def is_https() -> bool:
    """Whether people reach the console by https. A proxy may speak http with us."""
    return settings().public_url.startswith("https://") or request.is_secure
