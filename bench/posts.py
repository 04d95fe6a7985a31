"""Measure POST and DELETE with the broker up, killed and frozen, with one caller at a time.

    .venv/bin/python -m bench.posts [--rounds N] [--sqlite]

The three states alternate in short rounds, so that other load of the machine affects all of them. The database is
Postgres, or SQLite with `--sqlite`. There are no session workers: a caller waits only for the web process and the
database. While the broker is up, sending a bare Celery task is measured, too. Fails if callers wait longer than
guaranteed: a median under 100 ms, and a 99th percentile without the broker of at most 1.1 times that with it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from app import queue
from bench.bare_worker import BareWorker
from bench.figures import percentiles, show
from tests.deployment import Deployment, free_port, wait_for
from tests.postgres import postgres_database

EACH_ROUND = 20
STATES = ("up", "killed", "frozen")
P50_SECONDS, P99_RATIO = 0.1, 1.1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.posts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--sqlite", action="store_true", help="on SQLite instead of Postgres")
    arguments = parser.parse_args()
    bare: list[float] = []
    posts: dict[str, list[float]] = {state: [] for state in STATES}
    deletes: dict[str, list[float]] = {state: [] for state in STATES}
    database = contextlib.nullcontext("") if arguments.sqlite else postgres_database()
    with tempfile.TemporaryDirectory() as folder, database as url:
        deployment = Deployment(Path(folder), url, free_port())
        try:
            deployment.start_api()
            bare_worker = BareWorker(deployment)
            site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}))
            # The order of the states varies, too.
            for order in itertools.islice(itertools.cycle(itertools.permutations(STATES)), arguments.rounds):
                for state in order:
                    wait_until_dispatched(deployment, site["id"])
                    with broker(deployment, state):
                        for _ in range(EACH_ROUND):
                            post, delete = start_and_stop(deployment, site["id"])
                            posts[state].append(post)
                            deletes[state].append(delete)
                            if state == "up":
                                bare.append(bare_worker.send())
        finally:
            deployment.stop_all()
    show(
        "latency with the broker up",
        {"bare Celery task": bare, "POST": posts["up"], "DELETE": deletes["up"]},
    )
    show("POST /agent_runners, by state of the broker", posts)
    show("DELETE /agent_runners/{id}, by state of the broker", deletes)
    for latencies in (posts, deletes):
        p50, p99 = percentiles(latencies["up"])
        assert p50 < P50_SECONDS, "callers wait too long"
        slower = [state for state in STATES if percentiles(latencies[state])[1] > P99_RATIO * p99]
        assert not slower, f"callers wait longer with the broker {slower}"


@contextlib.contextmanager
def broker(deployment: Deployment, state: str) -> Iterator[None]:
    """Put the broker into that state, and restore it afterwards."""
    match state:
        case "killed":
            deployment.kill("broker")
            yield
            deployment.start("broker", "broker")
        case "frozen":
            process = deployment.processes["broker"]
            process.send_signal(signal.SIGSTOP)
            yield
            process.send_signal(signal.SIGCONT)
        case _:
            yield


def wait_until_dispatched(deployment: Deployment, site_id: str) -> None:
    """Wait until the message of a new session reaches the broker, so that none is left over from the round before."""
    address = str(deployment.broker_socket)

    def is_dispatched() -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis(unix_socket_path=address) as client:
            before = client.llen(queue.SESSIONS)
            start_and_stop(deployment, site_id)
            time.sleep(0.1)
            return bool(client.llen(queue.SESSIONS) == before + 1)
        return False

    wait_for("a message", is_dispatched)


def start_and_stop(deployment: Deployment, site_id: str) -> tuple[float, float]:
    """Seconds that a POST and a DELETE take."""
    begun = time.perf_counter()
    answer = deployment.api.post("/agent_runners", json={"site_id": site_id, "prompt": "true"})
    posted = time.perf_counter()
    assert answer.status_code == 201, answer.text
    address = f"/agent_runners/{answer.json()['id']}"
    stopping = time.perf_counter()
    answer = deployment.api.delete(address)
    stopped = time.perf_counter()
    assert answer.status_code == 202, answer.text
    return posted - begun, stopped - stopping


if __name__ == "__main__":
    main()
