"""The commands that workers take from the broker, beside messages for tasks.

Celery lets whoever can write to the broker stop all workers, take their queues and processes away, or kill tasks with any
signal. Workers keep the commands that only ask, and those that we send.
"""

from __future__ import annotations

from typing import Any

from celery.worker import control

from app import queue

# Flower, `celery inspect`, and workers that start ask these.
_QUESTIONS = ("ping", "hello", "clock", "stats", "conf", "registered", "query_task")
_LISTS = ("active", "active_queues", "reserved", "scheduled", "revoked")
_EFFECTS = ("revoke", "enable_events", "heartbeat", queue.REFRESH_MIRRORS)


def restrict() -> None:
    """Remove all other commands from this process. A worker logs and ignores them then."""
    commands = control.Panel.data
    for name in commands.keys() - {*_QUESTIONS, *_LISTS, *_EFFECTS}:
        del commands[name]
    commands["revoke"] = _revoke


def _revoke(state: Any, task_id: Any, terminate: bool = False, **_: Any) -> Any:
    """Celery's `revoke` with SIGTERM, whatever signal is asked for: the task then stops, or requeues its session."""
    return _celery_revoke(state, task_id, terminate=terminate, signal="SIGTERM")


_celery_revoke = control.revoke
