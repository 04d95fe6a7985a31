"""Who uses much processor time is served by a process of low priority while others are active, and served all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest

from app.serving.handover import NICENESS
from tests import patiently
from tests.deployment import Deployment, wait_for
from tests.serving.server import web_process

pytestmark = pytest.mark.xdist_group("serving")
LONG = {"name": "x" * 2_000_000}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with web_process(tmp_path_factory.mktemp("web")) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def ada(web: Deployment) -> Iterator[httpx.Client]:
    with patiently.Client(base_url=f"{web.url}/api/v1", headers=dict(web.api.headers)) as client:
        yield client


@pytest.fixture(scope="module")
def grace(web: Deployment) -> Iterator[httpx.Client]:
    printed = web.command("account", "create", "Grace", "--email", "grace@example.org")
    token = next(word for word in printed.split() if word.startswith("ar_"))
    with patiently.Client(base_url=f"{web.url}/api/v1", headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


@pytest.fixture
def passed_on(ada: httpx.Client, grace: httpx.Client) -> Callable[[], httpx.Response]:
    """Let both call until a call of Ada is passed on; returns its answer."""

    def call() -> httpx.Response:
        while True:
            answer = grace.get("/account")
            assert (answer.status_code, answer.headers["connection"]) == (200, "keep-alive")
            answer = ada.post("/tokens", json=LONG)
            if answer.headers["connection"] == "close":
                return answer

    return call


def low_priority(web: Deployment) -> psutil.Process | None:
    parent = psutil.Process(web.processes["web"].pid)
    return next((each for each in parent.children() if each.nice() == min(parent.nice() + NICENESS, 19)), None)


def test_a_long_request_is_answered_there_as_everywhere(
    web: Deployment, ada: httpx.Client, passed_on: Callable[[], httpx.Response]
) -> None:
    usual = ada.post("/tokens", json=LONG)
    process = low_priority(web)
    assert process is not None
    before = sum(process.cpu_times()[:2])
    answer = passed_on()
    assert answer.status_code == usual.status_code == 422
    assert {**answer.json(), "request_id": ""} == {**usual.json(), "request_id": ""}
    assert sum(process.cpu_times()[:2]) > before


def test_what_is_uploaded_there_is_what_was_sent(
    web: Deployment, ada: httpx.Client, passed_on: Callable[[], httpx.Response]
) -> None:
    content = bytes(range(256)) * 4096
    answer = None
    while answer is None or answer.headers["connection"] != "close":
        passed_on()
        upload = ada.post("/agent_runners/upload_url", json={"filename": "x", "content_type": "text/plain"}).json()
        answer = ada.put(upload["upload_url"], content=content, headers=upload["headers"])
        assert answer.status_code == 200, answer.text
    assert (web.folder / "data" / "artifacts" / upload["file_key"]).read_bytes() == content


def test_who_is_passed_on_is_served_while_that_process_is_replaced(
    web: Deployment, passed_on: Callable[[], httpx.Response]
) -> None:
    first = low_priority(web)
    assert first is not None
    first.kill()
    passed_on()
    wait_for("another process of low priority", lambda: low_priority(web) not in (None, first))
    passed_on()
