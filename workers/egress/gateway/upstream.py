"""Connections to the servers of models. Only hosts of the rules are reached, at the addresses that were judged."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import SplitResult

import certifi
import httpcore

from ..addresses import is_own_machine
from ..rules import Refused, Rules, canonical

# A model may think for long before it answers.
_TIMEOUTS = {"connect": 10.0, "read": 1800.0, "write": 60.0, "pool": 60.0}
_KEPT_SECONDS = 60.0
_PORTS = {"http": 80, "https": 443}


class Unreachable(Exception):
    """A server did not answer."""


class Upstream:
    """The servers of an attempt. Connections are kept and used again."""

    def __init__(self, rules: Rules, connections: int, *, tls: bool) -> None:
        """With `tls` this reads the certificates, so it comes before a change of user."""
        trusted = None
        if tls:
            # Those that the operator added to the system count, too.
            trusted = ssl.create_default_context()
            trusted.load_verify_locations(certifi.where())
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted,
            max_connections=connections,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=_Network(rules),
        )

    @contextlib.contextmanager
    def call(
        self, base: SplitResult, method: str, target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> Iterator[httpcore.Response]:
        """Make one call to the server of `base`, whose answer is read while the context is open.

        Raises Refused, and OSError for every other failure.
        """
        url = httpcore.URL(
            scheme=base.scheme,
            host=canonical(base.hostname or ""),
            port=base.port or _PORTS[base.scheme],
            target=target,
        )
        given = [(b"Host", base.netloc.rpartition("@")[2].encode()), *headers]
        extensions: dict[str, Any] = {"timeout": _TIMEOUTS}
        with _plain_errors(), self._pool.stream(method, url, headers=given, content=body, extensions=extensions) as got:
            yield got


def pieces(answer: httpcore.Response) -> Iterator[bytes]:
    """The body of an answer as it arrives. Raises OSError if it breaks off."""
    with _plain_errors():
        yield from answer.iter_stream()


class _Network(httpcore.NetworkBackend):
    """Connects as the proxy does: to an address that the rules allow, which was found once."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses, private = self._rules.find(host, port)
        failure = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = httpcore.ConnectError(str(error))
                continue
            if not private and is_own_machine(stream.get_extra_info("socket")):
                stream.close()
                raise Refused("It is an address of the worker's own machine.")
            return stream
        raise failure


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException:
        raise OSError("it did not answer in time") from None
    except ssl.SSLError as error:
        raise OSError(_reason(error)) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.PoolTimeout) as error:
        raise OSError(_reason(error)) from None


def _reason(error: Exception) -> str:
    """Why there was no answer, without what the server may have sent."""
    if "certificate" in str(error).lower():
        return "its certificate was not accepted"
    return "the connection was refused" if "refused" in str(error).lower() else "the connection failed"
