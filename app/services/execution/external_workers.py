"""Reports of an external worker by PATCH: its claim, steps, diffs and the end of the session."""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import dataclass, field
from typing import Any

from app import artifacts, db
from app.artifacts import SignedUrl
from app.config import settings
from app.errors import Conflict, Forbidden, TooMany, invalid
from app.models import Account, AgentRunner, AgentRunnerSession
from app.models.states import FINAL, Execution, Scope, SessionState, may_move
from app.services import events, leases, lookup
from app.services.accounts import tokens
from app.services.artifacts import diffs
from app.services.budgets import sums
from app.services.budgets.spending import Payers
from app.services.callers import Caller
from app.services.execution import exhaustion, progress, repairs, scheduling, session_attempts
from app.services.execution.outcomes import Failure, Outcome
from app.services.execution.reported_diffs import KINDS, ReportedDiffs, store
from app.services.execution.reports import Report
from app.services.sites import git_names, site_secrets
from app.services.unset import UNSET

URL_SECONDS = 14 * 60
DIFF_TYPE = "text/x-diff"
_CLAIMED = "A worker has claimed this session. Report with the session token in the answer to its claim."


@dataclass(frozen=True)
class Prepared:
    """A report without secrets, and its diffs, which are stored by now."""

    sent: Report
    diffs: ReportedDiffs


@dataclass(frozen=True)
class ClaimAnswer:
    """What a worker gets in the answer to its claim, and never again: the session token, and signed URLs to read the
    attached files and the diff that the session starts from."""

    session_token: str = field(repr=False)
    attachment_urls: dict[str, str] = field(repr=False)
    start_diff_url: str | None = field(repr=False)


def prepare(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID, sent: Report) -> Prepared:
    """Redact the texts of a report, and store its diffs, or copies of uploaded ones, and check them for secrets.

    Call it outside any transaction: it may take long, and must not hold row locks meanwhile. The diffs get new keys, so
    nothing needs to be undone if `report` then refuses the rest.
    """
    if not (sent.has_texts or sent.has_diffs):
        return Prepared(sent, ReportedDiffs())
    with db.transaction(read_only=True):
        runner = lookup.get_runner(caller, runner_id)
        session = lookup.get_session(runner, session_id)
        secrets = site_secrets.secrets_of(runner.site)
        is_theirs = _may_report(caller, session)
        keys = {kind: diffs.attempt_key(runner.id, session.id, session.attempt, kind) for kind in KINDS}
    # Where it is not, `report` raises the error.
    stored = store(sent, keys, secrets) if is_theirs and sent.has_diffs else ReportedDiffs()
    return Prepared(sent.redacted(secrets), stored)


def report(
    caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID, prepared: Prepared
) -> tuple[AgentRunnerSession, ClaimAnswer | None]:
    """Apply a report. The second value is set if the report is a claim."""
    sent, reported = prepared.sent, prepared.diffs
    wanted = sent.state or None
    if wanted == SessionState.RUNNING:
        # A claim counts the running sessions. The account and the site must be locked before the runner.
        lookup.lock_account(caller.account_id)
        lookup.get_site(caller, lookup.get_runner(caller, runner_id).site_id, lock=True)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    session = lookup.get_session(runner, session_id, lock=True)
    if _may_keep_work(caller, session) and sent.is_work_alone:
        return _keep_work(session, sent, reported), None
    if not _is_worker(caller, session) or (caller.session_id is None and sent.has_at_most_a_title):
        return _retitle(caller, session, sent), None
    if wanted == SessionState.RUNNING and caller.session_id is None:
        # Expire the lease of a lost worker first, so that this worker can claim the session.
        repairs.expire_lease(runner, session)
    _check_move(session, wanted)
    if session.state == SessionState.RUNNING and caller.session_id is None:
        # Only the session token distinguishes the worker of this attempt from one that had the session before.
        raise Conflict(_CLAIMED, error_code="already_claimed")
    if session.state != SessionState.RUNNING and sent.has_diffs:
        raise Conflict(
            f"The session is {session.state.value}. Send diffs between its claim and its end, while it is RUNNING.",
            error_code="not_running",
        )
    if isinstance(sent.result_branch, str):
        plain = git_names.plain_branch("result_branch", sent.result_branch)
        sent = dataclasses.replace(sent, result_branch=plain)
    answer = None
    if session.state == SessionState.RUNNING:
        leases.beat(AgentRunnerSession, session.id, session.attempt)
    elif wanted == SessionState.RUNNING:
        answer = _claim(caller, runner, session)
    _apply(runner, session, sent, reported)
    if isinstance(sent.usage, dict) and wanted not in FINAL:
        exhaustion.end_if_exhausted(runner, session)
    if wanted in FINAL:
        _end(runner, session, wanted)
    db.session.flush()
    db.session.refresh(session)
    return session, answer


def _may_report(caller: Caller, session: AgentRunnerSession) -> bool:
    """Whether the caller has the session token of an attempt that has something to report."""
    return caller.session_id == session.id and session.takes_reports_of(caller.attempt)


def _may_keep_work(caller: Caller, session: AgentRunnerSession) -> bool:
    """Whether the caller's attempt is the last one of a session that ended before its work was stored."""
    mine = caller.session_id == session.id and caller.attempt == session.attempt
    return mine and session.takes_late_work


def _keep_work(session: AgentRunnerSession, sent: Report, reported: ReportedDiffs) -> AgentRunnerSession:
    session_attempts.keep_work(session.id, session.attempt, reported.work(sent.usage or None))
    db.session.flush()
    db.session.refresh(session)
    return session


