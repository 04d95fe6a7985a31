"""The start of a program that forks: a worker, or the web process. It imports all that its processes need, then forks them."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

_SPARED = (
    # Rich is for colours of tracebacks, which the log does not have.
    ("structlog", "rich"),
    # cffi parses C for one system call, which ctypes makes without.
    ("billiard.util", "cffi"),
)


def begin() -> None:
    """Import without the collector, and without what some libraries import only because it is installed.

    What is imported stays. To look through all of it for garbage, again and again, takes a tenth of the start.
    """
    gc.disable()
    for library, optional in _SPARED:
        if library not in sys.modules:
            sys.modules[optional] = None  # type: ignore[assignment]
            import_module(library)
            del sys.modules[optional]


def before_first_fork() -> None:
    """Have the collector work, but pass over what is here by now: it would write to every object, and so each process
    would get a copy of all memory."""
    gc.freeze()
    gc.enable()
