"""Keeps migrations from stopping the deployment while they wait for a lock.

A statement that waits for the lock of a table makes all later statements on that table wait, too. So it gives up after a
moment, and the migration is tried again when those have passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

_SECONDS = 2
# The time between two tries. All of them take about a minute and a half.
_PAUSES = (0.5, 1, 2, 4, 8, 15, 15, 15, 15)
_LOCK_NOT_AVAILABLE = "55P03"


def limit_lock_waits(connection: sa.Connection) -> None:
    """Let each statement of this connection wait for locks for two seconds at most. SQLite has a limit already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET lock_timeout = '{_SECONDS}s'")


def unlimited_lock_waits(connection: sa.Connection) -> None:
    """Undo `limit_lock_waits`, for statements that make nobody wait."""
    connection.exec_driver_sql("SET lock_timeout = 0")


def retried(upgrade: Callable[[], None]) -> None:
    """Run `upgrade`, and again if it could not get a lock. What it committed before must not be done again by it."""
    for pause in (*_PAUSES, None):
        try:
            return upgrade()
        except sa.exc.OperationalError as error:
            if pause is None or getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            time.sleep(pause)
