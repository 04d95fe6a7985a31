"""Who uses much processor time is served by a process of low priority while others are active, and served all the same."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests import patiently
from tests.deployment import Deployment, wait_for
from tests.serving.passing import (
    BODY,
    begun,
    finish,
    holds,
    is_on_the_way,
    is_pending,
    low_priority,
    passed_on_by_head,
    use_much,
)
from tests.serving.server import is_answered, web_process

pytestmark = pytest.mark.xdist_group("serving")
Call = Callable[[], httpx.Response]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with web_process(tmp_path_factory.mktemp("web")) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def ada(web: Deployment) -> Iterator[httpx.Client]:
    with caller(web, web.api.headers["Authorization"]) as client:
        yield client


@pytest.fixture(scope="module")
def grace(web: Deployment) -> Iterator[httpx.Client]:
    printed = web.command("account", "create", "Grace", "--email", "grace@example.org")
    token = next(word for word in printed.split() if word.startswith("ar_"))
    with caller(web, f"Bearer {token}") as client:
        yield client


def caller(web: Deployment, authorization: str) -> httpx.Client:
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    return patiently.Client(base_url=f"{web.url}/api/v1", headers=headers)


def is_passed_on(answer: httpx.Response) -> bool:
    """The answer of a process of low priority is the last one of its connection."""
    return answer.headers["connection"] == "close"


@pytest.fixture
def passed_on(ada: httpx.Client, grace: httpx.Client) -> Iterator[Callable[[Call], httpx.Response]]:
    """Have Ada use much while Grace is active, until that call of Ada is passed on; returns its answer."""
    is_over = threading.Event()

    def go_on() -> None:
        # Not patiently: one test ends the server.
        while not is_over.wait(0.3):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{grace.base_url}account", headers=grace.headers, timeout=20, verify=False)

    def until(call: Call) -> httpx.Response:
        def answer() -> httpx.Response | None:
            answer = call()
            if is_passed_on(answer):
                return answer
            use_much(ada)
            return None

        found: httpx.Response = wait_for("a request that is passed on", answer, pause=0.0)
        return found

    with ThreadPoolExecutor() as pool:
        beside = pool.submit(go_on)
        try:
            yield until
        finally:
            is_over.set()
        beside.result()


def test_a_request_is_answered_there_as_everywhere(
    ada: httpx.Client, grace: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    usual = ada.post("/sites", content=BODY)
    answer = passed_on(lambda: ada.post("/sites", content=BODY))
    assert answer.status_code == usual.status_code == 422
    assert {**answer.json(), "request_id": ""} == {**usual.json(), "request_id": ""}
    assert not is_passed_on(grace.get("/account"))


def test_what_is_uploaded_there_is_what_was_sent(
    web: Deployment, ada: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    content = bytes(range(256)) * 4096
    asked = ada.post("/agent_runners/upload_url", json={"filename": "x", "content_type": "text/plain"}).json()

    def upload() -> httpx.Response:
        return ada.put(asked["upload_url"], content=content, headers=asked["headers"])

    assert passed_on(upload).status_code == 200
    assert (web.folder / "data" / "artifacts" / asked["file_key"]).read_bytes() == content


def test_what_follows_a_head_is_received_there(
    web: Deployment, ada: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    """The head says whose request it probably is. The client is asked for the rest once."""
    passed_on(lambda: ada.get("/account"))
    with passed_on_by_head(web, ada, lambda client: holds(low_priority(web), client)) as client:
        answer = finish(client)
    assert (answer.status_code, is_passed_on(answer)) == (422, True)


def test_who_is_passed_on_is_served_while_that_process_is_replaced(
    web: Deployment, ada: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    passed_on(lambda: ada.get("/account"))
    first = low_priority(web)
    assert first is not None
    with passed_on_by_head(web, ada, lambda client: is_on_the_way(web, client), is_suspended=True) as client:
        first.kill()
        answer = finish(client)
    assert (answer.status_code, is_passed_on(answer)) == (422, True)
    assert low_priority(web) not in (None, first)


def test_nothing_is_left_open_of_what_is_passed_on(
    web: Deployment, ada: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    processes = psutil.Process(web.processes["web"].pid).children()

    def files() -> int:
        return max(each.num_fds() for each in processes)

    passed_on(lambda: ada.get("/account"))
    before = files()
    for _ in range(20):
        passed_on(lambda: ada.get("/account"))
    wait_for("few open files", lambda: files() < before + 10)


def test_after_a_reload_there_is_another_one(
    web: Deployment, ada: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    master = psutil.Process(web.processes["web"].pid)
    before = master.children()
    master.send_signal(signal.SIGHUP)
    wait_for("the end of the old processes", lambda: not any(each.is_running() for each in before))
    assert passed_on(lambda: ada.get("/account")).status_code == 200


def test_without_one_who_uses_much_is_served_all_the_same(
    web: Deployment, ada: httpx.Client, grace: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    passed_on(lambda: ada.get("/account"))
    master, first = psutil.Process(web.processes["web"].pid), low_priority(web)
    assert first is not None
    # So that no other one is started.
    master.suspend()
    first.kill()

    def call() -> httpx.Response | None:
        assert grace.get("/account").status_code == 200
        with begun(web, ada) as client:
            client.settimeout(1)
            try:
                client.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                # It was passed on before it was known that nobody is there.
                return None
            return finish(client)

    try:
        assert wait_for("an answer", call).status_code == 422
    finally:
        master.resume()
    wait_for("another process of low priority", lambda: low_priority(web) not in (None, first))


def test_clients_that_are_gone_before_they_are_asked_for_the_rest_end_no_process(
    web: Deployment, ada: httpx.Client, grace: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    processes = psutil.Process(web.processes["web"].pid).children()
    # Of the first ones a sender, of the others a receiver asks for the rest.
    for caller in (grace, ada):
        for _ in range(50):
            with begun(web, caller) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        passed_on(lambda: ada.get("/account"))
    assert grace.get("/account").status_code == 200
    assert psutil.Process(web.processes["web"].pid).children() == processes


def test_a_receiver_that_is_left_alone_makes_room_for_a_sender(
    web: Deployment, grace: httpx.Client, ada: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    master, first = psutil.Process(web.processes["web"].pid), low_priority(web)
    assert first is not None
    # So that the sender is the oldest one, which goes when there is to be one process less.
    first.kill()
    wait_for("another process of low priority", lambda: low_priority(web) not in (None, first))
    master.send_signal(signal.SIGTTOU)
    wait_for("an only process", lambda: len(master.children()) == 1)
    try:
        assert wait_for("an answer", lambda: is_answered(web))
    finally:
        master.send_signal(signal.SIGTTIN)
    assert passed_on(lambda: ada.get("/account")).status_code == 200


def test_what_was_passed_on_is_answered_before_the_server_stops(
    web: Deployment, ada: httpx.Client, passed_on: Callable[[Call], httpx.Response]
) -> None:
    """The last test of the module, since it ends the server."""
    passed_on(lambda: ada.get("/account"))
    receiver, master = low_priority(web), psutil.Process(web.processes["web"].pid)
    assert receiver is not None
    # Some requests are there, another one is on the way there, when the processes are ended.
    with contextlib.ExitStack() as clients:
        asked = [
            clients.enter_context(passed_on_by_head(web, ada, lambda client: holds(receiver, client))) for _ in "ab"
        ]
        last = passed_on_by_head(web, ada, lambda client: is_on_the_way(web, client), is_suspended=True)
        asked.append(clients.enter_context(last))
        master.terminate()
        wait_for("the signal", lambda: is_pending(signal.SIGTERM, receiver))
        receiver.resume()
        assert [finish(client).status_code for client in asked] == [422] * 3
    web.stop("web")
