"""A forge that does its worst to the worker that calls it: it points inside, drips, floods, or answers nonsense."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from tests.security.hostile_forge import (
    LIMITS,
    OPEN,
    PULL,
    TOKEN,
    forge_at,
    of_repository,
    refused,
)
from tests.security.hostile_server import Reply, answer, serving
from workers.forges.deadline import ends_within
from workers.forges.registry import make_forge

SHORT = dataclasses.replace(LIMITS, call_seconds=1.0, total_seconds=2.0)


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine needs, these tests go without."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_address_that_was_judged_is_the_one_that_is_called() -> None:
    """No resolver knows the name, so whatever reached the server did not resolve it again."""
    host = dataclasses.replace(OPEN, resolve=(("forge.example", "127.0.0.1"),))
    with serving(of_repository(lambda target: [answer(PULL)])) as server:
        assert forge_at(server, host, "Forge.example").get_pull_request(1).number == 1
    assert all(f"Host: forge.example:{server.port}\r\n" in head for head in server.asked)


def test_another_host_of_the_service_is_judged_and_pinned_as_well() -> None:
    """Azure DevOps has people on a host of its own, which no resolver has to know here."""
    names = (("dev.azure.com", "127.0.0.1"), ("vssps.dev.azure.com", "127.0.0.1"))
    person = {"id": "i1", "isActive": True, "providerDisplayName": "Ada", "properties": {}}
    answers = {
        "/acme/app/_apis/git/repositories/app": {"id": "r1", "project": {"id": "p1"}},
        "/acme/p1/_apis/git/repositories/r1/pullrequests/1": {"reviewers": []},
        "/acme/_apis/identities": {"value": [person]},
        "/acme/p1/_apis/git/repositories/r1/pullrequests/1/reviewers/i1": {},
    }
    with serving(lambda target: [answer(answers[target.partition("?")[0]])]) as server:
        url, host = f"http://dev.azure.com:{server.port}/acme/_git/app", dataclasses.replace(OPEN, resolve=names)
        assert make_forge("azure_devops", url, None, TOKEN, host).request_reviews(1, ["ada"]) == []
        asked = {head.split()[1].partition("?")[0]: head for head in server.asked}
        assert asked.keys() == answers.keys()
        on_its_own = f"Host: vssps.dev.azure.com:{server.port}\r\n"
        assert [path for path, head in asked.items() if on_its_own in head] == ["/acme/_apis/identities"]


@pytest.mark.parametrize("api", ["http://forge.example:{port}", None])
def test_no_inner_address_is_called(api: str | None) -> None:
    """With the URL of the API, and with the one that follows from the repository's."""
    names = (("forge.example", "127.0.0.1"),)
    closed = dataclasses.replace(OPEN, allow_private_addresses=False, resolve=names)
    with serving(lambda target: [answer({"message": "an inner secret"}, status=400)]) as server:
        repository = f"http://forge.example:{server.port}/acme/app"
        given = api and api.format(port=server.port)
        error = refused(lambda: make_forge("github", repository, given, TOKEN, closed))
        assert error.code == "repository_refused" and "private address" in error.message
        assert server.asked == []


@pytest.mark.parametrize("name", ["[::1]", "0x7f.1", "2130706433", "127.1", "169.254.169.254", "[fd00:ec2::254]"])
def test_no_spelling_of_an_inner_address_is_called(name: str) -> None:
    closed = dataclasses.replace(OPEN, allow_private_addresses=False)
    error = refused(lambda: make_forge("github", "https://github.com/a/b", f"http://{name}:80", TOKEN, closed))
    assert error.code == "repository_refused"


def test_a_port_of_zero_is_refused() -> None:
    error = refused(lambda: make_forge("github", "https://github.com/a/b", "http://127.0.0.1:0", TOKEN, OPEN))
    assert error.code == "repository_refused"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_to_another_server_is_followed(status: int) -> None:
    with serving(lambda target: [answer({})]) as other:
        location = f"Location: http://localhost:{other.port}/repos/acme/app"
        with serving(lambda target: [answer({}, location, status=status)]) as server:
            refused(lambda: forge_at(server).get_pull_request(1))
        assert other.asked == []


