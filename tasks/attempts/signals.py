"""Signals that interrupt a running task: SIGTERM from a revoke, a draining worker or its own threads, SIGQUIT from a user.

The first signal raises SystemExit in the main thread. Later ones are ignored, so that they cannot interrupt the
cleanup. During a transaction the exception is deferred: raised there, it would leave a connection that still holds its
locks, and with SQLite that locks the whole database.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from workers.processes.lifeline import Lifeline

_SIGNALS = (signal.SIGTERM, signal.SIGQUIT)
_blocked = False
_pending = False


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Install the signal handlers. Signals stay pending until `unblock` is called."""
    global _blocked, _pending
    _blocked, _pending = True, False
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _blocked = False


def unblock() -> None:
    """Let signals interrupt from now on. A pending one interrupts at once."""
    global _blocked
    _blocked = False
    if _pending:
        _interrupt()


def ignore() -> None:
    """Ignore the signals, for the cleanup. Processes started from now on ignore them as well."""
    global _pending
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _pending = False


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Keep signals pending until the end of the block. In another thread than the main one, which gets no signals, this
    has no effect."""
    global _blocked
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, _blocked = _blocked, True
    try:
        yield
    finally:
        _blocked = before
    if not before:
        unblock()


def interrupt(lifeline: Lifeline) -> None:
    """From another thread: kill the agent, and interrupt the main thread as a revoke does."""
    lifeline.cut()
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(*_: Any) -> None:
    global _pending
    if _blocked:
        _pending = True
    else:
        ignore()
        raise SystemExit
