"""Transactions of a running session. They are retried while the database is unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from app import db
from app.config import settings
from tasks.attempts import signals
from workers.processes.lifeline import boot_time

log = structlog.get_logger()
T = TypeVar("T")

RETRY_SECONDS = 0.5


class DatabaseUnavailable(Exception):
    """The database was unavailable for a whole lease period, so the lease has expired; another attempt may own the row."""


def transact(verb: Callable[[], T]) -> T:
    """Run `verb` in a transaction that no signal interrupts. Retry while the database is unavailable.

    Raises `DatabaseUnavailable` after one lease period. A retry is safe, because every write is fenced.
    """
    give_up_at = boot_time() + settings().lease_seconds
    while True:
        try:
            with signals.blocked(), db.transaction():
                return verb()
        except db.UNAVAILABLE as error:
            if boot_time() >= give_up_at:
                raise DatabaseUnavailable from error
            log.warning("database_unavailable", error=type(error).__name__)
        time.sleep(RETRY_SECONDS)
