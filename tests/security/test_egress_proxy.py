"""The proxy against hostile clients: names that move, disguised addresses, malformed requests, slow clients."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.security.outside import Outside, python, web_server
from tests.workers.engine import IS_ROOT, ROOT, eventually, finish, folders, needs_bubblewrap
from workers.egress import addresses
from workers.egress.addresses import allowed_addresses, kind_of
from workers.egress.process import Egress
from workers.egress.proxy import receive_listeners
from workers.egress.refusals import Refusals
from workers.egress.rules import PinnedNames, Refused, Rule, Rules, canonical
from workers.egress.server import Caps, Server
from workers.job import Host, Limits
from workers.processes.forking import fork
from workers.sandbox import open_sandbox

NAMES = {"allowed.example": ["127.0.0.1"]}
PATIENCE_SECONDS = 300.0


@dataclass
class Proxy:
    """A proxy in this process, whose resolver and caps are the test's."""

    port: int
    output: io.BytesIO

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS)

    def ask(self, request: bytes) -> bytes:
        """The whole answer to some bytes."""
        with self.connect() as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    @property
    def refusals(self) -> list[str]:
        return [json.loads(line)["reason"] for line in self.output.getvalue().splitlines()]


@contextlib.contextmanager
def proxy(
    *hosts: str,
    resolve: Callable[[str], list[str]] = NAMES.__getitem__,
    caps: Caps | None = None,
    private: bool = True,
) -> Iterator[Proxy]:
    output = io.BytesIO()
    rules = Rules([Rule.parse(host, private=private) for host in hosts], PinnedNames(resolve))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=Server(Refusals(output), caps).serve, args=(listener, rules), daemon=True).start()
        yield Proxy(listener.getsockname()[1], output)
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def outside() -> Iterator[Outside]:
    with web_server() as running:
        yield running


PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "100.64.0.1"),
    *(
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.9",
    ),
    *("::", "::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1", "::7f00:1", "::ffff:10.0.0.1"),
    *(
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:a00:1::",
        "2002:5db8:d822::1",
        "2001:0:1::1",
        "5f00::1",
    ),
]
METADATA = [
    *(
        "169.254.169.254",
        "169.254.170.2",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "168.63.129.16",
        "100.100.100.200",
    ),
    *("192.0.0.192", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254"),
    *("2001:0:a9fe:a9fe::1", "64:ff9b:1::a9fe:a9fe", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:a9fe:a9fe::1"),
    "fd00:42::42",
]


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        (kind, each)
        for kind, some in (("public", PUBLIC), ("private", PRIVATE), ("metadata", METADATA))
        for each in some
    ],
)
def test_each_kind_of_address_is_recognized(kind: str, address: str) -> None:
    assert kind_of(address) == kind
    assert bool(allowed_addresses([address], private=True)) == (kind != "metadata")
    assert bool(allowed_addresses([address], private=False)) == (kind == "public")


@pytest.mark.parametrize(
    ("rule", "host", "port", "allowed"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "example.com", 80, True),
        ("example.com", "example.com", 8443, False),
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("Example.COM.", "example.com", 443, True),
        ("example.com", "EXAMPLE.com.", 443, True),
        ("example.com", "sub.example.com", 443, False),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "badexample.com", 443, False),
        ("*.example.com", "example.com.evil.org", 443, False),
        ("[::1]:80", "[0:0::1]", 80, True),
    ],
)
def test_a_rule_allows_exactly_its_hosts_and_ports(rule: str, host: str, port: int, allowed: bool) -> None:
    rules = Rules([Rule.parse(rule, private=True)], PinnedNames(lambda name: ["93.184.216.34"]))
    with contextlib.nullcontext() if allowed else pytest.raises(Refused):
        assert rules.find(canonical(host), port)


def test_a_name_with_a_forbidden_and_an_allowed_address_resolves_to_the_allowed_one() -> None:
    rules = Rules(
        [Rule.parse("two.example")], PinnedNames(lambda name: ["10.0.0.1", "93.184.216.34", "169.254.169.254"])
    )
    assert rules.find("two.example", 443) == (["93.184.216.34"], False)


