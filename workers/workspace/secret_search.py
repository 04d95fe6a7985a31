"""Looks for secrets in what a session changed, in a thread, while git compares the same files: both only read objects."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from workers.job import Secrets
from workers.repository.objects import Objects
from workers.repository.trees import Change, holds_secret


class _Unwanted(Exception):
    """The answer is not wanted any more."""


@contextmanager
def searching(objects: Objects, changed: Sequence[Change], secrets: Secrets) -> Iterator[Callable[[], bool | None]]:
    """Search while the context is open. Nothing else may use `objects` then.

    Yields a function that waits for the answer: whether the changed files hold a secret. None: there is no time left to
    find out. It raises what `holds_secret` does otherwise.
    """
    has_ended = threading.Event()

    def check() -> None:
        if has_ended.is_set():
            raise _Unwanted

    with ThreadPoolExecutor(1, "secrets") as thread:
        answer = thread.submit(contextvars.copy_context().run, _search, objects, changed, secrets, check)
        try:
            yield answer.result
        finally:
            has_ended.set()


def _search(objects: Objects, changed: Sequence[Change], secrets: Secrets, check: Callable[[], None]) -> bool | None:
    try:
        return holds_secret(objects, changed, secrets, check)
    except TimeoutError:
        return None
