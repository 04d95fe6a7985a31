"""Runs a session: claim it, drive the engine, record its events, end it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import uuid
from collections.abc import Callable
from typing import Any

import structlog

import workers
from app import db
from app.keys import SecretKeyChanged
from app.models.states import SessionState
from app.queue import RUN_SESSION
from app.redaction.secrets import Secrets, redacted_logs
from app.services import leases
from app.services.execution import exhaustion, outcomes, scheduling, session_attempts
from app.services.execution.session_attempts import Claim
from app.services.sites.site_secrets import secrets_of
from app.services.variables.values import Variables, of_site
from tasks.attempts import signals
from tasks.attempts.heartbeat import Heartbeat
from tasks.attempts.reporter import Reporter, record
from tasks.attempts.transactions import DatabaseUnavailable, transact
from tasks.celery_app import app
from tasks.extensions.results import TaskFailed, report
from tasks.jobs.artifact_io import StoredWork
from tasks.jobs.host import this_host
from tasks.jobs.session_jobs import job_of
from tasks.recovery import lost_tasks
from workers.errors import EngineError, FetchBusy
from workers.events import Event, Outcome
from workers.job import Host, Job
from workers.processes.lifeline import Lifeline

log = structlog.get_logger()
# The proxy and the supervisor of the agent; the holder of the mirror's lock and the supervisor of git.
_FORKED_TO_START, _FORKED_TO_FETCH = 2, 2


@app.task(name=RUN_SESSION, bind=True, throws=(TaskFailed,))
def run_session(self: Any, session_id: str) -> None:
    """Run the session that is scheduled next, or drop the message if there is none."""
    with _marked(self.request), signals.handled():
        failure = _claim_and_run(uuid.UUID(session_id), self.request.id)
    report(self, failure)


def _marked(request: Any) -> contextlib.AbstractContextManager[None]:
    """Only a process of a worker can be lost."""
    return contextlib.nullcontext() if request.called_directly else lost_tasks.marked(request.id)


def _claim_and_run(session_id: uuid.UUID, task_id: str) -> str | None:
    with db.transaction():
        claim = session_attempts.claim(session_id, task_id)
        if claim:
            # They start while the claim is written.
            workers.fork_ahead(_FORKED_TO_START + (0 if claim.runner.base_sha else _FORKED_TO_FETCH))
        if claim and exhaustion.end_if_exhausted(claim.runner, claim.session):
            claim = None
        variables = of_site(claim.site) if claim and claim.has_variables else Variables()
    if claim is None:
        return None
    secrets = secrets_of(claim.site, variables)
    names = structlog.contextvars.bound_contextvars(session_id=str(claim.session.id), attempt=claim.attempt)
    with names, redacted_logs(secrets):
        log.info("claimed")
        return _run(claim, variables, secrets)


def _run(claim: Claim, variables: Variables, secrets: Secrets) -> str | None:
    """Run the attempt and record its outcome. Returns the code of a failure that ended the session.

    An unexpected exception is a bug of ours and ends the session with the code `internal`.
    """
    lifeline, sink = Heartbeat.lifeline(), StoredWork(claim)
    try:
        signals.unblock()
        with Heartbeat(claim.session, lifeline), Reporter(claim, lifeline) as reporter:
            on_interrupt = functools.partial(_on_interrupt, claim, lifeline, reporter)
            job = job_of(claim, variables, sink, secrets, lifeline, on_interrupt)
            outcome = _drive(reporter, job, this_host(claim.site.account_id))
            return _record_outcome(claim, sink, outcome, reporter)
    except (leases.LeaseLost, leases.Cancelled) as reason:
        log.info("dropped", reason=reason.error_code)
    except DatabaseUnavailable:
        # The lease has expired. Write nothing, even if the database is available again: another attempt runs next.
        log.warning("dropped", reason="database_unavailable")
    except SystemExit:
        # The engine handles an interruption while it runs. This one came before it started or after it ended.
        if _must_keep_work(claim, lifeline):
            _keep_work(claim, sink.work)
    except SecretKeyChanged as error:
        failure = outcomes.Failure("secret_key_changed", "checkout", retryable=False, message=error.message)
        return _end(claim, outcomes.Outcome(sink.work, failure=failure))
    except Exception:
        log.exception("internal_error")
        return _end(claim, outcomes.Outcome(sink.work, failure=INTERNAL))
    return None


INTERNAL = outcomes.Failure(
    "internal",
    "agent",
    retryable=True,
    message="Agent Runners had an internal error. Run the session again; if it fails again, report the traceback in "
    "the worker's log, under this session's id.",
)


def _drive(reporter: Reporter, job: Job, host: Host) -> Outcome:
    """Record each event of the engine. On SIGTERM, or if the fence refuses a write, throw Interrupted into it."""
    with contextlib.closing(workers.run(job, host)) as engine:
        go_on: Callable[[], Event] = engine.__next__
        while True:
            try:
                reporter.add(go_on())
                go_on = engine.__next__
            except StopIteration as stop:
                outcome: Outcome = stop.value
                return outcome
            except (leases.LeaseLost, leases.Cancelled, SystemExit):
                go_on = functools.partial(engine.throw, workers.Interrupted())


def _on_interrupt(claim: Claim, lifeline: Lifeline, reporter: Reporter) -> bool:
    """Whether to keep the work of an attempt that is interrupted while the engine runs. See `_must_keep_work`."""
    signals.ignore()
    # Events of an attempt whose session was requeued would be refused.
    reporter.flush()
    return _must_keep_work(claim, lifeline)


def _must_keep_work(claim: Claim, lifeline: Lifeline) -> bool:
    """Whether to keep the work: yes if the session was stopped. A session that this attempt still holds is requeued.

    Further signals are ignored, so that they cannot interrupt the cleanup.
    """
    signals.ignore()
    return transact(lambda: _is_stopped(claim, lifeline))


def _is_stopped(claim: Claim, lifeline: Lifeline) -> bool:
    if session_attempts.is_cancelled(claim.session.id, claim.attempt):
        return True
    # A worker whose heartbeat came too late counts as lost when its lease expires, instead of being requeued: the
    # session itself may cause the delay, and would otherwise be started again for ever.
    if not lifeline.has_expired and session_attempts.requeue(claim.session.id, claim.attempt):
        log.info("requeued")
    return False


def _record_outcome(claim: Claim, sink: StoredWork, outcome: Outcome, reporter: Reporter) -> str | None:
    """Record the engine's outcome. Signals are ignored from here on: there is nothing left to interrupt."""
    signals.ignore()
    usage = dataclasses.asdict(outcome.usage) if outcome.usage else None
    work = dataclasses.replace(
        sink.work,
        base_sha=outcome.base_sha,
        usage=usage,
        native_session_id=outcome.session_id,
        agent_version=outcome.agent_version,
        is_all=outcome.saved,
    )
    if outcome.interrupted:
        _keep_work(claim, work)
        return None
    if isinstance(outcome.failure, FetchBusy):
        # So it leaves this place to sessions of other sites.
        requeued = transact(lambda: session_attempts.wait_for_fetch(claim.session.id, claim.attempt))
        log.info("waits_for_fetch", requeued=requeued)
        if not requeued:
            _keep_work(claim, work)
        return None
    failure = _failure(outcome.failure) if outcome.failure else None
    asked = [{"question": each.text, "choices": [*each.choices]} for each in outcome.questions]
    return _end(claim, outcomes.Outcome(work, outcome.result, outcome.title, failure, asked), reporter)


