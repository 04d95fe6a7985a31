"""What Celery is told of results. The database holds what came of a task; Celery stores nothing, but counts failures."""

from __future__ import annotations

from typing import Any

from celery import Task, states
from celery.backends.base import DisabledBackend


class TaskFailed(Exception):
    """What the task was to do has failed, and that is recorded. The code is the failure's."""


def report(task: Task, failure_code: str | None) -> None:
    """End a task as FAILURE in Celery's events, and so in Flower, where its session or publication failed.

    The last thing that a task does. A direct caller has the record to read, and gets no exception.
    """
    if failure_code and not task.request.called_directly:
        raise TaskFailed(failure_code)


class NoResults(DisabledBackend):
    """Stores nothing, and answers the one question that Celery asks all the same: the state of a task that is revoked.

    Its own backend for this case raises, and the worker then warns at each stop that it could not mark the task.
    """

    def get_state(self, task_id: str) -> Any:
        """What Celery says of a task of which no result has been stored."""
        return states.PENDING
