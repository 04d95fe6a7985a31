"""What Celery is told of results: there are none, as the database holds what came of a task."""

from __future__ import annotations

from typing import Any

from celery import states
from celery.backends.base import DisabledBackend


class NoResults(DisabledBackend):
    """Stores nothing, and answers the one question that Celery asks all the same: the state of a task that is revoked.

    Its own backend for this case raises, and the worker then warns at each stop that it could not mark the task.
    """

    def get_state(self, task_id: str) -> Any:
        """What Celery says of a task of which no result has been stored."""
        return states.PENDING
