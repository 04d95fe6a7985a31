"""The state of pull requests on their forges, which is checked regularly: people merge and close them there.

The same task measures the drift of runners for which somebody requested it, see `base_drift`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, queue
from app.escaping import one_line
from app.models import AgentRunner, Site
from app.models.states import ChecksState, PublicationKind, PublicationState, PullRequestState, RunnerState
from app.redaction.secrets import Secrets
from app.services import events, last_runs, lookup
from app.services.sites import site_secrets

FIRST_WAIT_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 6 * 3600.0
# One task a minute checks them one after another, and ends within a minute. That limits the calls to forges.
EVERY_SECONDS = 60.0
ACCOUNT_SECONDS = 10.0
"""How much time of one such task the forges of an account may take. Then its other checks wait for the next task."""
_MOST_FAILURES, _MOST_NAME = 20, 200
_UNDECIDED = (PullRequestState.OPEN, PullRequestState.DRAFT)


@dataclass(frozen=True)
class CheckResults:
    """How many checks of a pull request's newest commit have which outcome, and the failed ones: each with its name and,
    if there is one, its page."""

    passed: int
    failed: int
    pending: int
    failures: Sequence[tuple[str, str | None]] = ()

    @property
    def state(self) -> ChecksState:
        if self.failed:
            return ChecksState.FAILING
        return ChecksState.PENDING if self.pending else ChecksState.PASSING


@dataclass(frozen=True)
class PullRequestFacts:
    """A pull request as the forge shows it. The checks are None if it shows none, or if they were not read."""

    number: int
    url: str
    state: PullRequestState
    checks: CheckResults | None = None
    knows_checks: bool = True
    """Whether the checks were read. If not, those that are recorded stay."""
    head_sha: str = ""


@dataclass(frozen=True)
class Check:
    """A runner to check. `count` distinguishes the check of its pull request from later ones.

    `number` is None if it has no pull request to check. The base, branch and diff are for a requested refresh.
    """

    runner_id: uuid.UUID
    site: Site
    number: int | None
    count: int
    is_refresh: bool
    base_sha: str | None
    branch: str | None
    diff_key: str | None


def record(runner: AgentRunner, facts: PullRequestFacts) -> None:
    """Write what a publication found to its runner. The pull request is checked again soon."""
    runner.pr_number, runner.pr_url, runner.pr_state = facts.number, facts.url, facts.state
    runner.pr_check_results, runner.pr_checked_at, runner.pr_checks = None, db.now(), 0
    runner.pr_check_due_at = db.now(FIRST_WAIT_SECONDS)


def request_checks() -> None:
    """Enqueue the task that checks pull requests, if one is due and the task was not enqueued within the last minute."""
    if db.session.scalar(sa.select(_due().exists())) and last_runs.start_if_due(last_runs.PULL_REQUESTS, EVERY_SECONDS):
        db.after_commit(lambda: queue.send(queue.CHECK_PULL_REQUESTS, expires=EVERY_SECONDS))


def claim_check(failed_sites: Collection[uuid.UUID], slow_accounts: Collection[uuid.UUID] = ()) -> Check | None:
    """Claim the runner whose pull request has been due longest, except of those sites and accounts; None if none is due.
    Requested refreshes come first.

    The wait until the next check doubles with each check, so that a pull request that stays open takes few calls.
    """
    query = _due().where(
        AgentRunner.site_id.not_in(list(failed_sites)), AgentRunner.account_id.not_in(list(slow_accounts))
    )
    query = query.order_by(AgentRunner.refresh_due_at.is_(None), AgentRunner.pr_check_due_at).limit(1)
    runner = db.session.scalar(lookup.locked(query, AgentRunner))
    if runner is None:
        return None
    is_refresh = runner.refresh_due_at is not None
    has_pull_request = runner.pr_state in _UNDECIDED and not runner.pr_is_being_created
    count = runner.pr_checks + 1
    # The exponent is limited because the count grows for years, and a float does not hold such a power of two.
    wait = min(FIRST_WAIT_SECONDS * 2.0 ** min(count, 30), LONGEST_WAIT_SECONDS)
    # If this worker is lost, the refresh is done again.
    again = {"refresh_due_at": db.now(2 * FIRST_WAIT_SECONDS)} if is_refresh else {}
    _write(runner.id, pr_checks=count, pr_check_due_at=db.now(wait), **again)
    number = runner.pr_number if has_pull_request else None
    base = (is_refresh, runner.base_sha, runner.branch, runner.diff_key)
    return Check(runner.id, runner.site, number, count, *base)


def begin_check(runner: AgentRunner, number: int) -> Check:
    """Begin a check of a locked runner's pull request, which the forge says has changed. A check that began before it is
    not recorded any more."""
    count = runner.pr_checks + 1
    _write(runner.id, pr_checks=count)
    return Check(runner.id, runner.site, number, count, False, runner.base_sha, runner.branch, runner.diff_key)


def record_check(check: Check, facts: PullRequestFacts) -> None:
    """Record what the forge showed, unless a publication or a later check has written since."""
    query = sa.select(AgentRunner).where(AgentRunner.id == check.runner_id, AgentRunner.pr_checks == check.count)
    runner = db.session.scalar(lookup.locked(query, AgentRunner))
    if runner is None or runner.pr_is_being_created:
        return
    if runner.pr_state != facts.state:
        runner.pr_state = facts.state
        events.record_publication(runner, PublicationKind.PULL_REQUEST, PublicationState.DONE, runner.head_session_id)
    if facts.knows_checks and (results := _shown(runner, facts.checks)) != runner.pr_check_results:
        runner.pr_check_results = results
        if not runner.is_archived:
            # To receivers of webhooks it would be archived again.
            events.record_runner_state(runner)
    db.session.flush()
    _write(runner.id, pr_checked_at=db.now())


def _shown(runner: AgentRunner, found: CheckResults | None) -> dict[str, Any] | None:
    """The results as the runner shows them. Whoever reports a check chooses its name."""
    if found is None:
        return None
    secrets = site_secrets.secrets_of(runner.site) if found.failures else Secrets()
    failures = [
        {"name": secrets.redact(one_line(name))[:_MOST_NAME], "url": url and secrets.redact(url)}
        for name, url in found.failures[:_MOST_FAILURES]
    ]
    counts = {"passed": found.passed, "failed": found.failed, "pending": found.pending}
    return {"state": found.state.value, **counts, "failures": failures}


def _due() -> sa.Select[Any]:
    # A row without a time is from a release that did not check pull requests.
    is_due = sa.or_(AgentRunner.pr_check_due_at.is_(None), AgentRunner.pr_check_due_at <= db.now())
    has_pull_request = sa.and_(
        AgentRunner.pr_state.in_(_UNDECIDED),
        AgentRunner.pr_number.is_not(None),
        AgentRunner.pr_is_being_created.is_(False),
        is_due,
    )
    return (
        sa.select(AgentRunner)
        .join(AgentRunner.site)
        .where(
            sa.or_(has_pull_request, AgentRunner.refresh_due_at <= db.now()),
            AgentRunner.state != RunnerState.ARCHIVED,
            Site.deleted_at.is_(None),
        )
    )


def _write(runner_id: uuid.UUID, **values: Any) -> None:
    """Write to a runner without changing `updated_at`: nothing that callers would notice has changed."""
    written = sa.update(AgentRunner).where(AgentRunner.id == runner_id)
    db.session.execute(
        written.values(**values, updated_at=AgentRunner.updated_at).execution_options(synchronize_session=False)
    )
