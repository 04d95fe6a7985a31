"""Reading and writing the record while a session runs, which must outlive a database that is unavailable for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from app import db
from app.config import settings
from tasks import signals
from workers.processes.lifeline import boot_time

log = structlog.get_logger()
T = TypeVar("T")

RETRY_SECONDS = 0.5


class DatabaseUnavailable(Exception):
    """The database did not answer for as long as a lease holds: by now the session is nobody's, or another attempt's."""


def transact(verb: Callable[[], T]) -> T:
    """Run `verb` in a transaction that no signal interrupts, and again while the database is unavailable: for as long as a
    lease, then raises `DatabaseUnavailable`. Asking again is safe, as every write is fenced."""
    give_up_at = boot_time() + settings().lease_seconds
    while True:
        try:
            with signals.held_off(), db.transaction():
                return verb()
        except db.UNAVAILABLE as error:
            if boot_time() >= give_up_at:
                raise DatabaseUnavailable from error
            log.warning("database_unavailable", error=type(error).__name__)
        time.sleep(RETRY_SECONDS)
