"""Folders that take long to make, and are made once in each test process. Tests get copies of them."""

from __future__ import annotations

import atexit
import functools
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

_made: dict[str, Path] = {}
_numbers = itertools.count()


def made_once(key: object, make: Callable[[Path], object]) -> Path:
    """The folder that `make` made for the first who asked with this key, which is told by its `repr`. Do not change it."""
    name = repr(key)
    if name not in _made:
        # What was left when `make` failed is not in the way.
        folder = _all_of_them() / str(next(_numbers))
        make(folder)
        _made[name] = folder
    return _made[name]


@functools.cache
def _all_of_them() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="ar-once-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
