"""Secrets that are bound to a host: the host gets them, and the agent never does."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import h11
import httpx
import pytest

from tests import patiently
from tests.listening import Listener
from tests.workers.attempts import Engine, code
from workers.egress.gateway.process import open_gateway
from workers.events import Refusal
from workers.job import BoundSecret, Host

SECRET = "shop-0123456789-hush"
SEARCH = """
curl -sS "$SHOP_URL/v1/orders?open=1" -H "Authorization: Bearer $SHOP" -d order; echo
env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'
find / -xdev -type f -size -64k -newermt -1hour -not -path '/proc/*' -exec cat {} + 2>/dev/null | tr -d '\\0' || true
"""


@dataclasses.dataclass
class Shop:
    """A host that repeats what it was asked, byte by byte, and redirects once."""

    url: str = ""
    heads: list[h11.Request] = dataclasses.field(default_factory=list)
    more: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def take(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, h11.ProtocolError), connection:
            http = h11.Connection(h11.SERVER)
            said = b""
            while not isinstance(event := http.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
                if event is h11.NEED_DATA:
                    http.receive_data(connection.recv(65536))
                elif isinstance(event, h11.Request):
                    self.heads.append(event)
                    said = b"%s %s\n%r\n" % (event.method, event.target, list(event.headers))
                elif isinstance(event, h11.Data):
                    said += bytes(event.data)
            status = 302 if b"/moved" in self.heads[-1].target else 200
            headers = [("transfer-encoding", "chunked"), ("set-cookie", "a=b"), *self.more]
            connection.sendall(http.send(h11.Response(status_code=status, headers=headers)) or b"")
            for place in range(len(said)):
                connection.sendall(http.send(h11.Data(data=said[place : place + 1])) or b"")
            connection.sendall(http.send(h11.EndOfMessage()) or b"")

    def header(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.heads[-1].headers if each == name]


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    with Listener(made.take) as listener:
        made.url = f"http://127.0.0.1:{listener.port}"
        yield made


def bound(url: str, header: str = "Authorization", prefix: str = "Bearer ") -> BoundSecret:
    return BoundSecret("SHOP", url, header, prefix, SECRET)


@contextlib.contextmanager
def calling(folder: Path, secret: BoundSecret, *, private: bool = True) -> Iterator[tuple[str, httpx.Client]]:
    """The URL that an agent has, and a client."""
    gateway = open_gateway(Host(folder, sandbox="none", allow_private_addresses=private), [], [secret])
    gateway.start(lambda report: True)
    with contextlib.closing(gateway), patiently.Client() as http:
        assert SECRET not in str(gateway.variables)
        yield gateway.variables["SHOP_URL"], http


def test_the_host_gets_the_secret_in_the_place_of_all_credentials(shop: Shop, tmp_path: Path) -> None:
    with calling(tmp_path, bound(shop.url)) as (url, http):
        answer = http.put(f"{url}/v1/a?b=c", content=b"body", headers={"X-Api-Key": "mine", "authorization": "mine"})
    assert shop.header(b"authorization") == [f"Bearer {SECRET}".encode()] and shop.header(b"x-api-key") == []
    assert shop.header(b"host") == [shop.url.removeprefix("http://").encode()]
    assert answer.text.startswith("PUT /v1/a?b=c\n") and answer.text.endswith("body")
    assert SECRET not in answer.text and "Bearer [redacted]" in answer.text
    assert "set-cookie" not in answer.headers


def test_the_header_can_be_another(shop: Shop, tmp_path: Path) -> None:
    with calling(tmp_path, bound(shop.url, "PRIVATE-TOKEN", "")) as (url, http):
        http.get(url, headers={"private-token": "mine"})
    assert (shop.heads[-1].target, shop.header(b"private-token")) == (b"/", [SECRET.encode()])


def test_a_redirect_to_the_host_leads_back_and_names_no_secret(shop: Shop, tmp_path: Path) -> None:
    shop.more = [("location", f"{shop.url}/next?key={SECRET}")]
    with calling(tmp_path, bound(shop.url)) as (url, http):
        answer = http.get(f"{url}/moved")
    assert url.endswith(answer.headers["location"].partition("/next?key=[redacted]")[0])


def test_what_could_hide_the_secret_or_leads_inside_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.more = [("content-encoding", "gzip")]
    with calling(tmp_path, bound(shop.url)) as (url, http):
        assert http.get(url).status_code == 502
        assert http.get(url.rpartition("/")[0] + "/another").status_code == 404
    asked = len(shop.heads)
    with calling(tmp_path, bound(shop.url), private=False) as (url, http):
        answer = http.get(url)
        assert answer.status_code == 502 and "private address" in answer.json()["error"]
    assert len(shop.heads) == asked


def test_an_agent_that_searches_everything_does_not_find_it(engine: Engine, shop: Shop) -> None:
    engine.host = dataclasses.replace(engine.host, allow_private_addresses=True)
    attempt = engine.run(SEARCH, bound_secrets=(bound(shop.url),))
    assert attempt.outcome.failure is None, attempt.text
    assert "POST /v1/orders?open=1" in attempt.text and "SHOP_URL=http://127.0.0.1:" in attempt.text
    assert shop.header(b"authorization") == [f"Bearer {SECRET}".encode()]
    assert SECRET not in attempt.text + str(engine.sink.diffs)


def test_a_host_that_egress_forbids_is_a_step(engine: Engine, shop: Shop) -> None:
    attempt = engine.run('curl -sS "$SHOP_URL"; sleep 0.5', bound_secrets=(bound(shop.url),))
    assert code(attempt.outcome) is None and shop.heads == []
    (refusal,) = [each for each in attempt.events if isinstance(each, Refusal)]
    assert "was refused" in refusal.title and "private address" in refusal.message