def _failure(error: EngineError) -> outcomes.Failure:
    retry_at = datetime.datetime.fromtimestamp(error.retry_at, datetime.UTC) if error.retry_at is not None else None
    return outcomes.Failure(error.code, error.stage, error.retryable, error.message, retry_at)


_NO_ANSWER = ("fetch_timeout", "repository_unreachable")


def _end(claim: Claim, outcome: outcomes.Outcome, reporter: Reporter | None = None) -> str | None:
    """End the session, or only keep its work if it was stopped meanwhile. Returns the code of its failure, if it has ended
    with one."""
    state = SessionState.ERROR if outcome.failure else SessionState.DONE
    did_not_answer = outcome.failure is not None and outcome.failure.code in _NO_ANSWER
    if did_not_answer or claim.site.fetch_failed_at is not None:
        transact(lambda: scheduling.record_fetch(claim.site.id, failed=did_not_answer))

    def finish() -> bool:
        record(claim, rest)
        return session_attempts.finish(claim.session.id, claim.attempt, state, outcome)

    try:
        rest = reporter.take() if reporter else ()
        if not transact(finish):
            log.info("waiting", reason="quota")
            return None
    except leases.Cancelled:
        _keep_work(claim, outcome.work)
        return None
    code = outcome.failure.code if outcome.failure else None
    log.info("ended", state=state.value, failure=code)
    return code


def _keep_work(claim: Claim, work: outcomes.Work) -> None:
    kept = transact(lambda: session_attempts.keep_work(claim.session.id, claim.attempt, work))
    log.info("interrupted", work_kept=kept)
