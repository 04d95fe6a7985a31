"""The client as a whole: it has all operations of the API, and what it does when a call is refused."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.client import Client, ClientError
from tests.application import application
from tests.client.conftest import Clients

ID = str(uuid.UUID(int=1))
NOT_CALLED = {
    # The client sends these requests to the signed URLs of other operations.
    "getBlob",
    "putBlob",
    "deleteBlob",
    # For other systems, which have the secret of a hook.
    "deliverToHook",
    "deliverFromForge",
    # For browsers and for what watches the deployment.
    "getDocs",
    "getDocsPart",
    "getHealth",
    "getReadiness",
    "getMetrics",
}
ANSWER = {
    "url": "x",
    "upload_url": "http://store/x",
    "delete_url": "http://store/x",
    "file_key": "x",
    "headers": {},
}


Answers = Callable[..., tuple[Client, list[httpx.Request]]]


def busy(status: int = 429, **headers: str) -> httpx.Response:
    body = {"message": "Too many.", "error_code": "too_many"}
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): each for name, each in headers.items()})


def test_there_is_a_method_for_each_operation_of_the_api(client_of: Clients, tmp_path: Path) -> None:
    described = application().test_client().get("/api/v1/openapi.json").json["paths"]
    operations = {
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path))): operation["operationId"]
        for path, methods in described.items()
        for method, operation in methods.items()
        if method != "parameters"
    }
    called = set()

    def answer(request: httpx.Request) -> httpx.Response:
        # Fixed paths come before those with an id in their place, as in routing.
        found = [name for (method, path), name in operations.items() if sends(request, method, path)]
        called.update(found[:1] if request.url.host == "api" else [])
        if request.headers.get("Accept") == "text/event-stream":
            return httpx.Response(200, text="event: done\ndata: {}\n\n")
        is_list = request.method == "GET" and not request.url.path.endswith(ID)
        return httpx.Response(200, json=[] if is_list else ANSWER, headers={"Total": "0"})

    client = client_of(answer)
    for name in dir(client):
        method = getattr(client, name)
        if callable(method) and not name.startswith("_") and name not in ("close", "aclose"):
            result = method(**arguments_of(method, tmp_path))
            if isinstance(result, Iterator):
                list(result)
    client.diff_files(ID, ID)

    assert set(operations.values()) - called == NOT_CALLED


def sends(request: httpx.Request, method: str, path: re.Pattern[str]) -> bool:
    return request.method == method and path.fullmatch(request.url.path) is not None


def arguments_of(method: Any, folder: Path) -> dict[str, Any]:
    """Values for the parameters that must be given."""
    file = folder / "notes.txt"
    file.write_text("notes")
    values = {"Path": file, "int": 1, "str": ID, "str | None": ID}
    parameters = inspect.signature(method).parameters.values()
    return {
        each.name: values[each.annotation]
        for each in parameters
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    }


def test_a_call_that_is_refused_for_a_moment_is_sent_again_with_the_same_key(answers: Answers) -> None:
    client, sent = answers(busy(Retry_After="0"), busy(503, Retry_After="0"), httpx.Response(201, json={"id": ID}))
    assert client.create_runner(ID, "Do it.") == {"id": ID}
    assert len({request.headers["Idempotency-Key"] for request in sent}) == 1
    assert [json.loads(request.content)["prompt"] for request in sent] == ["Do it."] * 3


def test_a_diff_that_is_not_what_its_checksum_says_is_an_error(answers: Answers) -> None:
    digest = base64.b64encode(hashlib.sha256(b"a diff").digest()).decode()
    whole, damaged = (
        httpx.Response(200, content=content, headers={"Repr-Digest": f"sha-256=:{digest}:"})
        for content in (b"a diff", b"a doff")
    )
    client, _ = answers(whole, damaged)
    assert client.diff(ID) == b"a diff"
    with pytest.raises(ClientError) as failure:
        client.diff(ID)
    assert failure.value.error_code == "artifact_damaged"


def test_a_call_that_stays_refused_fails_after_three_more(answers: Answers) -> None:
    client, sent = answers(*(busy(Retry_After="0") for _ in range(9)))
    with pytest.raises(ClientError, match="Too many") as failure:
        client.get_runner(ID)
    assert (failure.value.status, failure.value.error_code, len(sent)) == (429, "too_many", 4)


@pytest.mark.parametrize("wait", ["3600", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_long_wait_is_an_error_at_once(answers: Answers, wait: str) -> None:
    client, sent = answers(busy(Retry_After=wait))
    with pytest.raises(ClientError):
        client.get_runner(ID)
    assert len(sent) == 1


def test_an_error_says_when_to_try_again(answers: Answers) -> None:
    client, _ = answers(busy(Retry_After="3600"))
    with pytest.raises(ClientError) as failure:
        client.get_runner(ID)
    assert failure.value.retry_after == 3600


def test_a_signed_url_never_sees_the_token(answers: Answers, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("notes")
    client, sent = answers(httpx.Response(200, json=ANSWER), httpx.Response(200))
    assert client.upload(file) == "x"
    assert "Authorization" not in sent[1].headers


def test_lists_go_through_all_pages(answers: Answers) -> None:
    first = httpx.Response(200, json=[{"id": 1}], headers={"Link": '<http://api/api/v1/tokens?page=2>; rel="next"'})
    client, sent = answers(first, httpx.Response(200, json=[{"id": 2}]))
    assert [token["id"] for token in client.tokens()] == [1, 2]
    assert sent[1].url.query == b"page=2"


def test_an_answer_that_is_lost_is_asked_for_again_with_the_same_key(client_of: Clients) -> None:
    keys = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("connection reset")
        return httpx.Response(201, json={"id": ID})

    assert client_of(answer).create_runner(ID, "Do it.") == {"id": ID}
    assert len(keys) == 2 and len(set(keys)) == 1


def test_the_synchronous_client_is_made_from_the_asynchronous_one() -> None:
    generate = Path(__file__).parents[2] / "bin/generate-client"
    done = subprocess.run([sys.executable, str(generate), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
