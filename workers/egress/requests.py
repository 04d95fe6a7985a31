"""Parses the target of a request to the proxy, and rewrites the request for the target's server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import h11

from .rules import canonical

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#]+):(?P<port>\d{1,5})")
# https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1, and what must not reach the server.
_HOP_BY_HOP = {b"connection", b"proxy-connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"host"}
_FOR_PROXIES = {b"proxy-authorization", b"proxy-authenticate"}


@dataclass(frozen=True)
class Target:
    host: str
    port: int
    path: str | None
    """The path to request; None for a tunnel."""

    def __str__(self) -> str:
        return self.authority(None)

    def authority(self, usual_port: int | None = 80) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == usual_port else f"{host}:{self.port}"


class Malformed(Exception):
    """The request is not valid; the message says why."""

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = int(status)


def target_of(request: h11.Request) -> Target:
    """The target of a request. Raises Malformed if it is invalid or ambiguous."""
    if {b"transfer-encoding", b"content-length"} <= {name for name, _ in request.headers}:
        raise Malformed("It has both a Content-Length and a Transfer-Encoding header.")
    text = request.target.decode("ascii", errors="replace")
    try:
        if request.method == b"CONNECT":
            match = _AUTHORITY.fullmatch(text)
            if match is None:
                raise ValueError(text)
            return Target(canonical(match["host"]), int(match["port"]), None)
        parts = urlsplit(text)
        if parts.scheme != "http" or "@" in parts.netloc or parts.fragment:
            raise ValueError(text)
        host = parts.netloc.removesuffix(f":{parts.port}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(canonical(host), 80 if parts.port is None else parts.port, path)
    except ValueError:
        raise Malformed("It has no valid host. Use CONNECT host:port, or an absolute http:// URL.") from None


def forwarded(request: h11.Request, target: Target, path: str) -> h11.Request:
    """The request as sent to the server: for the host that was checked, and the only one of its connection."""
    listed = {
        each.strip().lower() for name, value in request.headers if name == b"connection" for each in value.split(b",")
    }
    dropped = (_HOP_BY_HOP | _FOR_PROXIES | listed) - {b"transfer-encoding", b"content-length"}
    kept = [(name, value) for name, value in request.headers if name not in dropped]
    headers = [(b"host", target.authority().encode()), *kept, (b"connection", b"close")]
    return h11.Request(method=request.method, target=path.encode(), headers=headers)
