"""The HTTP client for forges and servers of Git LFS: what a tenant's URL may reach, and how much of our time and memory
its answers may take.

The name in a URL belongs to somebody else, who may point it inside or answer anything at any speed. So the name is
resolved once, every address is judged by the rules of the agents' proxy, and connections go to exactly those addresses.
Redirects are not followed, answers are not decompressed, and time and size are limited as a whole.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore

from workers.certificates import trusted
from workers.egress.addresses import RESOLVE_SECONDS, is_own_machine
from workers.egress.rules import is_address
from workers.errors import EngineError
from workers.forges.deadline import seconds_left
from workers.job import Host
from workers.repository.host_check import ascii_name, find_addresses, proxy_for

# A write of this size fits into an empty buffer of the socket, so it never waits for the server more than once.
_PIECE = 4096
_PORTS = {"http": 80, "https": 443}
_TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """Limits of one client. The time of `total_seconds` is only that of its calls, together. `deadline.py` has a limit for
    several clients."""

    call_seconds: float = 30.0
    total_seconds: float = 180.0
    calls: int = 40
    answer_bytes: int = 8 * 1024**2
    silent_seconds: float = 60.0
    """How long to wait for the next byte."""
    connections: int = 1
    """How many threads may call at once. `total_seconds` is the time of all their calls, added up."""


DEFAULT_LIMITS = Limits()


class Unreachable(Exception):
    """There was no complete answer. The message says why, and follows "The server did not answer: "."""


class BadAnswer(Exception):
    """The answer exceeds a limit. The message says which, and follows the name of the server."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Response:
    """An answer while it arrives: the pieces of its body, which are not decompressed."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class Client:
    """Calls one server. Its name is resolved and judged once, by the constructor.

    The constructor raises EngineError: `repository_refused` for an address that `host` may not connect to, and
    `repository_unreachable` if the name does not resolve. A proxy that the operator's environment names resolves
    names by itself, as it does for git.
    """

    def __init__(self, url: str, host: Host, limits: Limits, check: Callable[[], None] | None = None) -> None:
        """`check` is called each second, and raises if the caller is to stop."""
        parts = urlsplit(url)
        self._scheme, self._limits, self._check = parts.scheme, limits, check
        try:
            self._name = ascii_name(parts.hostname or "")
            self._port = _PORTS[parts.scheme] if parts.port is None else parts.port
            if self._port == 0:
                raise ValueError("port 0")
        except ValueError:
            message = "The URL of the forge's API has no valid host and port. Correct the site's forge_api_url."
            raise EngineError("repository_refused", "publish", message) from None
        self._calls_left, self._seconds_left = limits.calls, limits.total_seconds
        # Of the call of each thread.
        self._call = threading.local()
        proxy = None if is_address(self._name) else proxy_for(self._scheme, self._name)
        network = _Network(self._remaining, None if proxy else _judged_connect(self._name, host))
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted() if parts.scheme == "https" else None,
            proxy=_proxy(proxy) if proxy else None,
            max_connections=limits.connections,
            network_backend=network,
        )

    def request(
        self, method: str, target: str, headers: Mapping[str, str], content: str | None, kept: int | None = None
    ) -> Answer:
        """Send one request for `target`, a path with its query. Of the answer's body the last `kept` bytes are kept.

        Raises Unreachable and BadAnswer.
        """
        data = (content or "").encode()
        size = len(data) if data or method not in ("GET", "HEAD") else None
        with self.stream(method, target, headers, [data], size) as response:
            body, received = bytearray(), 0
            for piece in response.pieces:
                body += piece
                received += len(piece)
                if received > self._limits.answer_bytes:
                    raise BadAnswer(f"sent an answer of more than {self._limits.answer_bytes:,} bytes")
                if kept is not None:
                    del body[:-kept]
            return Answer(response.status, response.headers, body.decode(errors="replace"))

    @contextlib.contextmanager
    def stream(
        self, method: str, target: str, headers: Mapping[str, str], content: Iterable[bytes], size: int | None
    ) -> Generator[Response, None, None]:
        """Send one request with a body of `size` bytes (None: without one), and read its answer while the context is open.

        Raises Unreachable and BadAnswer.
        """
        if not self._calls_left:
            raise BadAnswer(f"needs more than {self._limits.calls} requests to answer")
        self._calls_left -= 1
        started = time.monotonic()
        self._call.ends_at = started + min(self._limits.call_seconds, self._seconds_left, seconds_left())
        url = httpcore.URL(scheme=self._scheme, host=self._name, port=self._port, target=target)
        # A compressed answer of half a megabyte may hold a gigabyte.
        sent = {**headers, "Host": self._authority, "Accept-Encoding": "identity"}
        if size is not None:
            sent["Content-Length"] = str(size)
        try:
            body = iter(content) if size else b""
            with self._pool.stream(method, url, headers=list(sent.items()), content=body) as response:
                received = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
                encoding = next((value for name, value in received.items() if name.lower() == "content-encoding"), "")
                if encoding.lower() not in ("", "identity"):
                    raise BadAnswer("sent a compressed answer, although it was asked not to")
                yield Response(response.status, received, response.iter_stream())
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProxyError) as error:
            raise Unreachable(_reason(error)) from None
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol, UnicodeError) as error:
            raise Unreachable("it does not speak HTTP") from error
        finally:
            self._seconds_left -= time.monotonic() - started

    @property
    def _authority(self) -> str:
        name = f"[{self._name}]" if ":" in self._name else self._name
        return name if self._port == _PORTS[self._scheme] else f"{name}:{self._port}"

    def _remaining(self) -> float:
        """How long the running call may wait for the next byte. Raises TimeoutException after its deadline, and what
        `check` does."""
        if self._check:
            self._check()
        remaining = self._call.ends_at - time.monotonic()
        if remaining <= 0:
            raise httpcore.TimeoutException
        return min(remaining, self._limits.silent_seconds)


Connect = Callable[[int, float], httpcore.NetworkStream]


class _Network(httpcore.NetworkBackend):
    """Connects with `connect`, or to the operator's proxy if that is None. No wait outlasts the call's deadline."""

    def __init__(self, remaining: Callable[[], float], connect: Connect | None) -> None:
        self._remaining, self._connect = remaining, connect

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        if self._connect is None:
            return _Stream(httpcore.SyncBackend().connect_tcp(host, port, self._remaining()), self._remaining)
        return _Stream(self._connect(port, self._remaining()), self._remaining)


class _Stream(httpcore.NetworkStream):
    """A connection on which no wait outlasts the call's deadline, however slowly the bytes arrive."""

    def __init__(self, stream: httpcore.NetworkStream, remaining: Callable[[], float]) -> None:
        self._stream, self._remaining = stream, remaining

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        ends_at = time.monotonic() + self._remaining()
        while True:
            try:
                return self._stream.read(max_bytes, max(0.001, min(_TICK_SECONDS, ends_at - time.monotonic())))
            except httpcore.ReadTimeout:
                self._remaining()
                if time.monotonic() >= ends_at:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], self._remaining())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._remaining()), self._remaining)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _judged_connect(name: str, host: Host) -> Connect:
    """Resolve `name` and judge its addresses, now. Returns a function that connects to the first that answers."""
    addresses = find_addresses(name, host, min(RESOLVE_SECONDS, seconds_left()))

    def connect(port: int, seconds: float) -> httpcore.NetworkStream:
        ends_at, failure = time.monotonic() + seconds, httpcore.ConnectError("no address")
        for address in addresses:
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, max(0.001, ends_at - time.monotonic()))
            except httpcore.ConnectError as error:
                failure = error
                continue
            connection: socket.socket = stream.get_extra_info("socket")
            if is_own_machine(connection) and not host.allow_private_addresses:
                stream.close()
                message = f"{name} is the worker's own machine, which this worker does not connect to."
                raise EngineError("repository_refused", "publish", message)
            return stream
        raise failure

    return connect


def _proxy(url: str) -> httpcore.Proxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in _PORTS or not parts.hostname:
        message = "The worker's proxy is not an http:// URL, and pull requests need one. Correct HTTPS_PROXY."
        raise EngineError("forge_refused", "publish", message)
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    location = httpcore.URL(
        scheme=parts.scheme, host=parts.hostname, port=parts.port or _PORTS[parts.scheme], target="/"
    )
    return httpcore.Proxy(location, auth=auth)


def _reason(error: Exception) -> str:
    """Why there was no answer, in plain words instead of those of the HTTP libraries."""
    if isinstance(error, httpcore.TimeoutException):
        return "the request timed out"
    if isinstance(error.__cause__, ssl.SSLCertVerificationError) or "certificate" in str(error).lower():
        return "its certificate was not accepted"
    return "the connection was refused" if "refused" in str(error).lower() else "the connection failed"
