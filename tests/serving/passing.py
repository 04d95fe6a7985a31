"""Requests that are passed on to a process of low priority, and where they are."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil

from app.serving.handover import NICENESS
from tests.deployment import Deployment, wait_for
from tests.serving.server import connect

# To look for its fields takes more than a second of processor time, so that after one an account is far beyond its part.
LONG = json.dumps(dict.fromkeys(map(str, range(400_000))))
BODY = b'{"name": ""}'


def use_much(ada: httpx.Client) -> None:
    """So that she is far beyond her part, if this is served by a process of normal priority."""
    assert ada.post("/sites", content=LONG).status_code == 422


def low_priority(web: Deployment) -> psutil.Process | None:
    parent = psutil.Process(web.processes["web"].pid)
    for child in parent.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.nice() == min(parent.nice() + NICENESS, 19):
                return child
    return None


def holds(process: psutil.Process | None, client: socket.socket) -> bool:
    """Whether the process has the server's end of a connection."""
    assert process is not None
    return client.getsockname() in [each.raddr for each in process.net_connections()]


def is_on_the_way(web: Deployment, client: socket.socket) -> bool:
    """Whether the server has accepted a connection, and no process of it has it."""
    processes = psutil.Process(web.processes["web"].pid).children()
    ours, port = client.getsockname()[1], int(web.settings["WEB_PORT"])
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *_, inode = line.split()[:10]
        # One that waits to be accepted has no number.
        if (local[-4:], remote[-4:]) == (f"{port:04X}", f"{ours:04X}") and inode != "0":
            return not any(holds(each, client) for each in processes)
    return False


@contextlib.contextmanager
def passed_on_by_head(
    web: Deployment, ada: httpx.Client, has_arrived: Callable[[socket.socket], bool], is_suspended: bool = False
) -> Iterator[socket.socket]:
    """A connection of which a process of low priority got no more than the head of a request. It is suspended before, and
    from then on, if that is said."""
    for _ in range(20):
        receiver = low_priority(web)
        assert receiver is not None
        if is_suspended:
            receiver.suspend()
        with begun(web, ada) as client:
            try:
                wait_for("it to be passed on", lambda client=client: has_arrived(client), 3)
            except AssertionError:
                is_passed = False
            else:
                is_passed = True
            if is_passed:
                yield client
                return
            # The receiver was not heard of for so long that it counts as missing, or Ada is within her part again.
            receiver.resume()
            finish(client)
        use_much(ada)
    raise AssertionError("No request is passed on.")


@contextlib.contextmanager
def begun(web: Deployment, ada: httpx.Client) -> Iterator[socket.socket]:
    """A connection with the head of a request, which waits until it is asked for the rest."""
    head = (
        "POST /api/v1/sites HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        f"Authorization: {ada.headers['Authorization']}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    with connect(web, head.encode()) as client:
        yield client


def finish(client: socket.socket) -> httpx.Response:
    """Send the rest once it is asked for, and read the answer."""
    with client.makefile("rb") as received:
        assert [received.readline(), received.readline()] == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
        client.sendall(BODY)
        _, status, _ = received.readline().split(b" ", 2)
        headers = http.client.parse_headers(received)
        content = received.read(int(headers["content-length"]))
    return httpx.Response(int(status), headers=headers.items(), content=content)


def is_pending(number: int, process: psutil.Process) -> bool:
    """Whether a signal waits for a suspended process to go on."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    pending = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(each >> (number - 1) & 1 for each in pending)
