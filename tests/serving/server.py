"""One web process with a database of its own, spoken to in bytes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests import patiently
from tests.deployment import Deployment, wait_for
from tests.ports import free_port
from tests.sqlite import copy_migrated

NOWHERE = "redis+socket:///nonexistent/broker.sock?virtual_host=0"


@contextlib.contextmanager
def web_process(folder: Path) -> Iterator[Deployment]:
    """A deployment of which only a single web process runs."""
    deployment = Deployment(folder, "", free_port(), forked=True, WEB_PROCESSES="1", BROKER_URL=NOWHERE)
    (folder / "tmp").mkdir()
    try:
        copy_migrated(folder / "data" / "agent-runners.db")
        deployment.command("migrate")
        printed = deployment.command("init", "--email", "ada@example.org", "--name", "Ada Lovelace")
        token = next(word for word in printed.split() if word.startswith("ar_"))
        deployment.api.headers["Authorization"] = f"Bearer {token}"
        deployment.start("web", "web")
        # It takes longer to read certificates than to ask.
        wait_for("the API", lambda: patiently.get(f"{deployment.url}/readyz").status_code == 200)
        yield deployment
    finally:
        deployment.stop_all()


def connect(deployment: Deployment, sent: bytes = b"", *, receive_buffer: int | None = None) -> socket.socket:
    """A connection on which `sent` was sent."""
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(60)
    client.connect(("127.0.0.1", int(deployment.settings["WEB_PORT"])))
    client.sendall(sent)
    return client


def is_answered(deployment: Deployment) -> bool:
    """Whether a client that comes now is answered, on a connection of its own."""
    return httpx.get(f"{deployment.url}/healthz", timeout=20, verify=False).status_code == 200
