"""Clients without a token that send or read slowly, or not at all, cost a connection each and keep nobody out."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cli.deployment.web import THREADS
from app.streams.capacity import MOST_CONNECTIONS
from tests import patiently
from tests.api.calling import patch_of
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


def test_answers_that_are_made_as_they_are_sent_leave_half_of_the_threads(web: Deployment) -> None:
    answer = f"GET /api/v1/agent_runners/{make_large_diff(web)}/diff?strip_binary=true HTTP/1.1\r\nHost: a\r\n"
    request = f"{answer}Authorization: {web.api.headers['Authorization']}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(3 * THREADS):
            stack.enter_context(connect(web, request, receive_buffer=4096))
        assert all(is_answered(web) for _ in range(5))
        assert len(web.call("GET", "/sites")) == 1


def make_large_diff(web: Deployment) -> str:
    """The id of a runner whose diff is larger than what a connection and its buffers hold."""
    site = web.call("POST", "/sites", json={"repo_url": "https://github.com/example/shop.git"})
    runner = web.run(site, "Say hello.", agent="shell")
    web.call("DELETE", f"/agent_runners/{runner['id']}")
    diff = patch_of("x" * 9 * 1024 * 1024).encode()
    fields = {"filename": "a.patch", "content_type": "text/plain", "size": len(diff)}
    upload = web.call("POST", "/agent_runners/upload_url", json=fields)
    assert patiently.put(upload["upload_url"], content=diff, headers=upload["headers"]).is_success
    web.call("PATCH", f"/agent_runners/{runner['id']}", json={"result_diff_s3_key": upload["file_key"]})
    return str(runner["id"])


def test_requests_of_one_account_that_never_end_leave_threads_to_the_others(web: Deployment) -> None:
    index, others = stored_index(web), another_account(web)
    kept = index.rename(index.with_name("kept"))
    os.mkfifo(index)
    request = f"GET /api/v1/agent_runners/{index.parent.name}/diff/files HTTP/1.1\r\nHost: a\r\n"
    request += f"Authorization: {web.api.headers['Authorization']}\r\nConnection: close\r\n\r\n"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(web, request.encode())) for _ in range(3 * THREADS)]
        for _ in range(5):
            assert httpx.get(f"{web.url}/api/v1/sites", headers=others, timeout=60).json() == []
        assert not any(is_readable(client) for client in clients), "their threads wait for the file"
        pipe = os.open(index, os.O_RDWR)
        kept.replace(index)
        os.close(pipe)
        answers = [client.recv(1 << 16) for client in clients]
    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) >= 2 * THREADS, "those that waited were served"


def stored_index(web: Deployment) -> Path:
    """The file with the index of the diff of a new runner."""
    site = web.call("POST", "/sites", json={"repo_url": "https://github.com/example/garden.git"})
    runner = web.run(site, "Say hello.", agent="shell")
    web.call("DELETE", f"/agent_runners/{runner['id']}")
    web.call("PATCH", f"/agent_runners/{runner['id']}", json={"result_diff": patch_of("x")})
    return next((web.artifacts / "diff-indexes" / "agent-runners-diffs" / runner["id"]).iterdir())


def another_account(web: Deployment) -> dict[str, str]:
    """The header with a token of an account of its own."""
    email = f"{uuid.uuid4()}@example.org"
    printed = web.command("account", "create", "Others", "--email", email, "--name", "Grace Hopper")
    return {"Authorization": f"Bearer {next(word for word in printed.split() if word.startswith('ar_'))}"}


@pytest.mark.parametrize("sent", [HALF_HEAD, HALF_BODY])
def test_a_client_that_drips_is_cut_off(web: Deployment, sent: bytes) -> None:
    with connect(web, sent) as client:
        assert any(is_closed_after_another_byte(client) for _ in range(1200)), "a byte now and then kept it open"


def is_closed_after_another_byte(client: socket.socket) -> bool:
    time.sleep(0.25)
    # It is reset if the server had not read the last byte when it closed it.
    with contextlib.suppress(ConnectionError):
        if not (is_readable(client) and client.recv(1) == b""):
            client.send(b"a")
            return False
    return True


def is_readable(client: socket.socket) -> bool:
    readable, _, _ = select.select([client], [], [], 0)
    return bool(readable)
