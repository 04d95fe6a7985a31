"""Listens for what the database announces, in a thread of its own, while anybody follows a stream."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import structlog

from app import database_changes, db

CHANNEL = "agent_runner_events"
"""Each event announces its runner here, and a change of state its account too: by a trigger, see `migrations`."""
LOOK_SECONDS = 2.0
RETRY_SECONDS = 1.0
log = structlog.get_logger()


class Announcements:
    """Calls `hear` with the ids that were announced together; with none when there may be news without announcements."""

    def __init__(self, hear: Callable[[set[uuid.UUID]], object]) -> None:
        self._hear, self._stopped = hear, threading.Event()
        threading.Thread(target=self._run, name="event-announcements", daemon=True).start()

    def stop(self) -> None:
        """Stop soon. The thread notices at the next announcement, or when it would look for itself."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                for announced in database_changes.changes(CHANNEL, LOOK_SECONDS):
                    if self._stopped.is_set():
                        return
                    self._hear({uuid.UUID(each) for each in announced})
            except db.UNAVAILABLE as error:
                log.warning("event_announcements_wait", error=type(getattr(error, "orig", error)).__name__)
            except Exception:
                log.exception("event_announcements_failed")
            self._hear(set())
            self._stopped.wait(RETRY_SECONDS)
