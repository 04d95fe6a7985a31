"""Where a request goes: to which server, and with which key instead of its token."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import h11

from .apis import APIS, Api, Denied

_PATH = re.compile(r"(/[\w.@:-]+)+/?", re.ASCII)
# Never passed on: what is about one connection, what would be a second credential, and what the gateway sets itself.
DROPPED = {
    *(b"connection", b"proxy-connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"transfer-encoding"),
    *(b"proxy-authorization", b"cookie", b"host", b"content-length", b"expect", b"accept-encoding"),
}
CREDENTIALS = (b"authorization", b"x-api-key", b"x-goog-api-key")
_BEARER = b"bearer "


@dataclass(frozen=True)
class Route:
    """One provider of the agent: the path that its calls begin with here, its server, and its keys by their tokens."""

    prefix: str
    name: str
    api: Api
    base: SplitResult
    keys: Mapping[str, str]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Route:
        """The route that the worker describes (`process.Served`)."""
        base = urlsplit(fields["url"])
        return cls(fields["prefix"], fields["api"], APIS[fields["api"]], base, fields["keys"])


@dataclass(frozen=True)
class Call:
    """A request that may be passed on."""

    route: Route
    method: str
    path: str
    """Below the base URL."""
    query: str
    headers: list[tuple[bytes, bytes]]
    generates: bool

    @property
    def target(self) -> str:
        """What to ask the server for."""
        return self.route.base.path.rstrip("/") + self.path + (f"?{self.query}" if self.query else "")


def call_of(request: h11.Request, routes: Sequence[Route]) -> Call:
    """The call that a request asks for, with the key. Raises Denied, also for a token that is not of this attempt."""
    path, _, query = request.target.decode("latin-1").partition("?")
    method = request.method.decode("latin-1")
    route = find_route(path, routes)
    if route is None or not _PATH.fullmatch(path) or ".." in path:
        raise Denied(404, "No provider of this session has that path.")
    fields = parse_qsl(query, keep_blank_values=True)
    token, keys = _key_of(request.headers, fields, route.keys)
    if token is None:
        raise Denied(401, "The token is not valid: it is good for its own session only, and only while that runs.")
    rest = path.removeprefix(route.prefix)
    generates = route.api.generates(method, rest)
    dropped = DROPPED | set(CREDENTIALS) | connection_headers(request.headers)
    kept = [(name, value) for name, value in request.headers if name not in dropped]
    if any(name == b"content-encoding" for name, _ in kept):
        raise Denied(415, "Compressed requests are not passed on.")
    # An answer that is compressed could not be counted.
    headers = [*kept, *keys, (b"accept-encoding", b"identity")]
    shown = urlencode([(name, value) for name, value in fields if name != "key"])
    return Call(route, method, rest, shown, headers, generates)


def find_route(path: str, routes: Iterable[Route]) -> Route | None:
    """The route that a path belongs to, if any."""
    return next((each for each in routes if path == each.prefix or path.startswith(f"{each.prefix}/")), None)


def _key_of(
    headers: Iterable[tuple[bytes, bytes]], fields: Iterable[tuple[str, str]], keys: Mapping[str, str]
) -> tuple[str | None, list[tuple[bytes, bytes]]]:
    """The token of a request, and the headers with the key, where the request has it. Never in a URL."""
    found, swapped = None, list[tuple[bytes, bytes]]()
    given = [(name, value) for name, value in headers if name in CREDENTIALS]
    given += [(b"x-goog-api-key", value.encode()) for name, value in fields if name == "key"]
    for name, value in given:
        bearer = name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER
        secret = value[len(_BEARER) :] if bearer else value
        for token, key in keys.items():
            if hmac.compare_digest(secret, token.encode()):
                found = token
                if key:
                    swapped.append((name, (b"Bearer " if bearer else b"") + key.encode()))
    return found, swapped


def connection_headers(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """The headers that are about this connection alone, as it says."""
    return {part.strip().lower() for name, value in headers if name == b"connection" for part in value.split(b",")}
