"""A server of Git LFS, or a repository with pointers, that does its worst to the worker.

Whatever it does, the file stays a pointer, the reason is named, and no credential goes to another server.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.security import hostile_server
from tests.security.hostile_server import Server as HostileServer
from tests.security.hostile_server import answer
from workers.errors import EngineError, Interrupted
from workers.job import Host
from workers.lfs.batch import Action
from workers.lfs.cache import Cache, Writer
from workers.lfs.pointers import Pointer, parse
from workers.lfs.server import AT_ONCE, LfsFailed, Server
from workers.lfs.transfer import fetch
from workers.processes.lifeline import Lifeline
from workers.repository.git import Git
from workers.repository.remote import Remote

TOKEN = "the-token-of-the-site"
CONTENT = b"content " * 100
POINTER = Pointer(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
Reply = Callable[[str, HostileServer], Iterable[bytes]]


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine needs, these tests go without."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextlib.contextmanager
def serving(reply: Reply) -> Iterator[HostileServer]:
    """A server whose `reply` gets the target of the request, and the server itself."""
    with hostile_server.serving(lambda target: reply(target, server)) as server:
        yield server


def batch(href: object, **more: object) -> list[bytes]:
    action = {"href": href, **more}
    return [answer({"objects": [{"oid": POINTER.oid, "size": POINTER.size, "actions": {"download": action}}]})]


def serves(*chunks: bytes) -> Reply:
    """Answers a batch with a URL of its own, which has these bytes."""

    def reply(target: str, server: HostileServer) -> Iterable[bytes]:
        return batch(f"http://127.0.0.1:{server.port}/object") if target.endswith("/batch") else chunks

    return reply


def fetch_from(
    server: HostileServer,
    folder: Path,
    *,
    seconds: float = 30.0,
    check: Callable[[], None] = lambda: None,
    pointers: tuple[Pointer, ...] = (POINTER,),
    **settings: object,
) -> dict[str, str]:
    usual = {"allowed_protocols": ("http", "https"), "allow_private_addresses": True}
    host = Host(folder, **{**usual, **settings})  # type: ignore[arg-type]
    remote = Remote(f"http://127.0.0.1:{server.port}/acme/app.git", TOKEN, host)
    cache = Cache(host, "site")
    failures = fetch(pointers, cache, Server(remote, host, seconds, check))
    for pointer in pointers:
        assert (pointer.oid in failures) == (cache.find(pointer) is None)
    assert all(len(reason) < 500 and TOKEN not in reason for reason in failures.values())
    return failures


def test_an_honest_server_is_believed(tmp_path: Path) -> None:
    with serving(serves(answer(CONTENT))) as server:
        assert fetch_from(server, tmp_path) == {}
    assert [head.split()[1] for head in server.asked] == ["/acme/app.git/info/lfs/objects/batch", "/object"]


ENDLESS = b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n"
LIES = {
    "other content": (answer(CONTENT[::-1]), "its content is not what its pointer says"),
    "too little": (answer(CONTENT[:-1]), "its content is not what its pointer says"),
    "an end before the announced one": (answer(CONTENT + CONTENT)[: -len(CONTENT)], "did not answer"),
    "a redirect": (answer(b"", "Location: http://169.254.169.254/", status=302), "cloud metadata address"),
    "a redirect to a file": (answer(b"", "Location: file:///etc/passwd", status=302), "no valid URL"),
    "a redirect to nowhere": (answer(b"", "Location: http://[::1/", status=302), "makes no sense"),
    "a redirect to itself": (answer(b"", "Location: /object", status=302), "redirects more than 3 times"),
    "a compressed answer": (answer(gzip.compress(bytes(10**7)), "Content-Encoding: gzip"), "compressed answer"),
    "an error": (answer(b"no", status=500), "status 500"),
    "no HTTP": (b"SSH-2.0-nothing\r\n", "does not speak HTTP"),
    "nothing": (b"", "did not answer"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_the_object_is_not_kept(lie: str, tmp_path: Path) -> None:
    sent, reason = LIES[lie]
    with serving(serves(sent)) as server:
        assert reason in fetch_from(server, tmp_path)[POINTER.oid]
    assert not list(tmp_path.glob("lfs/*/*"))


def test_an_endless_answer_ends_with_the_size_of_the_object(tmp_path: Path) -> None:
    def reply(target: str, server: HostileServer) -> Iterable[bytes]:
        if target.endswith("/batch"):
            return batch(f"http://127.0.0.1:{server.port}/object")
        return itertools.chain([ENDLESS], itertools.repeat(bytes(65536)))

    with serving(reply) as server:
        assert "not what its pointer says" in fetch_from(server, tmp_path)[POINTER.oid]


def test_a_batch_without_end_is_refused(tmp_path: Path) -> None:
    with serving(lambda target, server: itertools.chain([ENDLESS], itertools.repeat(b" " * 65536))) as server:
        assert "an answer of more than" in fetch_from(server, tmp_path)[POINTER.oid]


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"objects": 1}',
        b'{"objects": [], "transfer": "custom"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_batch_that_makes_no_sense_is_named(body: bytes, tmp_path: Path) -> None:
    with serving(lambda target, server: [answer(body)]) as server:
        assert fetch_from(server, tmp_path)[POINTER.oid]


ODD_URLS: dict[str, Any] = {
    "no string": 5,
    "a script": "javascript:alert(1)",
    "a file": "file:///etc/passwd",
    "no host": "http://",
    "a port that is none": "http://example.org:99999/",
    "port 0": "http://example.org:0/",
    "half an address": "http://[::1/",
    "a line end": "http://example.org/\r\nX: y",
    "a user": "http://user:word@127.0.0.1/",
    "another character set": "http://éxample.org/\u202e",
    "nothing": None,
}


@pytest.mark.parametrize("kind", ODD_URLS)
def test_no_odd_url_is_called(kind: str, tmp_path: Path) -> None:
    with serving(lambda target, server: batch(ODD_URLS[kind])) as server:
        assert fetch_from(server, tmp_path)[POINTER.oid]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "headers", [{"X": "a\r\nY: b"}, {"X Y": "a"}, {"X": 5}, ["X"], {f"X-{n}": "a" for n in range(99)}]
)
def test_no_odd_header_is_sent(headers: Any, tmp_path: Path) -> None:
    with serving(lambda target, server: batch(f"http://127.0.0.1:{server.port}/object", header=headers)) as server:
        assert "makes no sense" in fetch_from(server, tmp_path)[POINTER.oid]
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "2130706433", "169.254.169.254", "inner.example"])
def test_no_inner_address_is_called(name: str, tmp_path: Path) -> None:
    """The repository's server is outside, as the operator's settings say, and names one that is inside."""
    with serving(lambda target, server: []) as inner:
        host = Host(tmp_path, allowed_protocols=("http",), resolve=(("inner.example", "127.0.0.1"),))
        remote = Remote("http://forge.example/acme/app.git", TOKEN, host)
        server = Server(remote, host, 30.0, lambda: None)
        with pytest.raises(LfsFailed, match=r"address|own machine"):
            server.get(Action(f"http://{name}:{inner.port}/object"), Writer(io.BytesIO(), POINTER))
        assert inner.asked == []


def test_the_credential_goes_to_the_server_of_the_repository_alone(tmp_path: Path) -> None:
    def own(target: str, server: HostileServer) -> Iterable[bytes]:
        return batch(
            f"http://127.0.0.1:{other.port}/object?signed=1", header={"X-Own": "of the answer", "Host": "evil"}
        )

    with serving(lambda target, server: [answer(CONTENT)]) as other, serving(own) as server:
        assert fetch_from(server, tmp_path) == {}
    assert "authorization: basic" in server.asked[0].lower()
    assert "authorization" not in other.asked[0].lower()
    assert "X-Own: of the answer\r\n" in other.asked[0]
    assert f"Host: 127.0.0.1:{other.port}\r\n" in other.asked[0] and "evil" not in other.asked[0]


def test_a_redirect_to_another_server_takes_no_header_along(tmp_path: Path) -> None:
    def own(target: str, server: HostileServer) -> Iterable[bytes]:
        if target.endswith("/batch"):
            return batch(f"http://127.0.0.1:{server.port}/object", header={"X-Own": "of the answer"})
        return [answer(b"", f"Location: http://127.0.0.1:{other.port}/elsewhere", status=302)]

    with serving(lambda target, server: [answer(CONTENT)]) as other, serving(own) as server:
        assert fetch_from(server, tmp_path) == {}
    assert "authorization" in server.asked[1].lower() and "X-Own" in server.asked[1]
    assert "authorization" not in other.asked[0].lower() and "X-Own" not in other.asked[0]


def test_a_credential_is_made_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return TOKEN

    host = Host(tmp_path, allowed_protocols=("http",), allow_private_addresses=True)
    with serving(serves(answer(CONTENT))) as server:
        remote = Remote(f"http://127.0.0.1:{server.port}/acme/app.git", make, host)
        assert fetch([POINTER], Cache(host, "site"), Server(remote, host, 30.0, lambda: None)) == {}
    assert len(made) == 1


def test_a_plain_connection_needs_the_operators_permission(tmp_path: Path) -> None:
    host = Host(tmp_path, resolve=(("forge.example", "127.0.0.1"),), allow_private_addresses=True)
    server = Server(Remote("https://forge.example/acme/app.git", TOKEN, host), host, 30.0, lambda: None)
    with pytest.raises(LfsFailed, match="not allowed"):
        server.get(Action("http://forge.example/object"), Writer(io.BytesIO(), POINTER))


def test_the_server_cannot_change_the_size_of_an_object(tmp_path: Path) -> None:
    listed = {"objects": [{"oid": POINTER.oid, "size": 1, "actions": {"download": {"href": "http://127.0.0.1/"}}}]}
    with serving(lambda target, server: [answer(listed)]) as server:
        assert "another size" in fetch_from(server, tmp_path)[POINTER.oid]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 422, 429, 500])
def test_a_server_that_takes_no_batch_is_asked_once(status: int, tmp_path: Path) -> None:
    pointers = tuple(Pointer(f"{number:064x}", 5) for number in range(250))
    with serving(lambda target, server: [answer({}, status=status)]) as server:
        failures = fetch_from(server, tmp_path, pointers=pointers)
    assert len(server.asked) == 1
    assert len(failures) == 250


def drip(target: str, server: HostileServer) -> Iterable[bytes]:
    """Sends the object so slowly that it never ends."""
    if target.endswith("/batch"):
        yield from batch(f"http://127.0.0.1:{server.port}/object")
        return
    yield f"HTTP/1.1 200 X\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
    while True:
        time.sleep(0.05)
        yield b"c"


def silence(target: str, server: HostileServer) -> Iterable[bytes]:
    if target.endswith("/batch"):
        yield from batch(f"http://127.0.0.1:{server.port}/object")
        return
    time.sleep(60)


@pytest.mark.parametrize("reply", [drip, silence])
def test_a_slow_server_ends_with_the_time_for_all_objects(reply: Reply, tmp_path: Path) -> None:
    with serving(reply) as server:
        assert fetch_from(server, tmp_path, seconds=1.5)[POINTER.oid]


@pytest.mark.parametrize("reply", [drip, silence])
def test_a_stop_ends_a_download(reply: Reply, tmp_path: Path) -> None:
    lifeline = Lifeline(1.0)
    check = Git(tmp_path, lifeline)
    with serving(reply) as server, pytest.raises((Interrupted, EngineError)):
        fetch_from(server, tmp_path, seconds=50.0, check=lambda: check.check_time(None))
    assert not list(tmp_path.glob("lfs/*/*"))


# A download that breaks off


def asked_for_parts(server: HostileServer) -> list[str | None]:
    """The range that each request for the object names."""
    found = (re.search(r"^range: (.*?)\r?$", head, re.IGNORECASE | re.MULTILINE) for head in server.asked[1:])
    return [each[1] if each else None for each in found]


def breaks_off(second: bytes) -> Reply:
    """The first answer with the object ends after 300 bytes; then comes the second."""
    first = answer(CONTENT)[: -len(CONTENT)] + CONTENT[:300]
    answers = iter([first, second])

    def reply(target: str, server: HostileServer) -> Iterable[bytes]:
        return serves(b"")(target, server) if target.endswith("/batch") else [next(answers)]

    return reply


def part(start: int, content: bytes, *, status: int = 206) -> bytes:
    return answer(content, f"Content-Range: bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}", status=status)


@pytest.mark.parametrize(
    "second", [part(300, CONTENT[300:]), answer(CONTENT)], ids=["goes on", "takes no notice of the range"]
)
def test_a_download_that_breaks_off_goes_on_where_it_was(second: bytes, tmp_path: Path) -> None:
    with serving(breaks_off(second)) as server:
        assert fetch_from(server, tmp_path) == {}
    assert asked_for_parts(server) == [None, "bytes=300-"]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (part(0, CONTENT), "another part of it"),
        (part(299, CONTENT[299:]), "another part of it"),
        (answer(CONTENT[300:], status=206), "another part of it"),
        (part(300, CONTENT[:500]), "not what its pointer says"),
        (part(300, CONTENT[300:] + b"x"), "not what its pointer says"),
        (answer(b"", status=416), "status 416"),
        (part(300, CONTENT[300:])[:-1], "did not answer"),
        (answer(CONTENT)[: 300 - len(CONTENT)], "did not answer"),
    ],
)
def test_the_rest_of_an_object_is_believed_as_little_as_all_of_it(second: bytes, reason: str, tmp_path: Path) -> None:
    """The last ones break off again: there is no third request."""
    with serving(breaks_off(second)) as server:
        assert reason in fetch_from(server, tmp_path)[POINTER.oid]
    assert asked_for_parts(server) == [None, "bytes=300-"]
    assert not list(tmp_path.glob("lfs/*/*"))


# Several at once


def many(count: int) -> dict[str, bytes]:
    contents = (f"object {number}".encode() for number in range(count))
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def serves_many(contents: dict[str, bytes], send: Callable[[str], Iterable[bytes]]) -> Reply:
    def reply(target: str, server: HostileServer) -> Iterable[bytes]:
        if not target.endswith("/batch"):
            return send(target[1:])
        url = f"http://127.0.0.1:{server.port}/"
        listed = [
            {"oid": oid, "size": len(content), "actions": {"download": {"href": url + oid}}}
            for oid, content in contents.items()
        ]
        return [answer({"objects": listed})]

    return reply


def pointers_to(contents: dict[str, bytes]) -> tuple[Pointer, ...]:
    return tuple(Pointer(oid, len(content)) for oid, content in contents.items())


def test_objects_are_fetched_several_at_once_and_no_more(tmp_path: Path) -> None:
    """The server answers no request until as many as the limit allows are open at once."""
    contents, all_here = many(3 * AT_ONCE), threading.Barrier(AT_ONCE, timeout=60)
    under_way, most = set(), []

    def send(oid: str) -> Iterable[bytes]:
        under_way.add(oid)
        most.append(len(under_way))
        all_here.wait()
        under_way.discard(oid)
        yield answer(contents[oid])

    with serving(serves_many(contents, send)) as server:
        assert fetch_from(server, tmp_path, pointers=pointers_to(contents)) == {}
    assert max(most) == AT_ONCE


def test_one_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    contents = many(20)
    bad = next(iter(contents))
    reply = serves_many(contents, lambda oid: [answer(b"?" if oid == bad else contents[oid])])
    with serving(reply) as server:
        assert fetch_from(server, tmp_path, pointers=pointers_to(contents)).keys() == {bad}


def test_a_stop_ends_all_of_several_downloads(tmp_path: Path) -> None:
    contents, check = many(2 * AT_ONCE), Git(tmp_path, Lifeline(1.0))
    with (
        serving(serves_many(contents, lambda oid: silence(oid, server))) as server,
        pytest.raises((Interrupted, EngineError)),
    ):
        fetch_from(server, tmp_path, seconds=50.0, check=lambda: check.check_time(None), pointers=pointers_to(contents))
    assert not list(tmp_path.glob("lfs/*/*"))
    assert not [each for each in threading.enumerate() if each.name.startswith("lfs")]


@pytest.mark.parametrize(
    "text",
    [
        POINTER.text + b"\n",
        POINTER.text.replace(b"\n", b"\r\n"),
        POINTER.text.replace(b"size ", b"size -"),
        POINTER.text.replace(b"size ", b"size 0"),
        POINTER.text.replace(b"size ", b"size " + b"9" * 30),
        POINTER.text.replace(b"oid ", b"ext-0-run sha256:" + b"a" * 64 + b"\noid "),
        POINTER.text.upper(),
        POINTER.text.replace(b"sha256:", b"sha256:../"),
    ],
)
def test_what_only_looks_like_a_pointer_is_a_file(text: bytes) -> None:
    assert parse(text) is None


def test_the_objects_of_a_site_are_its_own(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with Cache(host, "one").adding(POINTER) as writer:
        writer.write(CONTENT)
    assert Cache(host, "one").find(POINTER)
    assert Cache(host, "two").find(POINTER) is None


def test_a_damaged_object_is_not_used(tmp_path: Path) -> None:
    cache = Cache(Host(tmp_path), "one")
    with cache.adding(POINTER) as writer:
        writer.write(CONTENT)
    found = cache.find(POINTER)
    assert found
    found.write_bytes(CONTENT[::-1])

    assert not cache.copy(POINTER, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert cache.find(POINTER) is None


@pytest.mark.parametrize("size", [POINTER.size - 1, POINTER.size + 1])
def test_a_pointer_with_a_wrong_size_removes_no_object(size: int, tmp_path: Path) -> None:
    cache = Cache(Host(tmp_path), "one")
    with cache.adding(POINTER) as writer:
        writer.write(CONTENT)
    wrong = POINTER._replace(size=size)

    assert cache.find(wrong) is None
    assert not cache.copy(wrong, tmp_path / "copy")
    assert cache.copy(POINTER, tmp_path / "copy")
