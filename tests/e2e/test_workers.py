"""Checks at the start of a worker: the broker, and other workers with the same name."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.cli.deployment.broker import find_server
from tests.cli.processes import environment, finding, wait_for
from tests.ports import free_port
from tests.program import Started

PASSWORD = "correct-horse"


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """Where a broker with a password answers."""
    number = free_port()
    options = ["--port", str(number), "--requirepass", PASSWORD, "--save", "", "--dir", str(folder)]
    broker = subprocess.Popen([find_server(), *options], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=number, password=PASSWORD) as client:
            wait_for("the broker", lambda: answers(client))
        yield number
    finally:
        broker.kill()
        broker.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def start(folder: Path) -> Iterator[list[Started]]:
    running: list[Started] = []
    yield running
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        process.wait()


def start_worker(folder: Path, log: str, **settings: str) -> Started:
    (folder / log).touch()
    return Started(["worker", "control"], environment(folder, **settings), folder / log)


def test_a_broker_that_refuses_the_password_is_named_with_its_setting(
    migrated: Path, port: int, start: list[Started]
) -> None:
    start.append(start_worker(migrated, "log", BROKER_URL=f"redis://:wrong-horse@127.0.0.1:{port}/0"))
    wait_for("the worker's word", lambda: "AGENT_RUNNERS_BROKER_URL" in (migrated / "log").read_text())
    said = json.loads((migrated / "log").read_text().splitlines()[0])
    assert said["event"].startswith(
        f"The broker redis://:**@127.0.0.1:{port}/0 is unavailable: invalid username-password"
    )
    assert "\n" not in said["event"] and "wrong-horse" not in (migrated / "log").read_text()


def test_two_workers_with_one_name_are_reported(migrated: Path, port: int, start: list[Started]) -> None:
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    start.append(start_worker(migrated, "first", BROKER_URL=url))
    wait_for("the first worker", lambda: "ready" in (migrated / "first").read_text())
    start.append(start_worker(migrated, "second", BROKER_URL=url))
    wait_for("the second worker", lambda: "ready" in (migrated / "second").read_text())
    assert "worker_name_is_shared" in (migrated / "second").read_text()
    assert "worker_name_is_shared" not in (migrated / "first").read_text()
    found = finding(migrated, "workers", BROKER_URL=url)
    assert found["state"] == "failing" and "several workers have the name control@" in found["detail"], found
