"""One message to receivers that keep the worker waiting, or answer more than anybody wants to read."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.listening import Listener, hang_up
from tests.workers.repositories import make_host
from workers.forges.http import Limits
from workers.webhooks import NotDelivered, deliver

LIMITS = Limits(call_seconds=300, total_seconds=300, calls=1, answer_bytes=64 * 1024)
SHORT = dataclasses.replace(LIMITS, call_seconds=0.5, total_seconds=0.5)
OK = b"HTTP/1.1 200 OK\r\n"


def dripping(chunk: bytes) -> Iterable[bytes]:
    """It ends by itself, with a connection that is closed, so that a worker without a deadline would fail otherwise."""
    for _ in range(1200):
        yield chunk
        time.sleep(0.1)


def silent() -> Iterable[bytes]:
    time.sleep(120)
    yield OK


HOSTILE: dict[str, tuple[Callable[[], Iterable[bytes]], str]] = {
    "it says nothing": (silent, "The receiver did not answer: the request timed out."),
    "its status drips": (lambda: dripping(b"H"), "The receiver did not answer: the request timed out."),
    "its headers drip": (lambda: itertools.chain([OK], dripping(b"X: y\r\n")), "timed out"),
    "its body drips": (lambda: itertools.chain([OK, b"Content-Length: 300\r\n\r\n"], dripping(b"x")), "timed out"),
    "it is never ready": (lambda: dripping(b"HTTP/1.1 100 Continue\r\n\r\n"), "timed out"),
    "its body is endless": (lambda: itertools.chain([OK, b"\r\n"], itertools.repeat(b"x" * 4096)), "more than 65,536"),
    "it is compressed": (lambda: [OK, b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"], "compressed answer"),
    "it is not HTTP": (lambda: [b"220 mail.example.org ESMTP\r\n"], "does not speak HTTP"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_receiver_can_keep_a_worker_no_longer_than_a_moment(name: str, tmp_path: Path) -> None:
    answer, said = HOSTILE[name]
    limits = SHORT if "timed out" in said else LIMITS

    def take(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            for piece in answer():
                connection.sendall(piece)
            hang_up(connection)

    host = make_host(tmp_path / "work", allow_private_addresses=True)
    with Listener(take) as receiver, pytest.raises(NotDelivered, match=said):
        deliver(f"http://127.0.0.1:{receiver.port}/", "an-id", {"type": "session.done"}, [], host, limits)
