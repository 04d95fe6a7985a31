"""Whether the host of a repository answers, before git asks it anything."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.workers.engine import sigterm_once, sigterm_raises
from workers.repository.host_check import answers

_SYN_SENT = "02"


def open_sockets() -> set[str]:
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        # That of the listing itself is closed by now.
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {each for each in found if each.startswith("socket:")}


def test_a_signal_while_a_connection_is_made_leaves_none_open() -> None:
    """To a server whose queue is full, so that it takes no further connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        queued = socket.create_connection(("127.0.0.1", port))

        def is_connecting() -> bool:
            rows = [row.split()[2:4] for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
            return any(remote.endswith(f":{port:04X}") and state == _SYN_SENT for remote, state in rows)

        before = open_sockets()
        with queued, sigterm_raises():
            waiter = sigterm_once(is_connecting)
            with pytest.raises(SystemExit) as ended:
                answers("server.test", ["127.0.0.1"], port, is_encrypted=False)
            waiter.join()
            # Others may be closed meanwhile, by the garbage collector.
            assert open_sockets() <= before, ended
