"""What the model gateway adds to calls of models, and what it costs in memory, beside direct calls."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from bench.figures import Figure, Samples, Size, at_most
from bench.memory import pss
from tests.processes import forked_for
from workers.egress.gateway.process import Gateway, open_gateway
from workers.egress.gateway.providers import Provider
from workers.job import Host, Limits
from workers.limits.budget import Budget
from workers.limits.prices import Prices
from workers.limits.spending import Spending

PIECES = 50
SETTLE_SECONDS = 1.0


class Model(BaseHTTPRequestHandler):
    """Streams an answer in pieces, over as many seconds as the request names."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(asked["pieces"]):
            last = number == asked["pieces"] - 1
            usage = {"prompt_tokens": 1000, "completion_tokens": PIECES} if last else None
            event = {"model": "gpt-5", "choices": [{"delta": {"content": "word " * 10}}], "usage": usage}
            piece = b"data: " + json.dumps(event).encode() + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
            if not last:
                time.sleep(asked["seconds"] / asked["pieces"])
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


class Client:
    """Calls a model at a URL, over one connection."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._path = f"{parts.path}/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port)

    def close(self) -> None:
        self._connection.close()

    def call(self, pieces: int = 1, seconds: float = 0) -> tuple[float, float]:
        """Milliseconds until the first piece of the answer, and until its end."""
        body = {"model": "gpt-5", "stream": True, "pieces": pieces, "seconds": seconds, "messages": ["x" * 10_000]}
        begun = time.perf_counter()
        self._connection.request("POST", self._path, json.dumps(body).encode(), self._headers)
        answer = self._connection.getresponse()
        assert answer.readline()
        first = time.perf_counter() - begun
        answer.read()
        return first * 1000, (time.perf_counter() - begun) * 1000


def measure(size: Size) -> Iterator[Figure]:
    """Model calls through the gateway and direct, in turns; memory and start of a gateway."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, _model() as url:
        with _gateway(Path(folder), url) as gateway, _clients(gateway, url) as (through, direct):
            yield from _requests(through, direct, size.pick(2, 300, 1000))
            runs = _in_turns(
                size.pick(1, 5, 20), lambda client: client.call(PIECES, size.pick(0.05, 1, 1)), through, direct
            )
        yield Figure(
            "a streamed answer of 1 s",
            "ms",
            [whole for (_, whole), _ in runs],
            Samples("direct", [whole for _, (_, whole) in runs]),
            [at_most(1.05, times_anchor=True)],
        )
        yield from _starts(Path(folder), url, size.pick(1, 20, 100))
        yield _memory(Path(folder), url, size.pick(1, 4, 16), size.pick(0, SETTLE_SECONDS, SETTLE_SECONDS))


def _requests(through: Client, direct: Client, rounds: int) -> Iterator[Figure]:
    found = _in_turns(rounds, lambda client: client.call(2), through, direct)
    for number, name in ((0, "time to first token"), (1, "a request")):
        ours, bare = ([pair[way][number] for pair in found] for way in (0, 1))
        yield Figure(name, "ms", ours, Samples("direct", bare))
        # Where the direct call took longer, by chance, nothing was added.
        added = [max(one - other, 0.001) for one, other in zip(ours, bare, strict=True)]
        yield Figure(f"{name}: added by the gateway", "ms", added, goals=[at_most(2)])


def _starts(folder: Path, url: str, rounds: int) -> Iterator[Figure]:
    found: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        with _gateway(folder, url) as gateway, _clients(gateway, url) as (through, _):
            through.call()
            found.append((time.perf_counter() - begun) * 1000)
    yield Figure("start of a gateway and its first call, once per attempt in parallel", "ms", found)


def _memory(folder: Path, url: str, count: int, settle: float) -> Figure:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            gateway = stack.enter_context(_gateway(folder, url))
            through, _ = stack.enter_context(_clients(gateway, url))
            through.call(PIECES)
        time.sleep(settle)
        found = [pss(psutil.Process(pid)) for pid in forked_for([os.getpid()], "model-gateway")]
    return Figure(f"memory (PSS) of each of {count} gateways", "MiB", found)


Call = Callable[[Client], tuple[float, float]]


def _in_turns(
    rounds: int, call: Call, through: Client, direct: Client
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    for each in (through, direct):
        each.call()
    return [(call(through), call(direct)) for _ in range(rounds)]


@contextlib.contextmanager
def _clients(gateway: Gateway, url: str) -> Iterator[tuple[Client, Client]]:
    """A client that calls the model through the gateway, and one that calls it direct."""
    through = Client(gateway.variables["OPENAI_BASE_URL"], gateway.variables["OPENAI_API_KEY"])
    with contextlib.closing(through), contextlib.closing(Client(url, "the key")) as direct:
        yield through, direct


@contextlib.contextmanager
def _gateway(folder: Path, url: str) -> Iterator[Gateway]:
    provider = Provider("openai", "OPENAI_BASE_URL", url, {"OPENAI_API_KEY": "the key"})
    gateway = open_gateway(Host(folder, sandbox="none"), [provider])
    gateway.start(Spending(Budget(Limits()), Prices(), "").count)
    with contextlib.closing(gateway):
        yield gateway


@contextlib.contextmanager
def _model() -> Iterator[str]:
    """Run the model in a process of its own. Yields its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    process.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    process.kill()
    server.server_close()