def _is_worker(caller: Caller, session: AgentRunnerSession) -> bool:
    """Whether the caller is the worker of this attempt. Raises for the token of another or a stopped attempt."""
    if caller.session_id is None:
        return caller.may(Scope.WORKER)
    if caller.session_id != session.id:
        raise Forbidden(
            "The session token belongs to another session. Use the token from the answer to this session's claim.",
            error_code="session_token_scope",
        )
    if caller.attempt != session.attempt or session.state in (SessionState.NEW, SessionState.CANCELLED):
        raise leases.refusal(session, caller.attempt or 0)
    return True


def _retitle(caller: Caller, session: AgentRunnerSession, sent: Report) -> AgentRunnerSession:
    if not caller.may(Scope.WORKER):
        caller.require(Scope.WRITE)
    if not sent.has_at_most_a_title:
        raise Forbidden(
            "A token of the scope write can change only the title. Use a token of the scope worker.",
            error_code="scope_missing",
        )
    sent.write(session)
    db.session.flush()
    db.session.refresh(session)
    return session


def _check_move(session: AgentRunnerSession, wanted: SessionState | None) -> None:
    """Refuse a report on a session that is not RUNNING, unless the report claims it or ends it unclaimed."""
    if session.state == SessionState.RUNNING and wanted in (None, SessionState.RUNNING):
        return
    if wanted is None:
        raise Conflict(
            f"The session is {session.state.value}. Report between its claim, which is state: RUNNING, and its end.",
            error_code="not_running",
        )
    if not may_move(session.state, wanted):
        message = f"The session is {session.state.value}, and cannot become {wanted.value}. {_next_states(session)}"
        raise Conflict(message, error_code="bad_transition")


def _next_states(session: AgentRunnerSession) -> str:
    after = [state.value for state in SessionState if may_move(session.state, state)]
    return f"It can become {' or '.join(after)}." if after else "That state is final; create another session."


def _claim(caller: Caller, runner: AgentRunner, session: AgentRunnerSession) -> ClaimAnswer:
    if runner.site.execution != Execution.EXTERNAL:
        raise Conflict(
            "This deployment's own workers run the sessions of this site. Set the site's execution to external to claim "
            "them with the API.",
            error_code="not_external",
        )
    if not scheduling.has_room(db.session.get_one(Account, runner.account_id), runner.site):
        message = "The account or the site runs as many sessions as it may at once. Claim again when one has ended."
        raise TooMany(message, error_code="too_many_running", headers={"Retry-After": "30"})
    sums.refuse_exhausted(Payers.of(session))
    session_attempts.begin(runner, session, None)
    return ClaimAnswer(
        session_token=tokens.create_for_attempt(caller, session.id, session.attempt),
        attachment_urls={key: _read_url(key) for key in session.attached_file_keys},
        start_diff_url=_read_url(session.start_diff_key) if session.start_diff_key else None,
    )


def _read_url(key: str) -> str:
    return artifacts.store().signed_get(key, seconds=URL_SECONDS).url


def _apply(runner: AgentRunner, session: AgentRunnerSession, sent: Report, reported: ReportedDiffs) -> None:
    sent.write(session)
    if sent.current_task is not UNSET:
        runner.current_task = sent.current_task
    if isinstance(sent.usage, dict):
        events.record(runner, session, events.USAGE, sent.usage)
    new = [progress.Step(**step) for step in _new_steps(session, sent.steps or [])]
    progress.add_reported_steps(runner, session, new)
    reported.work(sent.usage or None).write(session)


def _new_steps(session: AgentRunnerSession, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps that are not recorded yet. A report may contain only new steps, or the whole list again."""
    known = [(step["title"], step["message"]) for step in events.steps_of([session])[session.id]]
    reported_steps = [(step["title"], step["message"]) for step in steps]
    # In a later attempt the first step is our own "Started again"; the worker's list may include it or not.
    ours = int(session.attempt > 1 and reported_steps[:1] != known[:1])
    known = known[ours:]
    # `steps_of` limits the text it returns, so `known` may be shorter than what is recorded.
    return steps[session.steps_count - ours :] if known and reported_steps[: len(known)] == known else steps


def _end(runner: AgentRunner, session: AgentRunnerSession, state: SessionState) -> None:
    failure = None
    if session.has_result_diff and not session.has_cumulative_diff:
        # Without earlier diffs the result diff is the cumulative one. Otherwise only the worker can compute it, and
        # without it the changes of the earlier sessions would be lost.
        if session.start_diff_key is not None:
            raise invalid("cumulative_diff", "is required with result_diff, because earlier sessions left a diff")
        session.cumulative_diff_key = session.result_diff_key
    if state == SessionState.ERROR:
        message = session.result or "The external worker reported an error without a reason. Read that worker's log."
        failure = Failure("worker_reported", "agent", retryable=False, message=message)
    session_attempts.end(runner, session, state, Outcome(failure=failure))


def upload_urls(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID) -> dict[str, tuple[str, SignedUrl]]:
    """The key and the signed upload URL for each kind of diff of the running attempt."""
    runner = lookup.get_runner(caller, runner_id)
    session = lookup.get_session(runner, session_id)
    if not _may_report(caller, session):
        if not _is_worker(caller, session):
            raise Forbidden("This needs a token of the scope worker.", error_code="scope_missing")
        if session.state != SessionState.RUNNING:
            raise Conflict(
                f"The session is {session.state.value}. Send diffs between its claim and its end, while it is RUNNING.",
                error_code="not_running",
            )
        raise Conflict(_CLAIMED, error_code="already_claimed")
    urls = {}
    for kind in KINDS:
        key = diffs.attempt_key(runner.id, session.id, session.attempt, kind)
        limit = settings().max_diff_bytes
        urls[kind] = (
            key,
            artifacts.store().signed_put(key, DIFF_TYPE, length=None, limit=limit, seconds=URL_SECONDS),
        )
    return urls
