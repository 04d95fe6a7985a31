"""A connection to the operator's mail server, which ends in bounded time."""

from __future__ import annotations

import contextlib
import ipaddress
import smtplib
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

from workers.certificates import trusted
from workers.egress.addresses import resolver

_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True)
class Server:
    """A mail server, and how to sign in there if `user` is not empty."""

    host: str
    port: int
    security: Security
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Server:
        """From `smtp://`, `smtps://` or `smtp+plain://`. By `smtp://` only what stays on this machine is not encrypted."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        security: Security = "tls" if parts.scheme == "smtps" else "starttls"
        if parts.scheme == "smtp+plain" or (parts.scheme == "smtp" and _is_loopback(host)):
            security = "none"
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(host, parts.port or _PORTS[parts.scheme], security, user, password)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class Deadline:
    """Ends a connection when its time is up. A timeout of smtplib is for one read alone, and servers may send bytes slowly."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._watched: socket.socket | None = None
        self._timer: threading.Timer | None = None

    @property
    def remaining(self) -> float:
        return max(self._ends_at - time.monotonic(), 0.001)

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._ends_at

    def watch(self, connection: socket.socket) -> None:
        """End this connection at the deadline, also if it is encrypted later."""
        # A descriptor of its own, because TLS takes the other one.
        self._watched = connection.dup()
        self._timer = threading.Timer(self.remaining, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        assert self._watched is not None
        with contextlib.suppress(OSError):
            self._watched.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._timer is not None and self._watched is not None:
            self._timer.cancel()
            self._timer.join()
            self._watched.close()


class Connection(smtplib.SMTP):
    """A connection to a server, which has greeted. Raises OSError and SMTPException."""

    def __init__(self, server: Server, own_name: str, deadline: Deadline) -> None:
        self._server, self._deadline = server, deadline
        super().__init__(server.host, server.port, own_name, timeout=deadline.remaining)

    def _get_socket(self, host: str, port: int, _timeout: float) -> socket.socket:
        """What smtplib connects by. Its own asks the resolver without a limit of time."""
        connection = self._connect(host, port)
        self._deadline.watch(connection)
        if self._server.security == "tls":
            return trusted().wrap_socket(connection, server_hostname=host)
        return connection

    def _connect(self, host: str, port: int) -> socket.socket:
        failure = OSError("there is no address")
        for address in resolver({})(host):
            try:
                return socket.create_connection((address, port), self._deadline.remaining)
            except OSError as error:
                failure = error
        raise failure