def test_an_answer_that_is_not_of_a_forge_is_not_quoted() -> None:
    for data in ({"secret": "an inner secret"}, ["an inner secret"], b"an inner secret", {"url": "inner: secret"}):
        for status in (200, 400, 500):
            with serving(lambda target, data=data, status=status: [answer(data, status=status)]) as server:
                assert "inner" not in refused(lambda: forge_at(server).get_pull_request(1)).message


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("github", 200, "forge_unreachable"),
        ("gitlab", 200, "forge_unreachable"),
        ("gitlab", 422, "forge_refused"),
        ("bitbucket", 200, "forge_unreachable"),
        ("azure_devops", 200, "forge_unreachable"),
        ("azure_devops", 422, "forge_refused"),
    ],
)
def test_an_answer_that_is_nested_too_deep_is_no_error_of_ours(kind: str, status: int, code: str) -> None:
    with serving(lambda target: [answer(b'{"message": ' + b"[" * 100_000, status=status)]) as server:
        assert refused(lambda: forge_at(server, kind=kind).get_pull_request(1)).code == code


def test_what_a_forge_says_is_shortened() -> None:
    long_error = {"message": "x" * 50_000, "errors": [{"message": "y" * 1_000}] * 90}
    with serving(lambda target: [answer(long_error, status=422)]) as server:
        assert "xxx" in refused(lambda: forge_at(server).get_pull_request(1)).message


def drip(chunk: bytes) -> Iterator[bytes]:
    for _ in range(3_000):
        yield chunk
        time.sleep(0.1)


def in_the_status_line(target: str) -> Iterator[bytes]:
    return drip(b"H")


def in_the_headers(target: str) -> Iterator[bytes]:
    return itertools.chain([b"HTTP/1.1 200 OK\r\n"], drip(b"X: y\r\n"))


def in_the_body(target: str) -> Iterator[bytes]:
    return itertools.chain([b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"], drip(b" "))


def in_interim_answers(target: str) -> Iterator[bytes]:
    return drip(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("reply", [in_the_status_line, in_the_headers, in_the_body, in_interim_answers])
def test_an_answer_that_drips_is_ended_at_the_deadline(reply: Reply) -> None:
    with serving(reply) as server:
        started = time.monotonic()
        error = refused(lambda: forge_at(server, limits=SHORT).get_pull_request(1))
        assert (error.code, error.retryable) == ("forge_unreachable", True) and "timed out" in error.message
        assert time.monotonic() - started < 200, "it drips for three hundred seconds"


def test_calls_together_have_a_deadline_too() -> None:
    def slow(target: str) -> Iterator[bytes]:
        time.sleep(0.8)
        yield answer([PULL], f'Link: <http://127.0.0.1:{server.port}/repos/acme/app/pulls?page=2>; rel="next"')

    with serving(of_repository(slow)) as server:
        assert "timed out" in refused(lambda: forge_at(server, limits=SHORT).find_pull_request("feature")).message
        assert len(server.asked) < LIMITS.calls


def test_so_have_the_calls_of_several_clients_for_one_purpose() -> None:
    released = threading.Event()

    def hold(target: str) -> Iterator[bytes]:
        released.wait(60)
        yield b""

    with serving(hold) as server, ends_within(0.5):
        assert "timed out" in refused(lambda: forge_at(server).get_pull_request(1)).message
        assert "timed out" in refused(lambda: forge_at(server).get_pull_request(1)).message
        assert not released.is_set() and len(server.asked) == 1, "there was no time left to ask again"
        released.set()


def test_endless_pages_are_ended() -> None:
    def page(target: str) -> list[bytes]:
        return [answer([PULL], f'Link: <http://127.0.0.1:{server.port}/repos/acme/app/pulls?page=2>; rel="next"')]

    with serving(of_repository(page)) as server:
        error = refused(lambda: forge_at(server).find_pull_request("feature"))
        assert error.code == "forge_refused" and "requests" in error.message
        assert len(server.asked) == LIMITS.calls


def test_endless_redirects_are_ended() -> None:
    numbers = itertools.count()

    def move(target: str) -> list[bytes]:
        return [answer({}, f"Location: http://127.0.0.1:{server.port}/{next(numbers)}", status=301)]

    with serving(move) as server:
        assert refused(lambda: forge_at(server).get_pull_request(1)).code == "forge_refused"
        assert len(server.asked) == LIMITS.calls


def test_an_answer_that_is_too_large_is_ended() -> None:
    def flood(target: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        yield from itertools.repeat(b"[" * 65536, 2_000)

    with serving(flood) as server:
        error = refused(lambda: forge_at(server).get_pull_request(1))
        assert error.code == "forge_refused" and "200,000 bytes" in error.message


def test_a_compressed_answer_is_not_opened() -> None:
    bomb = answer(gzip.compress(b" " * 1_000_000), "Content-Encoding: gzip")
    with serving(lambda target: [bomb]) as server:
        error = refused(lambda: forge_at(server).get_pull_request(1))
        assert error.code == "forge_refused" and "compressed" in error.message
        assert "Accept-Encoding: identity\r\n" in server.asked[0]
