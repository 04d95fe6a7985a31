"""A worker does what a message says only as far as the database agrees."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery.worker import control
from kombu.message import Message

from app import db, queue
from app.models.states import PublicationState, SessionState
from tasks.celery_app import app
from tasks.extensions import commands, messages
from tasks.publications import publish
from tasks.sessions import run_session
from tests.tasks.conftest import read
from tests.tasks.recorded import record_run
from tests.tasks.test_publishing import commit, newest

ID = str(uuid.uuid4())
NOTHING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def message(body: object = ([ID], {}, NOTHING), **headers: object) -> Message:
    known = {"task": queue.RUN_SESSION, "id": ID, "lang": "py", "expires": None}
    sent = body if isinstance(body, str) else json.dumps(body)
    return Message(body=sent, content_type="application/json", content_encoding="utf-8", headers={**known, **headers})


def test_nothing_else_is_kept_of_a_message() -> None:
    """A time limit would kill a session's process three times, and so end the session."""
    extra = {"timelimit": [1, 1], "eta": "2999-01-01T00:00:00", "retries": -9, "group": ID, "stamps": {"x": 1}, "y": 1}
    sent = message(**extra, **{queue.REQUEST_ID: "r"})
    messages.restrict(sent)
    assert sent.headers == message(**{queue.REQUEST_ID: "r"}).headers


FORGED: dict[str, Message] = {
    "a task of Celery's": message(([[]], {}, NOTHING), task="celery.map"),
    "an unknown task": message(task="sessions.runs"),
    "no name of a task": message(task=["sessions.run"]),
    "an id that is a path": message(id="/../../secret.key"),
    "an id in another form": message(id=uuid.UUID(ID).hex),
    "no id": message(id=None),
    "an argument that is no id": message((["x"], {}, NOTHING)),
    "an argument that is an object": message(([{"x": 1}], {}, NOTHING)),
    "too many arguments": message(([ID, ID], {}, NOTHING)),
    "an argument too few": message(([], {}, NOTHING)),
    "options": message(([ID], {"x": 1}, NOTHING)),
    "a task to send afterwards": message(([ID], {}, {**NOTHING, "chain": [{"task": "sweep.all"}]})),
    "the older protocol": message({"task": queue.RUN_SESSION, "id": ID, "args": [ID], "kwargs": {}}),
    "a list of something else": message("[1, 2]"),
    "megabytes": message(([ID], {}, {**NOTHING, "x": "x" * 5_000_000})),
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_none_of_our_messages_is_refused(kind: str) -> None:
    with pytest.raises(messages.Unexpected):
        messages.restrict(FORGED[kind])


def test_every_task_of_ours_is_expected() -> None:
    app.loader.import_default_modules()
    assert {name for name in app.tasks if not name.startswith("celery.")} == messages.TASKS.keys()


def test_a_message_about_a_row_that_is_not_due_does_nothing(ask: Callable[..., uuid.UUID]) -> None:
    session_id = ask("echo changed > a.txt")
    record_run(session_id)
    publication = commit(session_id, target_branch="x")
    assert (read(session_id).state, publication.state) == (SessionState.DONE, PublicationState.DONE)
    for row in (session_id, publication.id, uuid.uuid4()):
        run_session(str(row))
        publish(str(row))
    with db.transaction():
        assert (read(session_id).attempt, newest(session_id).attempt) == (1, 1)


def test_workers_keep_no_command_that_takes_something_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"ping", "stats", "revoke", queue.REFRESH_MIRRORS} <= control.Panel.data.keys()
    for name in ("shutdown", "pool_shrink", "pool_grow", "autoscale", "cancel_consumer", "add_consumer", "time_limit"):
        assert name not in control.Panel.data
    for name in ("rate_limit", "terminate", "revoke_by_stamped_headers", "pool_restart", "memdump", "report"):
        assert name not in control.Panel.data
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(commands, "_celery_revoke", lambda *ids, **options: asked.append((*ids, options)))
    control.Panel.data["revoke"](None, task_id=ID, terminate=True, signal="SIGKILL")
    assert asked == [(None, ID, {"terminate": True, "signal": "SIGTERM"})]
