"""P3: POST and DELETE, beside a bare Flask handler with the same inserts, with the broker up, killed and frozen."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import redis
import sqlalchemy as sa

from app import queue
from app.cli.deployment.web import THREADS
from app.config import Settings
from bench.deployments import deployment, small_repository
from bench.figures import Figure, Samples, Size, at_least, at_most
from tests.deployment import Deployment, wait_for

CALLERS = 8
SLICE_SECONDS = 1.0
STATES = ("up", "killed", "frozen")
_EMPTY_QUEUE = sa.text("UPDATE agent_runner_sessions SET state = 'CANCELLED' WHERE state = 'NEW'")


class Caller:
    """Sends JSON over one connection, and costs little itself, since it runs on the same machine."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._headers = {"Content-Type": "application/json", **(headers or {})}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[float, Any]:
        """Milliseconds until the answer, which must be a success, and its JSON."""
        begun = time.perf_counter()
        self._connection.request(method, path, json.dumps(body) if body else None, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        took = (time.perf_counter() - begun) * 1000
        assert answer.status < 300, f"{method} {path}: {answer.status} {text!r}"
        return took, json.loads(text or "null")


def measure(size: Size) -> Iterator[Figure]:
    """POST and DELETE of a runner, with the broker up, killed and frozen."""
    with deployment(MAX_QUEUED_SESSIONS="1000000") as deployed:
        site = deployed.make_site(small_repository(deployed))
        product = Product(deployed, site["id"])
        with bare_web(deployed, site) as bare_url:
            yield from latencies(deployed, product, Caller(bare_url), size)
            yield from throughput(deployed, product, bare_url, size)


class Product:
    def __init__(self, deployed: Deployment, site_id: str) -> None:
        self._url, self._headers = deployed.url, {"Authorization": deployed.api.headers["Authorization"]}
        self._body = {"site_id": site_id, "prompt": "true"}
        self._caller = self.caller()

    def caller(self) -> Caller:
        return Caller(self._url, self._headers)

    def post(self, caller: Caller) -> tuple[float, Any]:
        return caller.call("POST", "/api/v1/agent_runners", self._body)

    def start_and_stop(self) -> tuple[float, float]:
        """Milliseconds that a POST and a DELETE take."""
        post, runner = self.post(self._caller)
        delete, _ = self._caller.call("DELETE", f"/api/v1/agent_runners/{runner['id']}")
        return post, delete


@contextlib.contextmanager
def bare_web(deployed: Deployment, site: dict[str, Any]) -> Iterator[str]:
    """The bare handler, served as the product is; its URL."""
    runner = deployed.run(site, "true")
    address = f"127.0.0.1:{int(deployed.settings['WEB_PORT']) + 2}"
    command = [
        *(sys.executable, "-m", "gunicorn", f"bench.bare_web:create_app({runner['id']!r})"),
        *("--worker-class", "gthread", "--workers", str(Settings.web_processes), "--threads", str(THREADS)),
        # The connection to it is idle while the product answers.
        *("--keep-alive", "75", "--bind", address, "--log-level", "warning", "--no-control-socket"),
    ]
    with open(deployed.folder / "bare-web.log", "ab") as log:
        deployed.processes["bare-web"] = subprocess.Popen(
            command,
            env=deployed.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_for("the bare handler", lambda: httpx.get(f"http://{address}/").status_code == 405)
    yield f"http://{address}"
    deployed.stop("bare-web")


def latencies(deployed: Deployment, product: Product, bare: Caller, size: Size) -> Iterator[Figure]:
    """One caller at a time. The states of the broker take turns, and so does their order."""
    each_round = size.pick(1, 20, 60)
    by_hand: list[float] = []
    posts: dict[str, list[float]] = {state: [] for state in STATES}
    deletes: dict[str, list[float]] = {state: [] for state in STATES}
    for order in itertools.islice(itertools.cycle(itertools.permutations(STATES)), size.pick(1, 3, 18)):
        for state in order:
            wait_until_dispatched(deployed, product)
            with broker(deployed, state):
                for _ in range(each_round):
                    post, delete = product.start_and_stop()
                    posts[state].append(post)
                    deletes[state].append(delete)
                    if state == "up":
                        by_hand.append(bare.call("POST", "/", {"prompt": "true"})[0])
    anchor = Samples("bare Flask handler with the same inserts", by_hand)
    yield Figure("POST, one caller", "ms", posts["up"], anchor, [at_most(12)])
    yield Figure("DELETE, one caller", "ms", deletes["up"], anchor)
    for name, found in (("POST", posts), ("DELETE", deletes)):
        for state in ("killed", "frozen"):
            up = Samples(f"{name} with the broker up", found["up"])
            # One percent of few samples says little.
            of = "p99" if len(found[state]) >= 1000 else "median"
            goal = at_most(1.1, of, times_anchor=True)
            yield Figure(f"{name} with the broker {state}", "ms", found[state], up, [goal])


def throughput(deployed: Deployment, product: Product, bare_url: str, size: Size) -> Iterator[Figure]:
    """Product and bare handler take turns of a second each. The queue, which is not to fill, is emptied by hand."""
    engine = sa.create_engine(deployed.database_url, isolation_level="AUTOCOMMIT")
    product_callers = [product.caller() for _ in range(CALLERS)]
    bare_callers = [Caller(bare_url) for _ in range(CALLERS)]
    seconds = size.pick(0.1, SLICE_SECONDS, SLICE_SECONDS)
    rates, by_hand = [], []
    for _ in range(size.pick(1, 4, 30)):
        by_hand.append(rate(bare_callers, lambda caller: caller.call("POST", "/", {"prompt": "true"}), seconds))
        # The product tells each caller its place in the queue, and the bare handler has just filled it.
        _empty_queue(engine)
        rates.append(rate(product_callers, product.post, seconds))
        _empty_queue(engine)
    anchor = Samples("bare Flask handler with the same inserts", by_hand)
    goals = [at_least(150), at_least(0.5, times_anchor=True)]
    yield Figure(f"POSTs a second, {CALLERS} callers", "/s", rates, anchor, goals)


def _empty_queue(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(_EMPTY_QUEUE)


def rate(callers: list[Caller], call: Any, seconds: float) -> float:
    """Calls a second that end within `seconds`, all callers together."""
    ended = []
    deadline = time.monotonic() + seconds

    def repeat(caller: Caller) -> None:
        while time.monotonic() < deadline:
            call(caller)
            ended.append(time.monotonic())

    begun = time.monotonic()
    threads = [threading.Thread(target=repeat, args=[caller]) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(ended) / (max(ended) - begun)


@contextlib.contextmanager
def broker(deployed: Deployment, state: str) -> Iterator[None]:
    """Put the broker into that state, and restore it afterwards."""
    match state:
        case "killed":
            deployed.kill("broker")
            yield
            deployed.start("broker", "broker")
        case "frozen":
            process = deployed.processes["broker"]
            process.send_signal(signal.SIGSTOP)
            yield
            process.send_signal(signal.SIGCONT)
        case _:
            yield


def wait_until_dispatched(deployed: Deployment, product: Product) -> None:
    """Wait until the message of a new session reaches the broker, so that none is left over from the round before."""
    address = str(deployed.broker_socket)

    def is_dispatched() -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis(unix_socket_path=address) as client:
            before = client.llen(queue.SESSIONS)
            product.start_and_stop()
            time.sleep(0.1)
            return bool(client.llen(queue.SESSIONS) == before + 1)
        return False

    wait_for("a message", is_dispatched)
