"""What the stream of a session has. `tests/streams` follows streams of real web processes."""

from __future__ import annotations

import json
import threading
import time

import pytest

from app import db
from app.models.states import SessionState, Stage
from app.services.execution import progress
from app.services.execution.outcomes import Failure
from tests.api.calling import Api, empty, ok, path_of, refused, session_path

pytestmark = pytest.mark.same_on_both_databases


def messages(lines):
    """The messages of an event stream: (id, event, data)."""
    for block in lines.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        yield int(fields["id"]) if "id" in fields else None, fields["event"], json.loads(fields["data"])


def read_stream(api, runner, after=None):
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    # A server closes what it has sent; a test client leaves that to the test.
    with api.get(session_path(runner, rest="/events"), headers=headers) as response:
        return list(messages(response.data))


@pytest.fixture
def runner(api, make_runner, worker):
    """A runner whose session was lost once, and then ended."""
    runner = make_runner()
    first = worker.claim(runner["latest_session_id"])
    worker.step(first, "Lost", "before the crash")
    worker.lose(first)
    second = worker.claim(runner["latest_session_id"])
    with db.transaction():
        progress.record(second.session.id, second.attempt, [Stage.AGENT])
    worker.step(second, "Found", "ünïcode\nand lines")
    worker.finish(second, usage={"input_tokens": 1})
    return runner


def test_a_stream_sends_every_event_in_order_and_ends(api, runner):
    with api.get(session_path(runner, rest="/events")) as response:
        received = list(messages(response.data))
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    names = [(event, data.get("state") or data.get("stage") or data.get("title")) for _, event, data in received]
    assert names == [
        ("state", "NEW"),
        ("state", "RUNNING"),
        ("step", "Lost"),
        ("state", "NEW"),
        ("state", "RUNNING"),
        ("step", "Started again"),
        ("stage", "agent"),
        ("step", "Found"),
        ("state", "DONE"),
        ("done", "DONE"),
    ]
    numbers = [number for number, _, _ in received[:-1]]
    assert numbers == sorted(set(numbers)) and received[-1][0] == numbers[-1]
    steps = {step["id"]: step for step in ok(api.get(session_path(runner)))["steps"]}
    found = received[7][2]
    assert steps[found["id"]]["message"] == found["message"] == "ünïcode\nand lines"
    assert (found["category"], found["ref"]) == (steps[found["id"]]["category"], None)
    assert found["created_at"] == steps[found["id"]]["created_at"] and found["attempt"] == 2


def test_a_stream_resumes_after_the_last_event(api, runner):
    received = read_stream(api, runner)
    for index, (number, _, _) in enumerate(received[:-1]):
        assert read_stream(api, runner, number) == received[index + 1 :]
    assert [event for _, event, _ in read_stream(api, runner, 10_000)] == ["done"]


PLACES = ["x", "-1", "1.5", str(2**40)]


def test_an_invalid_last_event_id_is_refused(api, runner):
    for place in PLACES:
        response = api.get(session_path(runner, rest="/events"), headers={"Last-Event-ID": place})
        assert list(refused(response, 422, "invalid")["errors"]) == ["Last-Event-ID"]


def test_a_client_gets_events_as_they_happen(api, app, make_runner, worker):
    runner = make_runner()
    claim = worker.claim(runner["latest_session_id"])
    client = Api(app.test_client(), api.token)
    response = client.get(session_path(runner, rest="/events"), buffered=False)
    stream = response.iter_encoded()
    assert [next(messages(next(stream)))[2]["state"] for _ in range(2)] == ["NEW", "RUNNING"]
    began = time.monotonic()
    threading.Timer(0.2, worker.step, (claim, "Late")).start()
    assert next(messages(next(stream)))[2]["title"] == "Late"
    assert time.monotonic() - began > 0.1
    empty(api.delete(path_of(runner)), 202)
    rest = list(messages(b"".join(stream)))
    response.close()
    assert [event for _, event, _ in rest] == ["state", "done"] and rest[-1][2] == {"state": "CANCELLED"}


def test_a_failure_is_reported_in_the_stream(api, make_runner, worker):
    runner = make_runner()
    failure = {"code": "x", "stage": "agent", "retryable": False, "message": "No."}
    worker.run(runner["latest_session_id"], state=SessionState.ERROR, failure=Failure(**failure))
    assert read_stream(api, runner)[-2][2]["failure"] == {**failure, "retry_at": None}
