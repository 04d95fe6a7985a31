"""Secrets bound to a host. The agent has a URL of the gateway with a random token in it. A request to that URL goes to the
host, over TLS, with the secret in a header, which the agent never sees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import h11
import httpcore

from .agent_connection import Agent
from .routes import CREDENTIALS, DROPPED, connection_headers
from .upstream import Unreachable, Upstream, pieces

_DROPPED_FROM_ANSWERS = {*DROPPED, b"set-cookie", b"alt-svc", b"strict-transport-security"}
_INSTEAD = b"[redacted]"


@dataclass(frozen=True)
class Bound:
    """A secret, its host, and the header that it is sent in."""

    name: str
    token: str
    base: SplitResult
    header: bytes
    value: bytes
    """The value of the header: the secret with its prefix."""
    secret: bytes

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Bound:
        """The secret that the worker describes."""
        name, token, url = fields["name"], fields["token"], urlsplit(fields["url"])
        value = fields["prefix"] + fields["value"]
        return cls(name, token, url, fields["header"].lower().encode(), value.encode(), fields["value"].encode())

    @property
    def host(self) -> str:
        return self.base.netloc


def find_bound(path: str, secrets: Mapping[str, Bound]) -> Bound | None:
    """The secret whose URL the path belongs to, if any."""
    return secrets.get(path.split("/", 2)[1]) if path.startswith("/") else None


def pass_on(agent: Agent, upstream: Upstream, bound: Bound, request: h11.Request, body: bytes) -> None:
    """Make a request to the host, and pass its answer on without the secret. Raises Refused and Unreachable."""
    target = request.target.decode("latin-1").removeprefix(f"/{bound.token}")
    method = request.method.decode("latin-1")
    with contextlib.ExitStack() as stack:
        try:
            call = upstream.call(bound.base, method, f"/{target.lstrip('/')}", _headers(request, bound), body)
            answer = stack.enter_context(call)
        except OSError as error:
            raise Unreachable(str(error)) from None
        _answer(agent, bound, answer, is_head=method == "HEAD")


def _headers(request: h11.Request, bound: Bound) -> list[tuple[bytes, bytes]]:
    """The headers of the request, with the secret. Its answer is not to be compressed: the secret could not be found in it."""
    dropped = {*DROPPED, *CREDENTIALS, *connection_headers(request.headers), bound.header}
    kept = [(name, value) for name, value in request.headers if name not in dropped]
    return [*kept, (b"accept-encoding", b"identity"), (bound.header, bound.value)]


def _answer(agent: Agent, bound: Bound, answer: httpcore.Response, *, is_head: bool) -> None:
    headers = [(name.lower(), value) for name, value in answer.headers]
    if any(name == b"content-encoding" and value.lower() != b"identity" for name, value in headers):
        raise Unreachable("its answer is compressed, although no compression was requested")
    kept = [(name, _local(bound, name, value)) for name, value in headers if name not in _DROPPED_FROM_ANSWERS]
    length = [(name, value) for name, value in headers if is_head and name == b"content-length"]
    has_body = not is_head and answer.status not in (204, 304)
    agent.begin(answer.status, [*kept, *length, *([(b"transfer-encoding", b"chunked")] if has_body else [])])
    text = _Text(bound.secret)
    try:
        for piece in pieces(answer):
            agent.send(text.feed(piece))
    except OSError:
        # The host broke off, and so does the agent's connection.
        agent.abort()
    agent.send(text.rest)
    agent.end()


def _local(bound: Bound, name: bytes, value: bytes) -> bytes:
    """The value of a header of an answer: without the secret, and a redirect to the same host by the agent's own URL."""
    if name == b"location":
        value = value.removeprefix(bound.base.geturl().rstrip("/").encode())
        value = b"/" + bound.token.encode() + value if value.startswith(b"/") else value
    return value.replace(bound.secret, _INSTEAD)


class _Text:
    """An answer without the secret. The end of a piece is kept back while it may be the beginning of one."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.rest = b""

    def feed(self, piece: bytes) -> bytes:
        text = (self.rest + piece).replace(self._secret, _INSTEAD)
        kept = next(
            (
                size
                for size in range(min(len(self._secret) - 1, len(text)), 0, -1)
                if text.endswith(self._secret[:size])
            ),
            0,
        )
        self.rest = text[len(text) - kept :]
        return text[: len(text) - kept]


def by_token(described: Iterable[Mapping[str, Any]]) -> dict[str, Bound]:
    """The secrets that the worker describes, by their tokens."""
    return {bound.token: bound for bound in map(Bound.of, described)}
