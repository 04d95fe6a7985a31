"""What a request to the proxy asks for, and how it is written anew for the server that it is meant for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import h11

from .rules import canonical

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#]+):(?P<port>\d{1,5})")
# https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1, and what would end up with a server that it was not meant for.
_HOP_BY_HOP = {b"connection", b"proxy-connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"host"}
_FOR_PROXIES = {b"proxy-authorization", b"proxy-authenticate"}


@dataclass(frozen=True)
class Target:
    host: str
    port: int
    path: str | None
    """What to ask for there; None for a tunnel."""

    def __str__(self) -> str:
        return self.authority(None)

    def authority(self, usual_port: int | None = 80) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == usual_port else f"{host}:{self.port}"


class Malformed(Exception):
    """The request cannot be taken for one; the message says what is wrong with it."""

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = int(status)


def target_of(request: h11.Request) -> Target:
    """Where a request wants to go. Raises Malformed where it could be understood in more than one way."""
    if {b"transfer-encoding", b"content-length"} <= {name for name, _ in request.headers}:
        raise Malformed("It tells the length of its body in two ways.")
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
        raise Malformed("It names no host in a way that this proxy takes.") from None


def forwarded(request: h11.Request, target: Target, path: str) -> h11.Request:
    """The request as the server gets it: for the host that was judged, and the only one of its connection."""
    listed = {
        each.strip().lower() for name, value in request.headers if name == b"connection" for each in value.split(b",")
    }
    dropped = (_HOP_BY_HOP | _FOR_PROXIES | listed) - {b"transfer-encoding", b"content-length"}
    kept = [(name, value) for name, value in request.headers if name not in dropped]
    headers = [(b"host", target.authority().encode()), *kept, (b"connection", b"close")]
    return h11.Request(method=request.method, target=path.encode(), headers=headers)
