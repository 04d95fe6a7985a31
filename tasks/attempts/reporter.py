"""Records what the engine reports, in a thread of its own, so that the engine does not wait for the database."""

from __future__ import annotations

import contextvars
import dataclasses
import threading
import time
from collections.abc import Sequence
from types import TracebackType

import structlog

from app.models.states import Stage, StepCategory
from app.services import counters, leases
from app.services.execution import exhaustion, progress
from app.services.execution.session_attempts import Claim
from tasks.attempts import signals
from tasks.attempts.transactions import transact
from workers.events import BaseCommit, BudgetWarning, Event, Progress, Recreation, Refusal, Step, Takeover, Usage
from workers.processes.lifeline import Lifeline

log = structlog.get_logger()


class Reporter:
    """Writes events in order: the first one at once, and those that follow within `INTERVAL_SECONDS` together.

    If the attempt no longer holds its session, or the events cannot be written, this interrupts the main thread as a
    heartbeat does, and each later call raises the reason.
    """

    INTERVAL_SECONDS = 0.05
    MOST_WAITING = 1000
    """With so many unwritten events, while the database is unavailable, the engine has to wait."""

    def __init__(self, claim: Claim, lifeline: Lifeline) -> None:
        self._claim, self._lifeline = claim, lifeline
        self._changed = threading.Condition()
        self._waiting: list[Event] = []
        self._is_writing = False
        self._is_urgent = False
        self._is_closed = False
        self._failure: Exception | None = None
        # The thread logs under the names of the session, and without its secrets.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="reporter", daemon=True)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left, and end the thread."""
        self._close()

    def add(self, event: Event) -> None:
        """Queue an event. Raises what ended the recording, such as `LeaseLost` or `Cancelled`."""
        with signals.blocked(), self._changed:
            self._changed.wait_for(lambda: self._failure or len(self._waiting) < self.MOST_WAITING)
            self._raise_failure()
            self._waiting.append(event)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all events are written. Returns as well if the attempt no longer holds its session."""
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._failure or not (self._waiting or self._is_writing))
            self._is_urgent = False
            if not isinstance(self._failure, leases.LeaseLost | leases.Cancelled):
                self._raise_failure()

    def take(self) -> Sequence[Event]:
        """End the thread, and return the events that it has not written. Raises as `add` does."""
        with self._changed:
            rest, self._waiting = self._waiting, []
        self._close()
        self._raise_failure()
        return rest

    def _close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        earliest = 0.0
        while events := self._next(earliest):
            earliest = time.monotonic() + self.INTERVAL_SECONDS
            failure: Exception | None = None
            try:
                transact(lambda events=events: _record_and_check(self._claim, events))  # type: ignore[misc]
            except Exception as error:
                failure = error
            with self._changed:
                self._is_writing, self._failure = False, failure
                self._changed.notify_all()
            if failure is not None:
                log.info("interrupted", reason=getattr(failure, "error_code", type(failure).__name__))
                signals.interrupt(self._lifeline)
                return

    def _next(self, earliest: float) -> list[Event]:
        """Wait for events, and for the time `earliest` on the monotonic clock. Returns none once the reporter is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._changed.wait_for(lambda: self._is_urgent or self._is_closed, max(0.0, earliest - time.monotonic()))
            events, self._waiting = self._waiting, []
            self._is_writing = True
            self._changed.notify_all()
        return events


def _record_and_check(claim: Claim, events: Sequence[Event]) -> None:
    """Do as `record` does, and end the session if the events use up a budget."""
    record(claim, events)
    if any(isinstance(event, Usage) for event in events):
        exhaustion.check(claim.session)


def record(claim: Claim, events: Sequence[Event]) -> None:
    """Write events in the transaction in progress. Raises `LeaseLost` or `Cancelled`."""
    if events:
        progress.record(claim.session.id, claim.attempt, [_report_of(event) for event in events])
    if refused := sum(event.times for event in events if isinstance(event, Refusal)):
        counters.count("egress_refused", refused)
    if recreated := sum(isinstance(event, Recreation) for event in events):
        counters.count("mirrors_recreated", recreated)


def _report_of(event: Event) -> progress.Report:
    match event:
        case Step(title, message):
            return progress.Step(title, message, event.of_agent, StepCategory(event.category), event.ref)
        case Usage():
            return progress.Usage(dataclasses.asdict(event))
        case Progress(stage):
            return Stage(stage)
        case BudgetWarning(message):
            return progress.BudgetWarning(message)
        case Takeover(agent, model):
            return progress.Takeover(agent, model)
        case BaseCommit(base_sha, branch, default_branch):
            return progress.Base(base_sha, branch, default_branch)
