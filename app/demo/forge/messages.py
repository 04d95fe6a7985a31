"""What comes in and what goes out over HTTP, apart from git's own traffic."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from typing import Any

DOCUMENTATION = "https://docs.github.com/rest"
_PIECE = 64 * 1024
# A refused caller is heard out this far, as one whose connection is cut meanwhile never sees the refusal.
_HEARD_OUT = 256 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """One request, read completely."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes

    @property
    def origin(self) -> str:
        """This server as the caller names it. PyGithub wants the addresses in answers to name it so as well."""
        return f"http://{self.headers.get('Host', '127.0.0.1')}"

    def json(self) -> dict[str, Any]:
        """The object in the body; none is an empty one. Raise `Refused` as GitHub does for anything else."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise Refused(400, "Problems parsing JSON") from None
        if not isinstance(value, dict):
            raise Refused(400, "Body should be a JSON object")
        return value


@dataclass(frozen=True)
class Answer:
    """One answer, complete."""

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(value).encode(), headers=headers or {})


class Refused(Exception):
    """An answer of GitHub's that says no.

    https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
    """

    def __init__(self, status: int, message: str, *errors: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors

    def answer(self) -> Answer:
        body: dict[str, Any] = {"message": self.message}
        if self.errors:
            body["errors"] = list(self.errors)
        return as_json({**body, "documentation_url": DOCUMENTATION, "status": str(self.status)}, self.status)


def not_found() -> Refused:
    return Refused(404, "Not Found")


def bad_credentials() -> Refused:
    return Refused(401, "Bad credentials")


def invalid(field: str) -> Refused:
    """A value of a pull request that makes no sense."""
    return Refused(422, "Validation Failed", {"resource": "PullRequest", "field": field, "code": "invalid"})


def against_the_rules(message: str, resource: str = "PullRequest", **more: str) -> Refused:
    """A pull request that may not be, and why."""
    return Refused(422, "Validation Failed", {"resource": resource, "code": "custom", "message": message, **more})


def body_pieces(headers: Message, stream: BufferedIOBase) -> Iterator[bytes]:
    """The body of a request as it arrives. Raise ValueError where it is malformed or ends early."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        while size := int(stream.readline(80).split(b";")[0], 16):
            yield from _exactly(stream, size)
            stream.readline(80)
        while stream.readline(_PIECE).strip():
            pass  # Trailers say nothing that is wanted here.
    else:
        yield from _exactly(stream, int(headers.get("Content-Length") or 0))


def discard_body(headers: Message, stream: BufferedIOBase) -> None:
    """Hear out a caller who is going to be refused."""
    heard = 0
    with contextlib.suppress(ValueError):
        for piece in body_pieces(headers, stream):
            heard += len(piece)
            if heard > _HEARD_OUT:
                return


def _exactly(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    if size < 0:
        raise ValueError("a negative length")
    while size:
        piece = stream.read(min(size, _PIECE))
        if not piece:
            raise ValueError("the body ended early")
        size -= len(piece)
        yield piece