def test_a_wildcard_does_not_fill_the_memory() -> None:
    names = PinnedNames(lambda name: ["93.184.216.34"])
    rules = Rules([Rule.parse("*.example")], names)
    with pytest.raises(Refused, match="More than"):
        for number in range(5000):
            rules.find(f"{number}.example", 443)


needs_own_network = pytest.mark.skipif(
    not IS_ROOT or shutil.which("ip") is None,
    reason="NOT TESTED: a network of the test's own; run the tests as root, with `apt-get install iproute2`",
)


def run_in_own_network(network: str, code: str) -> None:
    """Run a Python program in a network of its own, which the script `network` sets up."""
    command = ["sh", "-e", "-c", f'ip link set lo up\n{network}\nexec "$@"', "sh", sys.executable, "-c", code]
    subprocess.run(["unshare", "--net", *command], cwd=ROOT, check=True, timeout=60)


@needs_own_network
def test_a_public_address_of_the_worker_itself_is_refused() -> None:
    """The machine has such an address, and a service that listens on all addresses."""
    code = """
from tests.security.test_egress_proxy import proxy
import socket
place, there = "own.example:4433", lambda name: ["93.184.216.34"]
with socket.create_server(("0.0.0.0", 4433)), proxy(place, private=False, resolve=there) as running:
    assert b" 403 " in running.ask(b"CONNECT own.example:4433 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    assert running.refusals == ["It is an address of the worker's own machine."]
"""
    run_in_own_network("ip address add 93.184.216.34/32 dev lo", code)


class Moving:
    """A name with another address at each lookup."""

    def __init__(self, *places: str) -> None:
        self._places = places
        self.looked_up = 0

    def __call__(self, host: str) -> list[str]:
        self.looked_up += 1
        return [self._places[self.looked_up - 1]]


@needs_own_network
def test_a_name_that_moves_to_a_private_address_is_not_followed() -> None:
    """No public address is reachable, and a private service is listening."""
    code = """
from tests.security.test_egress_proxy import Moving, proxy
import socket
moving = Moving("93.184.216.34", "127.0.0.1", "169.254.169.254")
with (
    socket.create_server(("127.0.0.1", 4433)) as inner,
    proxy("moving.example:4433", private=False, resolve=moving) as running,
):
    for again in range(3):
        answer = running.ask(b"CONNECT moving.example:4433 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        assert b" 502 " in answer and b"Network is unreachable" in answer, answer
    inner.settimeout(0.2)
    try:
        inner.accept()
    except TimeoutError:
        assert moving.looked_up == 1
    else:
        raise AssertionError("it was let in")
"""
    run_in_own_network("", code)


