"""Sessions that a fault is done to, and what must have come of them."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deployment import PATIENCE_SECONDS, Deployment, seconds_to_sleep
from tests.listening import Listener


def hanging_once(deployment: Deployment) -> tuple[str, str]:
    """A script whose first run writes and then hangs, while later ones end; and what marks the agent that hangs.

    A later one whose work is not as it is to be has seen the first one still hang.
    """
    mark = deployment.folder / f"mark-{uuid.uuid4().hex}"
    seconds = seconds_to_sleep()
    hangs = f"touch {mark}; echo lost > a.txt; echo first try; sleep {seconds}"
    second = (
        f"grep -zqsx {seconds} /proc/[0-9]*/cmdline && echo overlap > a.txt || echo second > a.txt; echo second try"
    )
    return f"if test -e {mark}; then {second}; else {hangs}; fi", seconds


def start(deployment: Deployment, name: str, prompt: str) -> dict[str, Any]:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, name), name=name)
    return deployment.run(site, prompt)


def held_back(deployment: Deployment, name: str, count: int) -> tuple[list[dict[str, Any]], Path]:
    """Sessions that end once the named file exists."""
    mark = deployment.folder / f"mark-{uuid.uuid4().hex}"
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, name), name=name)
    script = f"until test -e {mark}; do sleep 0.4; done; echo done > a.txt"
    return [deployment.run(site, script) for _ in range(count)], mark


@contextlib.contextmanager
def being_fetched(deployment: Deployment, name: str) -> Iterator[dict[str, Any]]:
    """Its repository's server sends an answer without end. Git gives up after a minute without a byte of its body."""
    asked, done = threading.Event(), threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            # The first connection only shows that the server answers.
            if connection.recv(1):
                asked.set()
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not done.wait(1):
                    connection.sendall(b"0" * 100)

    with Listener(drip) as server:
        url = f"http://127.0.0.1:{server.port}/{name}.git"
        site = deployment.call(
            "POST", "/sites", json={"name": name, "repo_url": url, "forge": "none", "default_agent": "shell"}
        )
        runner = deployment.run(site, "echo done > a.txt")
        assert asked.wait(PATIENCE_SECONDS), "git did not ask the server"
        try:
            yield runner
        finally:
            done.set()


def with_work(deployment: Deployment, runner: dict[str, Any]) -> dict[str, Any] | None:
    session = deployment.session(runner)
    return session if session["has_result_diff"] else None


def count(deployment: Deployment, runners: list[dict[str, Any]], state: str) -> int:
    """How many runners have a latest session in the state."""
    sites = {runner["site_id"] for runner in runners}
    found = [each for site in sites for each in deployment.call("GET", "/agent_runners", params={"site_id": site})]
    states = {runner["id"]: runner["latest_session_state"] for runner in found}
    return sum(states[runner["id"]] == state for runner in runners)


def assert_done_at_once(deployment: Deployment, runners: list[dict[str, Any]]) -> None:
    """Each is DONE at its first attempt."""
    for runner in runners:
        session = deployment.ended(runner)
        assert (session["state"], session["attempt"]) == ("DONE", 1), session
        assert "+done" in deployment.diff(runner, session, "result")


def assert_ran_again(deployment: Deployment, runner: dict[str, Any]) -> dict[str, Any]:
    """The second attempt won and says which it is; the first one's steps are on record and not shown."""
    session = deployment.ended(runner)
    assert (session["state"], session["attempt"]) == ("DONE", 2), session["failure"]
    shown = [f"{step['title']} {step['message']}" for step in session["steps"]]
    assert any("This is attempt 2" in text for text in shown), shown
    assert any("second try" in text for text in shown) and not any("first try" in text for text in shown), shown
    assert "+second" in deployment.diff(runner, session, "result")
    path = f"/agent_runners/{runner['id']}/sessions/{session['id']}/events"
    assert "first try" in deployment.call("GET", path), "the lost attempt's steps stay on record"
    return session
