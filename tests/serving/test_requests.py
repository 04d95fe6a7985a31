"""What arrives in pieces, at once or slowly is read as whole requests, and answers arrive whole."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest

from tests import patiently
from tests.deployment import Deployment
from tests.serving.server import connect, web_process

pytestmark = pytest.mark.xdist_group("serving")
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with web_process(tmp_path_factory.mktemp("web")) as deployment:
        yield deployment


def post(web: Deployment, *headers: str, body: bytes = b"") -> bytes:
    """A request that makes a token."""
    authorization = f"Authorization: {web.api.headers['Authorization']}"
    lines = ["POST /api/v1/tokens HTTP/1.1", "Host: a", "Content-Type: application/json", authorization, *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


BODY = json.dumps({"name": "x" * 40, "scope": "read"}).encode()


def receive(client: socket.socket, end: bytes) -> bytes:
    received = b""
    while end not in received:
        data = client.recv(65536)
        assert data, f"the connection ended after {received!r}"
        received += data
    return received


def test_a_request_may_arrive_byte_by_byte(web: Deployment) -> None:
    with connect(web) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(web, f"Content-Length: {len(BODY)}", body=BODY):
            client.send(bytes([byte]))
        assert receive(client, b"\r\n").startswith(b"HTTP/1.1 201 ")


def test_a_body_may_come_in_chunks(web: Deployment) -> None:
    with connect(web, post(web, "Transfer-Encoding: chunked")) as client:
        for part in (BODY[:7], BODY[7:]):
            client.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        client.sendall(b"0\r\n\r\n")
        assert receive(client, b"\r\n").startswith(b"HTTP/1.1 201 ")


def test_requests_that_are_sent_at_once_are_answered_in_their_order(web: Deployment) -> None:
    missing = HEALTH.replace(b"/healthz", b"/missing")
    with connect(web, HEALTH + missing + HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as client:
        received = b""
        while data := client.recv(65536):
            received += data
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"404", b"200"]


def test_a_client_that_waits_for_permission_gets_it_once(web: Deployment) -> None:
    with connect(web, post(web, "Expect: 100-continue", f"Content-Length: {len(BODY)}")) as client:
        assert receive(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        assert receive(client, b"\r\n").startswith(b"HTTP/1.1 201 ")


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(web: Deployment) -> None:
    with connect(web, post(web, "Expect: 100-continue", "Content-Length: 9000000")) as client:
        received = b""
        while data := client.recv(65536):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ") and b"Connection: close" in head
    assert json.loads(body)["error_code"] == "too_large"


def test_a_body_in_chunks_that_is_too_long_is_refused(web: Deployment) -> None:
    answer = web.api.post(
        "/tokens", content=(b" " * 65536 for _ in range(200)), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


def test_an_upload_without_a_valid_signature_is_refused_before_it_is_sent(web: Deployment) -> None:
    put = b"PUT /api/v1/blobs/a/b?limit=1000&type=a&expires=1&signature=a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    with connect(web, put) as client:
        assert receive(client, b"\r\n").startswith(b"HTTP/1.1 403 ")


def test_a_large_file_arrives_whole(web: Deployment) -> None:
    content = bytes(range(256)) * 4096 * 9
    signed = web.call("POST", "/agent_runners/upload_url", json={"filename": "a", "content_type": "text/plain"})
    assert patiently.put(signed["upload_url"], content=content, headers=signed["headers"]).status_code == 200
    stored = web.artifacts / signed["file_key"]
    assert stored.read_bytes() == content


def test_an_upload_that_breaks_off_stores_nothing(web: Deployment) -> None:
    signed = web.call("POST", "/agent_runners/upload_url", json={"filename": "a", "content_type": "text/plain"})
    target = signed["upload_url"].removeprefix(web.url).encode()
    head = b"PUT " + target + b" HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n"
    with connect(web, head + b"half"):
        pass
    assert web.api.get("/sites").status_code == 200
    assert not (web.artifacts / signed["file_key"]).exists()


def test_a_slow_reader_gets_the_whole_answer(web: Deployment) -> None:
    whole = patiently.get(f"{web.url}/api/v1/openapi.json").content
    request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with connect(web, request, receive_buffer=4096) as client:
        received = b""
        while data := client.recv(4096):
            received += data
    assert received.partition(b"\r\n\r\n")[2] == whole
    assert len(whole) > 65536, "it does not fit into the connection"


def test_nonsense_is_refused(web: Deployment) -> None:
    with connect(web, b"\x16\x03\x01 nonsense\r\n\r\n") as client:
        assert receive(client, b"\r\n").startswith(b"HTTP/1.1 400 ")
