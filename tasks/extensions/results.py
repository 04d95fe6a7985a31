"""Task results in Celery. The database holds the results; Celery stores none, but its events report failures."""

from __future__ import annotations

from typing import Any

from celery import Task, states
from celery.backends.base import DisabledBackend


class TaskFailed(Exception):
    """The task's work failed, and the failure is recorded already. The argument is its error code."""


def report(task: Task, failure_code: str | None) -> None:
    """Mark a task as FAILURE in Celery's events, and so in Flower, if its session or publication failed.

    A task calls this last. A task that is called directly raises nothing, because the caller can read the record.
    """
    if failure_code and not task.request.called_directly:
        raise TaskFailed(failure_code)


class NoResults(DisabledBackend):
    """A result backend that stores nothing. Celery still asks it for the state of a task that is revoked.

    `DisabledBackend` raises then, and the worker would log a warning for each revoked task.
    """

    def get_state(self, task_id: str) -> Any:
        """The state that Celery gives to a task without a stored result."""
        return states.PENDING
