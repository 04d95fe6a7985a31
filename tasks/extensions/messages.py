"""What a message may make a worker do: run one of our tasks, on a row that the database says is due.

Whoever can write to the broker can send anything. So a worker believes nothing in a message but the task's name, the id
of a row, and the id under which the task is shown. Celery would also obey time limits, delays, and further tasks to
send that a message names, and run tasks of its own.
"""

from __future__ import annotations

import uuid

from kombu.message import Message

from app import queue

TASKS = {
    queue.RUN_SESSION: 1,
    queue.PUBLISH: 1,
    queue.DELIVER_WEBHOOK: 1,
    queue.RUN_PREFLIGHT: 1,
    queue.COMPARE_SESSIONS: 1,
    queue.FOLLOW_FORGE: 1,
    queue.CONNECT_FORGE_ACCOUNT: 1,
    queue.SWEEP_ALL: 0,
    queue.COLLECT_GARBAGE: 0,
    queue.DELETE_ARTIFACTS: 0,
    queue.CHECK_PULL_REQUESTS: 0,
}
"""The number of arguments of each task. All of them are ids of rows."""
_LARGEST = 64 * 1024
# `origin` and the texts of the arguments are for Celery's events.
_KEPT = ("lang", "task", "id", "root_id", "expires", "origin", "argsrepr", "kwargsrepr", queue.REQUEST_ID)


class Unexpected(Exception):
    """The message is none of ours."""


def restrict(message: Message) -> None:
    """Leave in the headers of a message only what ours need. Raises Unexpected, and what decoding it raises."""
    headers, size = message.headers or {}, len(message.body or b"")
    if size > _LARGEST:
        raise Unexpected(f"a body of {size} bytes")
    task = headers.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise Unexpected(f"task {task!r}")
    # It becomes the name of a file.
    _check_id(headers.get("id"))
    match message.payload:
        case [list(args), {} as options, dict(further)] if not options and not any(further.values()):
            if len(args) != TASKS[task]:
                raise Unexpected(f"{len(args)} arguments of {task}")
            for each in args:
                _check_id(each)
        case _:
            raise Unexpected(f"arguments of {task}")
    message.headers = {name: headers[name] for name in _KEPT if name in headers}


def _check_id(value: object) -> None:
    try:
        if isinstance(value, str) and str(uuid.UUID(value)) == value:
            return
    except ValueError:
        pass
    raise Unexpected(f"id {str(value)[:100]!r}")