@pytest.mark.parametrize("first", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
def test_a_name_that_first_resolves_to_a_private_address_stays_refused(outside: Outside, first: str) -> None:
    moving = Moving(first, "127.0.0.1", "93.184.216.34")
    with proxy(f"moving.example:{outside.port}", private=False, resolve=moving) as running:
        for _ in range(3):
            answer = running.ask(f"CONNECT moving.example:{outside.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b" 403 " in answer
        assert running.refusals == ["It resolves to a private address or a cloud metadata address."]
    assert outside.asked == [] and moving.looked_up == 1


@needs_bubblewrap
def test_a_name_that_moves_stays_pinned(tmp_path: Path, outside: Outside) -> None:
    """Requested from a real sandbox, by one command and by the next."""
    moving, output = Moving("127.0.0.1", "127.0.0.2"), io.BytesIO()
    rules = Rules([Rule.parse(f"moving.example:{outside.port}", private=True)], PinnedNames(moving))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    threading.Thread(
        target=receive_listeners, args=(theirs, Server(Refusals(output)), {"agent": rules}), daemon=True
    ).start()
    with contextlib.closing(Egress({}, fork(), ours)) as egress:
        host = Host(tmp_path)
        sandbox = open_sandbox(host, folders(tmp_path / "w", host.sandbox_uid if IS_ROOT else None), Limits(), egress)
        url = f"http://moving.example:{outside.port}"
        for path in ("one", "two"):
            twice = python(f"for again in 1, 2: urllib.request.urlopen('{url}/{path}').read()")
            ran = finish(sandbox.launch(["sh", "-c", twice], {}))
            assert ran.status == 0, ran.err
    assert [path for _, path, _ in outside.asked] == ["/one", "/one", "/two", "/two"]
    assert moving.looked_up == 1


@pytest.mark.parametrize(
    "target",
    [
        *("user@allowed.example:{port}", "allowed.example", "allowed.example:", "allowed.example:port", ":{port}"),
        *("allowed.example:{port}/path", "allowed.example#@elsewhere:{port}", "[allowed.example]:{port}", "::1:{port}"),
        *("allowed.example:00{port}0", "allowed.example\\@elsewhere:{port}", "http://allowed.example:{port}"),
    ],
)
def test_a_tunnel_to_an_invalid_target_is_refused(outside: Outside, target: str) -> None:
    with proxy(f"allowed.example:{outside.port}") as running:
        odd = target.format(port=outside.port)
        answer = running.ask(f"CONNECT {odd} HTTP/1.1\r\nHost: allowed.example\r\n\r\n".encode())
        assert answer.split()[1] in (b"400", b"403"), answer
        assert len(running.refusals) == 1


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/path",
            "*",
            "https://allowed.example:{port}/",
            "ftp://allowed.example:{port}/",
            "//allowed.example:{port}/",
        ),
        *("http://user@allowed.example:{port}/", "http://allowed.example:{port}@elsewhere/", "http:///path"),
        *("http://allowed.example:{port}\\@elsewhere/", "http://allowed.example:0{port}/", "http://allowed.example:x/"),
        *("http://elsewhere/?http://allowed.example:{port}/", "http://allowed.example:{port}.elsewhere/"),
    ],
)
def test_a_request_for_an_invalid_target_is_refused(outside: Outside, target: str) -> None:
    with proxy(f"allowed.example:{outside.port}") as running:
        odd = target.format(port=outside.port)
        answer = running.ask(f"GET {odd} HTTP/1.1\r\nHost: allowed.example:{outside.port}\r\n\r\n".encode())
        assert answer.split()[1] in (b"400", b"403"), answer
        assert len(running.refusals) == 1
    assert outside.asked == []


HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: other.example\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "body", "arrives"),
    [
        (b"Content-Length: 5\r\n", b"hello" + HIDDEN, b"hello"),
        (b"Content-Length: 5\r\nConnection: content-length, keep-alive\r\n", b"hello" + HIDDEN, b"hello"),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello" + HIDDEN, b"hello"),
        (b"", HIDDEN, b""),
        (b"Content-Length: 5\r\nContent-Length: 50\r\n", b"hello" + HIDDEN, None),
        (b"Content-Length: +5\r\n", b"hello" + HIDDEN, None),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN, None),
        (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + HIDDEN, None),
        (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + HIDDEN, None),
        (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + HIDDEN, None),
        (b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n" + HIDDEN, None),
        (b"X: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN, None),
        (b"Host: other.example\r\n", HIDDEN, None),
    ],
)
def test_no_second_request_can_be_smuggled(
    outside: Outside, headers: bytes, body: bytes, arrives: bytes | None
) -> None:
    place = f"allowed.example:{outside.port}"
    with proxy(place) as running:
        head = f"POST http://{place}/ HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: x\r\n"
        answer = running.ask(head.encode() + headers + b"\r\n" + body)
    if arrives is None:
        assert answer.split()[1] in (b"400", b"501")
        assert len(running.refusals) == 1
    assert outside.asked == ([] if arrives is None else [(place, "/", arrives)])


