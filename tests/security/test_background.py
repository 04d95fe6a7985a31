"""What callers make workers do beside their tasks takes no more of a host, however often they ask for it."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from tests.deployment import Deployment, deployed, wait_for
from tests.listening import Listener
from tests.ports import free_port
from tests.processes import each_process
from tests.workers.engine import linux

pytestmark = linux
MANY = 40
REST_SECONDS = 10.0
PROGRAM = b"\0-m\0tasks.startup.mirrors\0"


def test_many_changes_of_sites_start_few_programs_that_fetch(tmp_path: Path) -> None:
    with (
        deployed(tmp_path, "", free_port(), forked=True, MIRROR_REFRESH_SECONDS="600") as deployment,
        Listener(ignore) as remote,
    ):
        site = add_site(deployment, f"http://127.0.0.1:{remote.port}/shop.git")
        seen, began = set(wait_for("the first one", lambda: fetching(deployment))), time.monotonic()
        for number in range(MANY):
            deployment.call("PATCH", f"/sites/{site}", json={"name": f"shop {number}"})
            seen.update(fetching(deployment))
        quiet_until = time.monotonic() + 3
        while time.monotonic() < quiet_until:
            seen.update(fetching(deployment))
            time.sleep(0.1)
        assert len(seen) <= 2 + (time.monotonic() - began) / REST_SECONDS


def ignore(connection: socket.socket) -> None:
    """Keep silent, so that a fetch takes its time."""
    connection.recv(1)
    connection.recv(1 << 16)
    time.sleep(60)


def add_site(deployment: Deployment, repo_url: str) -> str:
    return str(deployment.call("POST", "/sites", json={"repo_url": repo_url, "default_branch": "main"})["id"])


def fetching(deployment: Deployment) -> list[int]:
    """The programs of the deployment that fetch ahead of sessions."""
    mine = f"DATA_DIR={deployment.settings['DATA_DIR']}"
    # The shell that starts one has the same words in its command line.
    found = [pid for pid, line in each_process("cmdline") if line.endswith(PROGRAM) and not line.startswith(b"sh")]
    return [pid for pid in found if mine in environment(pid)]


def environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
