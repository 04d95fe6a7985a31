"""Webhooks through the death of everything, and beside a receiver that never answers."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier

from app import db
from app.models import AgentRunner, Event
from app.services import events
from tests import postgres
from tests.deployment import Deployment, wait_for
from tests.faults import receiver as program
from tests.faults.conftest import ON_POSTGRES, ON_SQLITE, double
from tests.faults.sessions import held_back, start
from tests.listening import Listener


@dataclass(frozen=True)
class Receiver:
    """A receiver in a process of its own, which outlives the deployment."""

    url: str
    file: Path
    hold: Path

    def read(self) -> list[dict[str, Any]]:
        """What it got so far, and wrote down before it answered."""
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def messages_about(self, runner: dict[str, Any]) -> dict[str, str]:
        """The types of the messages about a runner by their ids, in the order in which each came first."""
        bodies = [(each["headers"]["webhook-id"], json.loads(each["body"])) for each in self.read()]
        return {key: body["type"] for key, body in bodies if body["data"]["agent_runner_id"] == runner["id"]}


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    file, hold = tmp_path / "received", tmp_path / "hold"
    arguments = [sys.executable, program.__file__, str(file), str(hold)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Receiver(f"http://127.0.0.1:{int(process.stdout.readline())}/", file, hold)
        finally:
            process.kill()


@pytest.fixture
def killed_server(deployment: Deployment) -> Iterator[None]:
    """The database's server is there again after the test, whatever became of it."""
    yield
    if deployment.settings["DATABASE_URL"]:
        postgres.start_server()


def kill_everything_and_start_again(deployment: Deployment) -> None:
    """As a machine that loses its power and gets it back."""
    deployment.kill_all()
    if deployment.settings["DATABASE_URL"]:
        postgres.kill_server()
        postgres.start_server()
    deployment.start("broker", "broker")
    deployment.start_web()
    deployment.start_workers()
    double(deployment)


# Postgres dies as well here; that of SQLite are the processes that the other faults kill.
@ON_POSTGRES
@pytest.mark.usefixtures("killed_server")
def test_a_receiver_misses_nothing_when_everything_is_killed(deployment: Deployment, receiver: Receiver) -> None:
    webhook = deployment.call("POST", "/webhooks", json={"url": receiver.url})
    receiver.hold.touch()
    runner = start(deployment, "killed-webhooks", "sleep 2; echo done > a.txt")
    wait_for("a message", receiver.read)
    # It has got the message, and nobody has recorded that.
    kill_everything_and_start_again(deployment)
    receiver.hold.unlink()

    runners, mark = held_back(deployment, "killed-webhooks-again", 4)
    wait_for("two to run", lambda: sum(len(receiver.messages_about(each)) > 0 for each in runners) >= 2)
    mark.touch()
    wait_for("an end", lambda: any("session.done" in receiver.messages_about(each).values() for each in runners))
    kill_everything_and_start_again(deployment)

    for each in (runner, *runners):
        session = deployment.ended(each)
        assert session["state"] == "DONE", session["failure"]
        wait_for("the message of its end", lambda each=each: "session.done" in receiver.messages_about(each).values())
        path = f"/agent_runners/{each['id']}/sessions/{session['id']}/events"
        begun = len(re.findall(r'"state": ?"RUNNING"', deployment.call("GET", path)))
        types = list(receiver.messages_about(each).values())
        assert types == begun * ["session.started"] + ["session.done"], "each event, in their order"
    got = receiver.read()
    times = Counter(each["headers"]["webhook-id"] for each in got)
    first = got[0]["headers"]["webhook-id"]
    assert times[first] >= 2, "what was not recorded is sent again, with the same id"
    assert len({(each["headers"]["webhook-id"], each["body"]) for each in got}) == len(times)
    for each in got:
        Verifier(webhook["secret"]).verify(each["body"], each["headers"])

    def delivered() -> set[str]:
        log = deployment.call("GET", f"/webhooks/{webhook['id']}/deliveries?per_page=100")
        return {each["event_id"] for each in log} if all(each["state"] == "delivered" for each in log) else set()

    # The receiver writes a message down before it answers, and the worker its answer after that.
    assert wait_for("the record of every answer", delivered) == set(times)
    deployment.call("DELETE", f"/webhooks/{webhook['id']}")


@ON_SQLITE
def test_a_thousand_events_for_a_receiver_that_never_answers_hold_nobody_up(
    deployment: Deployment, receiver: Receiver
) -> None:
    runner = start(deployment, "a-thousand-events", "echo done > a.txt")
    deployment.ended(runner)
    with Listener(hang) as dead:
        url = f"http://127.0.0.1:{dead.port}/"
        stuck = [deployment.call("POST", "/webhooks", json={"url": url}) for _ in range(3)]
        add_events(deployment, runner, 1_000)
        fine = deployment.call("POST", "/webhooks", json={"url": receiver.url})
        for number in range(1, 4):
            deployment.follow_up(runner, f"echo {number} > a.txt")
            assert deployment.ended(runner)["state"] == "DONE"
            wait_for("its messages", lambda number=number: len(receiver.messages_about(runner)) == 2 * number)
    for each in stuck:
        path = f"/webhooks/{each['id']}/deliveries"
        log = wait_for("a try", lambda path=path: deployment.call("GET", path))
        assert [delivery["state"] for delivery in log] == ["pending"], "it waits for its first"
    for each in (*stuck, fine):
        deployment.call("DELETE", f"/webhooks/{each['id']}")


def hang(connection: socket.socket) -> None:
    """Take all that is sent and answer nothing, until the client has had enough."""
    with connection, contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


def add_events(deployment: Deployment, runner: dict[str, Any], count: int) -> None:
    """As if the runner had been archived that often, which would take a caller a while."""
    runner_id = uuid.UUID(runner["id"])
    engine = db.make_engine(deployment.database_url)
    with engine.begin() as connection:
        of_runner = AgentRunner.id == runner_id
        last = connection.scalar(sa.select(AgentRunner.last_event_seq).where(of_runner)) or 0
        new = {"agent_runner_id": runner_id, "kind": events.STATE, "payload": {"state": "ARCHIVED"}}
        connection.execute(sa.insert(Event), [{**new, "seq": last + n} for n in range(1, count + 1)])
        connection.execute(sa.update(AgentRunner).where(of_runner).values(last_event_seq=last + count))
    engine.dispose()
