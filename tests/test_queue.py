"""Messages and revokes at a real broker that is stopped and started again."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import structlog

from app import queue
from app.cli.deployment.broker import find_server
from tests.deployment import wait_for


@pytest.fixture
def socket(configure: Callable[..., None]) -> Iterator[Path]:
    """Where the broker answers once it is there. A unix socket's path has room for about 100 characters."""
    with tempfile.TemporaryDirectory(prefix="ar-broker-") as folder:
        path = Path(folder) / "broker.sock"
        configure(BROKER_URL=f"redis+socket://{path}?virtual_host=0")
        yield path
        queue.flush()


@contextmanager
def broker(socket: Path) -> Iterator[redis.Redis]:
    command = [find_server(), "--unixsocket", str(socket), "--port", "0", "--save", "", "--dir", str(socket.parent)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(unix_socket_path=str(socket)) as client:
            wait_for("the broker", lambda: socket.exists() and answers(client))
            yield client
    finally:
        process.kill()
        process.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def enqueue() -> None:
    queue.send(queue.RUN_SESSION, "a session")
    queue.flush()


def test_an_unavailable_broker_is_not_tried_for_every_message(socket: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        began = time.monotonic()
        for _ in range(100):
            enqueue()
        seconds = time.monotonic() - began
    reported = [line["event"] for line in lines]
    assert set(reported) == {"broker_unavailable"}
    assert len(reported) <= 1 + seconds / queue.BACKOFF_SECONDS


def test_messages_and_revokes_reach_a_broker_that_is_back(socket: Path) -> None:
    with broker(socket):
        enqueue()
    enqueue()
    with broker(socket) as client, client.pubsub() as listener:
        wait_for("a message", lambda: enqueue() or client.llen(queue.SESSIONS))
        sent = client.llen(queue.SESSIONS)
        for _ in range(5):
            enqueue()
        assert client.llen(queue.SESSIONS) == sent + 5

        listener.psubscribe("*")
        wait_for("the subscription", lambda: listener.get_message(timeout=1))
        task_id = str(uuid.uuid4())
        queue.revoke(task_id)
        message = wait_for("the revoke", lambda: listener.get_message(ignore_subscribe_messages=True, timeout=1))
        assert task_id in base64.b64decode(json.loads(message["data"])["body"]).decode()
