"""The local store as tests want it: with something happening in the middle of its work, and objects of any age."""

from __future__ import annotations

import datetime
import functools
import os
from collections.abc import Callable, Iterator

import pytest

from app import artifacts
from app.artifacts import LocalStore, Stored
from app.config import settings


class BusyStore(LocalStore):
    """It calls `on_list` after it has listed a key, and `on_delete` before it deletes one."""

    def __init__(
        self, on_list: Callable[[str], None] = lambda key: None, on_delete: Callable[[str], None] = lambda key: None
    ) -> None:
        super().__init__(settings().artifacts, settings().public_url)
        self._on_list, self._on_delete = on_list, on_delete

    def list(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        for key, stored in super().list(prefix):
            yield key, stored
            self._on_list(key)

    def delete(self, key: str) -> None:
        self._on_delete(key)
        super().delete(key)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the deployment's store for the rest of the test."""
        monkeypatch.setattr(artifacts, "store", functools.cache(lambda: self))


def make_older(key: str, seconds: float) -> str:
    """Let a stored object be so old."""
    stored_at = datetime.datetime.now().timestamp() - seconds
    os.utime(settings().artifacts / key, (stored_at, stored_at))
    return key


def is_stored(key: str) -> bool:
    return artifacts.store().stat(key) is not None
