"""Connections to `/mcp` that send nothing, and calls of one account, keep nobody else out."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn

from app.mcp.connections import Connection
from app.mcp.http import MOST_CALLS_OF_A_USER, MOST_CALLS_OF_AN_ACCOUNT, create_app

pytestmark = pytest.mark.same_on_both_databases
HALF_A_HEAD = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
RUN = "5e884898-da28-4ae7-9d5f-6d3a5b7c1f00"


class Api(httpx.BaseTransport):
    """An API whose tokens are `account-user`, and which answers about a run only once `may_answer` is set."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked = threading.Semaphore(0)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/me"):
            user = request.headers["Authorization"].removeprefix("Bearer ")
            return httpx.Response(200, json={"id": user, "account": {"id": user.partition("-")[0]}})
        self.asked.release()
        assert self.may_answer.wait(300)
        return httpx.Response(404, json={"message": "There is none."})


@contextlib.contextmanager
def served(api: Api, connection: type[Connection] = Connection) -> Iterator[str]:
    app = create_app("http://testserver", public_url="https://agents.example.org", transport=api)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", http=connection))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            api.may_answer.set()
            server.should_exit = True
            thread.join()


def call(url: str, token: str, method: str = "tools/list", **parameters: Any) -> int:
    headers = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {token}"}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    # Without the certificates, which it takes a while to read.
    return httpx.post(url, json=message, headers=headers, trust_env=False, timeout=300, verify=False).status_code


@contextlib.contextmanager
def connected(url: str, count: int) -> Iterator[list[socket.socket]]:
    address = ("127.0.0.1", httpx.URL(url).port or 0)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(count)]


def test_more_connections_than_there_may_be_give_way_to_requests() -> None:
    class Few(Connection):
        most = 8

    with served(Api(), Few) as url, connected(url, 3 * Few.most) as idle:
        for each in idle[-Few.most :]:
            each.sendall(HALF_A_HEAD)
        assert call(url, "acme-ada") == 200
        # The oldest ones were closed.
        with contextlib.suppress(ConnectionResetError):
            assert idle[0].recv(1) == b""


def test_a_connection_whose_request_does_not_arrive_is_closed() -> None:
    class Impatient(Connection):
        head_seconds = 0.2

    with served(Api(), Impatient) as url, connected(url, 2) as idle:
        idle[0].sendall(HALF_A_HEAD)
        assert [each.recv(1) for each in idle] == [b"", b""]


def test_one_account_has_only_so_many_calls_at_once() -> None:
    api = Api()
    users = [f"acme-{number // MOST_CALLS_OF_A_USER}" for number in range(MOST_CALLS_OF_AN_ACCOUNT)]
    with served(api) as url, ThreadPoolExecutor(len(users)) as pool:
        arguments = {"name": "get_run", "arguments": {"run": RUN}}
        calls = [pool.submit(call, url, user, "tools/call", **arguments) for user in users]
        for _ in users:
            assert api.asked.acquire(timeout=300)
        assert call(url, "acme-another") == 429
        assert call(url, "other-eve") == 200
        api.may_answer.set()
        assert {each.result() for each in calls} == {200}


def test_a_token_that_no_header_can_have_is_refused() -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    head = f"{HALF_A_HEAD.decode()}Authorization: Bearer t\xf6ken\r\nContent-Length: {len(body)}\r\n\r\n".encode(
        "latin-1"
    )
    with served(Api()) as url, connected(url, 1) as (client,):
        client.sendall(head + body)
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")
