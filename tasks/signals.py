"""How a running task is interrupted: SIGTERM from a revoke or from its own heartbeat, SIGQUIT from a draining worker.

The first one raises SystemExit in the main thread, and the rest are ignored, so that nothing disturbs the cleaning
up. None is raised amid a transaction: it would leave a connection behind that still holds its locks, with SQLite
that of the whole database.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGQUIT)
_held_off = False
_came = False


@contextlib.contextmanager
def taken() -> Iterator[None]:
    """Take the signals, at first without being interrupted by them: `allow` says from when on."""
    global _held_off, _came
    _held_off, _came = True, False
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _held_off = False


def allow() -> None:
    """From now on a signal interrupts; one that came meanwhile does so at once."""
    global _held_off
    _held_off = False
    if _came:
        _interrupt()


def ignore() -> None:
    """Clean up undisturbed; nor does a signal reach the processes that are started from now on."""
    global _came
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _came = False


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Let an interruption wait until the block has been left."""
    global _held_off
    before, _held_off = _held_off, True
    try:
        yield
    finally:
        _held_off = before
    if not before:
        allow()


def _interrupt(*_: Any) -> None:
    global _came
    if _held_off:
        _came = True
    else:
        ignore()
        raise SystemExit
