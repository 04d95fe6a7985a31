"""What is known of pull requests on their forges, and when to look at them again: people merge and close them there."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, queue
from app.models import AgentRunner, Site
from app.models.states import PullRequestState, RunnerState
from app.services import last_runs, lookup

FIRST_WAIT_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 6 * 3600.0
# One task a minute looks at them, one after another, for at most as long: a few calls, whatever there is to look at.
EVERY_SECONDS = 60.0
_UNDECIDED = (PullRequestState.OPEN, PullRequestState.DRAFT)


@dataclass(frozen=True)
class PullRequestFacts:
    """What the forge says of a pull request."""

    number: int
    url: str
    state: PullRequestState


@dataclass(frozen=True)
class Check:
    """A pull request that is to be looked at. `count` tells this look from later ones."""

    runner_id: uuid.UUID
    site: Site
    number: int
    count: int


def show(runner: AgentRunner, facts: PullRequestFacts) -> None:
    """Write what a publication found onto its runner; the pull request is looked at again soon."""
    runner.pr_number, runner.pr_url, runner.pr_state = facts.number, facts.url, facts.state
    runner.pr_checked_at, runner.pr_checks = db.now(), 0
    runner.pr_check_due_at = db.now(FIRST_WAIT_SECONDS)


def request_checks() -> None:
    """Enqueue the task that looks at pull requests, where one is due and no other task was enqueued just now."""
    if db.session.scalar(sa.select(_due().exists())) and last_runs.start_if_due(last_runs.PULL_REQUESTS, EVERY_SECONDS):
        db.after_commit(lambda: queue.send(queue.CHECK_PULL_REQUESTS, expires=EVERY_SECONDS))


def claim_check(failed_sites: Collection[uuid.UUID]) -> Check | None:
    """Take the pull request that is due for the longest, but for those of `failed_sites`; None where there is none.

    When it is due again doubles with each look, so that one which lies open for long takes few calls.
    """
    query = _due().where(AgentRunner.site_id.not_in(list(failed_sites))).order_by(AgentRunner.pr_check_due_at).limit(1)
    runner = db.session.scalar(lookup.locked(query, AgentRunner))
    if runner is None:
        return None
    assert runner.pr_number is not None
    count = runner.pr_checks + 1
    # What has been looked at for years has a count that no power of two is made of.
    wait = min(FIRST_WAIT_SECONDS * 2.0 ** min(count, 30), LONGEST_WAIT_SECONDS)
    _write(runner.id, pr_checks=count, pr_check_due_at=db.now(wait))
    return Check(runner.id, runner.site, runner.pr_number, count)


def record_check(check: Check, facts: PullRequestFacts) -> None:
    """Write what the forge said, unless a publication or a later look has written since."""
    query = sa.select(AgentRunner).where(AgentRunner.id == check.runner_id, AgentRunner.pr_checks == check.count)
    runner = db.session.scalar(lookup.locked(query, AgentRunner))
    if runner is None or runner.pr_is_being_created:
        return
    if runner.pr_state != facts.state:
        runner.pr_state = facts.state
        db.session.flush()
    _write(runner.id, pr_checked_at=db.now())


def _due() -> sa.Select[Any]:
    # One without a time was made by a release that looked at none.
    is_due = sa.or_(AgentRunner.pr_check_due_at.is_(None), AgentRunner.pr_check_due_at <= db.now())
    return (
        sa.select(AgentRunner)
        .join(AgentRunner.site)
        .where(
            AgentRunner.pr_state.in_(_UNDECIDED),
            AgentRunner.pr_number.is_not(None),
            AgentRunner.pr_is_being_created.is_(False),
            AgentRunner.state != RunnerState.ARCHIVED,
            Site.deleted_at.is_(None),
            is_due,
        )
    )


def _write(runner_id: uuid.UUID, **values: Any) -> None:
    """Write to a runner without touching `updated_at`: nothing about it has changed."""
    written = sa.update(AgentRunner).where(AgentRunner.id == runner_id)
    db.session.execute(
        written.values(**values, updated_at=AgentRunner.updated_at).execution_options(synchronize_session=False)
    )
