"""The conversation of a runner: its sessions, and their steps as they come."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.api.presenters import RowView
from app.services.event_streams import SessionEvents
from app.services.events import STEP, step_json
from app.services.runners import agent_runner_sessions
from app.services.runners.session_configuration import RUN_SCRIPTS

STOPPING_SECONDS = 60
"""How long a stopped session is shown as stopping if its worker does not say that it has ended."""
QUIET = {"read", "edit", "search", "web", "tool", "command"}
_RESULT = re.compile(r"(Result of|Failed:) ")
_TASK = re.compile(r"\[([ x])\] (.*)")


@dataclass
class StepView:
    """A step, and the result of the call that it is."""

    seq: int
    category: str
    title: str
    message: str
    ref: str | None
    failed: bool = False
    result_of: str | None = None
    """The ref of a call that is shown already."""
    outputs: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of a step whose title is only the beginning of its message."""
        return self.message or self.title

    @property
    def tool(self) -> str:
        """The tool in a title such as `Bash: ls`; empty where there is none."""
        name, colon, _ = self.title.partition(": ")
        return name if colon and len(name) < 30 and " " not in name else ""

    @property
    def about(self) -> str:
        return self.title.removeprefix(f"{self.tool}: ") if self.tool else self.title

    @property
    def tasks(self) -> list[tuple[bool, str]]:
        """The tasks of a list that the step writes."""
        found = [_TASK.fullmatch(line) for line in self.message.splitlines()]
        return [(match[1] == "x", match[2]) for match in found if match]


@dataclass(frozen=True)
class Steps:
    """Steps after a position. `is_all`: there were no more when they were read."""

    steps: list[StepView]
    after: int
    is_all: bool


def steps_after(session: Any, after: int) -> Steps:
    """The next steps of the session's current attempt."""
    found = SessionEvents(session.agent_runner_id, session.id).read_after(after)
    events = [event for _, event in found.events if event.kind == STEP and event.attempt == session.attempt]
    last = found.events[-1][0] if found.events else after
    assert isinstance(last, int)
    return Steps(_views(events), last, found.is_all)


def _views(events: Iterable[Any]) -> list[StepView]:
    shown: list[StepView] = []
    calls: dict[str, StepView] = {}
    for event in events:
        step = step_json(event)
        view = StepView(event.seq, step["category"], step["title"], step["message"], step["ref"])
        if view.ref and _RESULT.match(view.title):
            view.failed = view.title.startswith("Failed")
            call = calls.get(view.ref)
            if call is not None:
                call.failed |= view.failed
                call.outputs.append(view.message)
                continue
            view.result_of, view.outputs, view.message = view.ref, [view.message], ""
        elif view.category in QUIET and view.message:
            view.outputs, view.message = [view.message], ""
            view.failed = "\n[exit status " in f"\n{view.outputs[0]}"
        if view.ref and view.result_of is None:
            calls[view.ref] = view
        shown.append(view)
    return shown


def sessions_of(rows: Iterable[Any]) -> list[RowView]:
    """Sessions as the conversation shows them: without steps, and with the beginnings of long texts."""
    rows = list(rows)
    texts, waiting = agent_runner_sessions.beginnings(rows), agent_runner_sessions.waiting(rows)
    return [session_view(row, **texts[row.id], waiting=waiting.get(row.id)) for row in rows]


def session_view(row: Any, **values: Any) -> RowView:
    return RowView(row, shown_state=shown_state(row), is_script=row.agent in RUN_SCRIPTS, **values)


def shown_state(session: Any) -> str:
    """The state of a session, or STOPPING until the worker of one that was stopped has ended."""
    is_working = session.started_at and session.done_at and session.attempt_ended_at is None
    if session.was_stopped and session.takes_late_work and is_working:
        age = datetime.datetime.now(datetime.UTC) - session.done_at
        if age.total_seconds() < STOPPING_SECONDS:
            return "STOPPING"
    return str(session.state)


def find(caller: Any, runner_id: uuid.UUID, per_page: int, number: int) -> Any:
    """A page of the sessions, the newest first, discarded ones included."""
    filters = {"order_by": "desc", "include_discarded": True, "page": number, "per_page": per_page}
    return agent_runner_sessions.find(caller, runner_id, filters)
