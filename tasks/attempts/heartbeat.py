"""Extends the lease of an attempt, in a thread of its own, so that nothing the engine waits for can delay it."""

from __future__ import annotations

import functools
import threading
from types import TracebackType

import structlog

from app import db
from app.config import settings
from app.models.leased import Leased
from app.services import leases
from tasks.attempts import signals
from workers.processes.lifeline import Lifeline, boot_time

log = structlog.get_logger()


class Heartbeat:
    """Extends the lease until it is stopped, and with it the agent's deadline, which is before the end of the lease.

    An attempt that no longer holds its row is interrupted: its agent is killed, and the main thread gets the same
    SIGTERM that a revoke sends. If the database is unavailable, nothing is extended, and the agent is killed at its
    deadline, before another worker can claim the row.
    """

    # The agent's deadline as a share of the lease. The rest is for killing its processes and for a slow clock.
    SHARE_OF_LEASE = 0.85

    def __init__(self, row: Leased, lifeline: Lifeline) -> None:
        """`row` is the claimed row; its `attempt` fences the heartbeat."""
        self._beat = functools.partial(leases.beat, type(row), row.id, row.attempt)
        self._lifeline = lifeline
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @classmethod
    def lifeline(cls) -> Lifeline:
        """A lifeline for an attempt that was claimed just now."""
        return Lifeline(settings().lease_seconds * cls.SHARE_OF_LEASE)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(timeout=settings().heartbeat_seconds)

    def _run(self) -> None:
        while not self._stopped.wait(settings().heartbeat_seconds):
            asked_at = boot_time()
            try:
                with db.transaction():
                    self._beat()
            except (leases.LeaseLost, leases.Cancelled) as reason:
                log.info("interrupted", reason=reason.error_code)
                if not self._stopped.is_set():
                    signals.interrupt(self._lifeline)
                return
            except Exception as error:
                log.warning("heartbeat_failed", error=type(error).__name__)
            else:
                self._lifeline.extend_to(asked_at + settings().lease_seconds * self.SHARE_OF_LEASE)
