"""The same tools over HTTP, where each request acts with its own token, as the official client speaks it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app import db
from app.client import Client
from app.services.accounts import accounts
from tests import patiently

if TYPE_CHECKING:
    from mcp import Client as McpClient

# As in test_mcp.py.
pytestmark = [pytest.mark.same_on_both_databases, pytest.mark.xdist_group("mcp")]
JSON = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def message(method: str, **parameters: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}


@contextmanager
def served(transport: httpx.BaseTransport) -> Iterator[str]:
    """The URL of a server whose way to the API is `transport`."""
    import uvicorn

    from app.mcp.http import create_app

    app = create_app("http://testserver", public_url="https://agents.example.org", transport=transport)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def url(transport: httpx.WSGITransport) -> Iterator[str]:
    with served(transport) as address:
        yield address


@asynccontextmanager
async def connected(url: str, token: str) -> AsyncIterator[McpClient]:
    """The official client, with a token."""
    import httpx2
    from mcp import Client as McpClient
    from mcp.client.streamable_http import streamable_http_client

    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        McpClient(streamable_http_client(url, http_client=http)) as caller,
    ):
        yield caller


def test_each_caller_has_the_rights_of_its_own_token(
    url: str, token: str, client: Client, site: dict[str, Any]
) -> None:
    with db.transaction():
        other = accounts.create("Eve's team", "eve@example.org", "Eve")[1]
    reader = client.create_token(name="reader", scope="read")["token"]

    async def ask() -> None:
        async with connected(url, token) as ada, connected(url, other) as eve, connected(url, reader) as guest:
            assert {"start_run", "get_run", "publish"} <= {tool.name for tool in (await ada.list_tools()).tools}
            started = await ada.call_tool("start_run", {"site": "shop", "prompt": "Make it b", "agent": "codex"})
            run = client.runners()[0]["id"]
            assert run in started.content[0].text
            # All at once, so that none may see the token of another.
            answers = await asyncio.gather(
                *(caller.call_tool("get_run", {"run": run}) for caller in (ada, eve, guest) for _ in range(3))
            )
            assert [answer.is_error for answer in answers] == [False] * 3 + [True] * 3 + [False] * 3
            assert "agent_runner_not_found" in answers[3].content[0].text
            refused = await guest.call_tool("start_run", {"site": "shop", "prompt": "Make it b"})
            assert refused.is_error and "scope_missing" in refused.content[0].text
            assert "no sites yet" in (await eve.call_tool("list_sites", {})).content[0].text

    asyncio.run(ask())


def test_what_has_no_good_token_is_challenged(url: str, client: Client) -> None:
    revoked = client.create_token(name="old", scope="read")
    client.revoke_token(revoked["id"])
    for given in ({}, {"Authorization": "Basic eA=="}, {"Authorization": f"Bearer {revoked['token']}"}):
        answer = patiently.post(url, json=message("tools/list"), headers={**JSON, **given})
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
        assert "token" in answer.json()["message"]


def test_what_is_foreign_or_too_large_is_refused(url: str, token: str) -> None:
    from app.mcp.http import LARGEST_BODY

    with patiently.Client(headers={**JSON, "Authorization": f"Bearer {token}"}) as http:
        listing = message("tools/list")
        assert http.post(url, json=listing, headers={"Host": "evil.example.org"}).status_code == 421
        assert http.post(url, json=listing, headers={"Origin": "https://evil.example.org"}).status_code == 403
        assert http.post(url, json=listing, headers={"Host": "agents.example.org"}).status_code == 200
        assert http.post(url, json=listing, headers={"Origin": "https://agents.example.org"}).status_code == 200
        assert http.post(url, content=b" " * (LARGEST_BODY + 1)).status_code == 413
        assert http.get(url).status_code == 405 and http.delete(url).status_code == 405
    assert patiently.get(url.replace("/mcp", "/healthz")).text == "ok"


def test_one_user_has_only_so_many_calls_at_once(url: str, token: str, client: Client, site: dict[str, Any]) -> None:
    from app.mcp.http import MOST_CALLS_OF_A_USER

    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    waiting = message("tools/call", name="get_run", arguments={"run": runner["id"], "wait_seconds": 50})
    headers = {**JSON, "Authorization": f"Bearer {token}"}
    with ThreadPoolExecutor(MOST_CALLS_OF_A_USER + 1) as pool:
        calls = [
            pool.submit(httpx.post, url, json=waiting, headers=headers, timeout=60)
            for _ in range(MOST_CALLS_OF_A_USER + 1)
        ]
        # None of the others ends before the run does.
        first = wait(calls, return_when=FIRST_COMPLETED).done
        client.stop(runner["id"])
        assert [(call.result().status_code, call.result().headers["Retry-After"]) for call in first] == [(429, "5")]
    assert sorted(call.result().status_code for call in calls) == [200] * MOST_CALLS_OF_A_USER + [429]


def test_an_api_that_does_not_answer_is_not_the_fault_of_the_token() -> None:
    def unreachable(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with served(httpx.MockTransport(unreachable)) as url:
        answer = patiently.post(url, json=message("tools/list"), headers={**JSON, "Authorization": "Bearer x"})
    assert answer.status_code == 503 and "Cannot reach" in answer.json()["message"]