def test_a_chunked_body_is_rewritten(outside: Outside) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"allowed.example:{server.getsockname()[1]}"
        with proxy(place) as running, running.connect() as client:
            client.sendall(f"POST http://{place}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            client.sendall(b"5;hidden=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\n" + HIDDEN)
            upstream, _ = server.accept()
            with upstream:
                upstream.settimeout(PATIENCE_SECONDS)
                written = b""
                while not written.endswith(b"0\r\n\r\n"):
                    written += upstream.recv(65536)
                assert written.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
                upstream.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    upstream.recv(1)


def test_huge_headers_and_invalid_http_are_refused() -> None:
    with proxy("allowed.example") as running:
        endless = b"GET http://allowed.example/ HTTP/1.1\r\nX: " + b"x" * 70_000
        assert running.ask(endless).split()[1] == b"431"
        assert running.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").split()[1] == b"400"
        assert running.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").split()[1] == b"400"
        assert len(running.refusals) == 2


def test_a_slow_client_is_disconnected(outside: Outside) -> None:
    with proxy(f"allowed.example:{outside.port}", caps=Caps(head_seconds=0.5)) as running, running.connect() as client:
        with pytest.raises(OSError):
            for _ in range(5_000):
                client.sendall(b"G")
                time.sleep(0.05)
        eventually(lambda: len(running.refusals) == 1, "it was not output")
        assert "0.5 seconds" in running.refusals[0]


def test_a_client_above_the_connection_limit_waits(outside: Outside) -> None:
    place = f"allowed.example:{outside.port}"
    with proxy(place, caps=Caps(connections=2)) as running:
        holders = [running.connect() for _ in range(2)]
        with running.connect() as client:
            client.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(100)
            holders.pop().close()
            client.settimeout(PATIENCE_SECONDS)
            assert b" 200 " in client.recv(100)
        holders.pop().close()


@contextlib.contextmanager
def tunnel(caps: Caps | None = None) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a tunnel through a proxy."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"allowed.example:{server.getsockname()[1]}"
        with proxy(place, caps=caps) as running, running.connect() as client:
            client.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b" 200 " in client.recv(100)
            upstream, _ = server.accept()
            with upstream:
                upstream.settimeout(PATIENCE_SECONDS)
                yield client, upstream


def test_an_idle_tunnel_ends() -> None:
    with tunnel(Caps(idle_seconds=0.3)) as (client, upstream):
        assert client.recv(1) == b"" and upstream.recv(1) == b""


def test_an_active_side_keeps_the_idle_side_connected() -> None:
    with tunnel(Caps(idle_seconds=12.0)) as (client, upstream):
        for _ in range(26):
            upstream.sendall(b"x")
            assert client.recv(1) == b"x"
            time.sleep(0.5)
        client.sendall(b"y")
        assert upstream.recv(1) == b"y"


def test_a_half_closed_tunnel_carries_the_answer() -> None:
    with tunnel() as (client, upstream):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert upstream.recv(100) == b"question" and upstream.recv(1) == b""
        upstream.sendall(b"answer")
        assert client.recv(100) == b"answer"


def test_a_client_that_does_not_read_blocks_the_sender_and_uses_no_memory() -> None:
    with tunnel() as (_, upstream):
        upstream.settimeout(1)
        sent, piece = 0, b"x" * 65536
        with pytest.raises(TimeoutError):
            while sent < 500 * 2**20:
                sent += upstream.send(piece)
        assert sent < 100 * 2**20


def test_both_directions_flow_at_once() -> None:
    """Neither waits for the other, however much both send."""
    data = b"x" * (8 * 2**20)

    def read(end: socket.socket) -> None:
        left = len(data)
        while left and (piece := end.recv(65536)):
            left -= len(piece)
        got.append(left)

    got: list[int] = []
    with tunnel() as ends:
        threads = [threading.Thread(target=end.sendall, args=(data,)) for end in ends]
        threads += [threading.Thread(target=read, args=(end,)) for end in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == [0, 0]


def test_a_resolver_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: asked.wait(30))
    try:
        with pytest.raises(OSError, match="the resolver did not answer"):
            addresses.resolver({}, seconds=0.2)("slow.example.org")
    finally:
        asked.set()
