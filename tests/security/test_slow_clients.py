"""Clients without a token that send or read slowly, or not at all, cost a connection each and keep nobody out."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator

import pytest

from app.streams.admission import MOST_CONNECTIONS
from tests.deployment import Deployment
from tests.serving.server import connect, is_answered, web_process

pytestmark = pytest.mark.xdist_group("slow_clients")
# Far more than threads, and more than connections are kept.
MANY = MOST_CONNECTIONS + 100
HALF_HEAD = b"GET /healthz HTTP/1.1\r\nHost: a"
HALF_BODY = b"POST /api/v1/sites HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
HALF_CHUNK = (
    b"POST /api/v1/sites HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff"
)
DESCRIPTION = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
WITHOUT_TOKEN = b"GET /api/v1/sites HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with web_process(tmp_path_factory.mktemp("web")) as deployment:
        yield deployment


@pytest.mark.parametrize("sent", [b"", HALF_HEAD, HALF_BODY, HALF_CHUNK, WITHOUT_TOKEN, LAST, DESCRIPTION])
def test_clients_that_stop_halfway_keep_nobody_out(web: Deployment, sent: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(connect(web, sent, receive_buffer=4096))
        assert all(is_answered(web) for _ in range(5))


@pytest.mark.parametrize("sent", [HALF_HEAD, HALF_BODY])
def test_a_client_that_drips_is_cut_off(web: Deployment, sent: bytes) -> None:
    with connect(web, sent) as client:
        for _ in range(200):
            if is_closed(client):
                return
            client.send(b"a")
            time.sleep(0.25)
    raise AssertionError("a byte now and then kept the connection open")


def is_closed(client: socket.socket) -> bool:
    readable, _, _ = select.select([client], [], [], 0)
    return bool(readable) and client.recv(1) == b""
