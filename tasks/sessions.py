"""Running a session: claim it, drive the engine, record what it tells, end it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import uuid
from collections.abc import Callable
from typing import Any

import structlog

import workers
from app import db
from app.models.states import SessionState
from app.queue import RUN_SESSION
from app.redaction.secrets import Secrets, kept_out_of_logs
from app.services import counters, leases
from app.services.execution import outcomes, session_attempts
from app.services.execution.session_attempts import Claim
from app.services.sites.site_secrets import secrets_of
from tasks import signals
from tasks.artifact_io import StoredDiffs
from tasks.celery_app import app
from tasks.heartbeat import Heartbeat
from tasks.results import TaskFailed, report
from tasks.session_jobs import job_of, this_host
from tasks.transactions import DatabaseUnavailable, transact
from workers.errors import EngineError
from workers.job import BaseCommit, Event, Job, Outcome, Refusal, Step, Usage
from workers.processes.lifeline import Lifeline

log = structlog.get_logger()


@app.task(name=RUN_SESSION, bind=True, throws=(TaskFailed,))
def run_session(self: Any, session_id: str) -> None:
    """Run the session that is scheduled next, or drop the message where there is none."""
    with signals.taken():
        failure = _claim_and_work(uuid.UUID(session_id), self.request.id)
    report(self, failure)


def _claim_and_work(session_id: uuid.UUID, task_id: str) -> str | None:
    with db.transaction():
        claim = session_attempts.claim(session_id, task_id)
    if claim is None:
        return None
    secrets = secrets_of(claim.site)
    names = structlog.contextvars.bound_contextvars(session_id=str(claim.session.id), attempt=claim.attempt)
    with names, kept_out_of_logs(secrets):
        log.info("claimed")
        return _work(claim, secrets)


def _work(claim: Claim, secrets: Secrets) -> str | None:
    """Run the attempt and write down how it ended; returns the code of a failure that ended the session.

    What breaks here is ours, and ends the session as `internal`.
    """
    lifeline, sink = Heartbeat.lifeline(), StoredDiffs(claim)
    try:
        signals.allow()
        with Heartbeat(claim.session, lifeline):
            job = job_of(claim, sink, secrets, lifeline, lambda: _on_interrupt(claim, lifeline))
            outcome = _drive(claim, job)
            return _record_outcome(claim, sink, outcome)
    except (leases.LeaseLost, leases.Cancelled) as reason:
        log.info("dropped", reason=reason.error_code)
    except DatabaseUnavailable:
        # Nothing is written any more, not even once the database is back: whoever takes the session next runs it.
        log.warning("dropped", reason="database_unavailable")
    except SystemExit:
        # The engine answers an interruption by itself; this one came before it began or after it was through.
        if _on_interrupt(claim, lifeline):
            _keep_work(claim, sink.work)
    except Exception:
        log.exception("broken")
        return _end(claim, outcomes.Outcome(**vars(sink.work), failure=INTERNAL))
    return None


INTERNAL = outcomes.Failure(
    "internal", "agent", retryable=True, message="Something broke in Agent Runners itself; the worker's log tells what."
)


def _drive(claim: Claim, job: Job) -> Outcome:
    """Record each event of the engine. A write that the fence refuses, or a SIGTERM meanwhile, is thrown into it."""
    with contextlib.closing(workers.run(job, this_host())) as engine:
        go_on: Callable[[], Event] = engine.__next__
        while True:
            try:
                _record(claim, go_on())
                go_on = engine.__next__
            except StopIteration as stop:
                outcome: Outcome = stop.value
                return outcome
            except (leases.LeaseLost, leases.Cancelled, SystemExit):
                go_on = functools.partial(engine.throw, workers.Interrupted())


def _record(claim: Claim, event: Event) -> None:
    session_id, attempt = claim.session.id, claim.attempt
    match event:
        case Refusal():
            transact(lambda: _record_refusal(session_id, attempt, event))
        case Step(title, message):
            transact(lambda: session_attempts.record_step(session_id, attempt, title, message))
        case Usage():
            transact(lambda: session_attempts.record_usage(session_id, attempt, dataclasses.asdict(event)))
        case BaseCommit(base_sha, branch):
            transact(lambda: session_attempts.record_base(session_id, attempt, base_sha, branch))


def _record_refusal(session_id: uuid.UUID, attempt: int, refusal: Refusal) -> None:
    session_attempts.record_step(session_id, attempt, refusal.title, refusal.message)
    counters.count("egress_refused", refusal.times)


def _on_interrupt(claim: Claim, lifeline: Lifeline) -> bool:
    """Say whether the work is kept: yes if the session was stopped. One that is still ours goes back to the queue.

    Cleaning up from here on must not be interrupted a second time.
    """
    signals.ignore()
    return transact(lambda: _is_stopped(claim, lifeline))


def _is_stopped(claim: Claim, lifeline: Lifeline) -> bool:
    if session_attempts.is_cancelled(claim.session.id, claim.attempt):
        return True
    # A worker that could not beat in time counts as lost, once its lease has ended: what keeps it from that may be the
    # session, which would else be begun for ever.
    if not lifeline.has_ended and session_attempts.requeue(claim.session.id, claim.attempt):
        log.info("requeued")
    return False


def _record_outcome(claim: Claim, sink: StoredDiffs, outcome: Outcome) -> str | None:
    """Write down what the engine says; a stop from here on is too late to interrupt anything."""
    signals.ignore()
    usage = dataclasses.asdict(outcome.usage) if outcome.usage else None
    work = dataclasses.replace(sink.work, base_sha=outcome.base_sha, usage=usage)
    if outcome.interrupted:
        _keep_work(claim, work)
        return None
    failure = _failure(outcome.failure) if outcome.failure else None
    return _end(claim, outcomes.Outcome(**vars(work), result=outcome.result, title=outcome.title, failure=failure))


def _failure(error: EngineError) -> outcomes.Failure:
    return outcomes.Failure(error.code, error.stage, error.retryable, error.message)


def _end(claim: Claim, outcome: outcomes.Outcome) -> str | None:
    """End the session, or where it was stopped meanwhile keep what came of it; returns the code of its failure."""
    state = SessionState.ERROR if outcome.failure else SessionState.DONE
    try:
        transact(lambda: session_attempts.finish(claim.session.id, claim.attempt, state, outcome))
    except leases.Cancelled:
        _keep_work(claim, outcome)
        return None
    code = outcome.failure.code if outcome.failure else None
    log.info("ended", state=state.value, failure=code)
    return code


def _keep_work(claim: Claim, work: outcomes.Work) -> None:
    kept = transact(lambda: session_attempts.keep_work(claim.session.id, claim.attempt, work))
    log.info("interrupted", work_kept=kept)
