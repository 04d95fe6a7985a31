"""Attempts at a publication: claimed, held, ended. `publications` records the request.

One publication of a site runs at a time, and only while its account has a place (`control_places`). An account whose
forges were slow counts as slow for a while: all slow accounts together leave places to the others, however many they are.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from app import db, queue
from app.models import AgentRunner, AgentRunnerSession, ForgeAccount, ForgeDelivery, Publication, Site, User
from app.models.states import PublicationKind, PublicationState
from app.services import control_places, events, leases, lookup
from app.services.accounts import forge_accounts
from app.services.publishing import pull_requests
from app.services.publishing.written_texts import lineage

FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 120.0
SLOW_SECONDS, SLOW_FACTOR = 20.0, 4.0
"""An attempt that holds a worker for longer makes its account count as slow, for so many times as long as it was held."""


@dataclass(frozen=True)
class PublicationClaim:
    """What a worker gets: the publication with its attempt, and the rows needed to build the job.

    `sessions` are the head and its ancestors, the oldest first. `own_shas` are the commits that this runner pushed to
    the branch of its pull request, or was about to push when a worker died. Only these may be replaced on the branch.
    `forge_accounts` are those of the people, on all servers of the site's kind of forge.
    """

    publication: Publication
    runner: AgentRunner
    site: Site
    user: User
    sessions: list[AgentRunnerSession]
    own_shas: frozenset[str]
    landed: Publication | None
    """The runner's latest commit to the same branch."""
    forge_accounts: list[ForgeAccount]
    is_asked_on_forge: bool
    """Whether a forge's webhook asks for it. Then the user is only the one whose webhook that is."""


def claim(publication_id: uuid.UUID) -> PublicationClaim | None:
    """Claim a pending publication unless it or another one of its site is held, or its account has its share of places.

    None means: drop the message.
    """
    locked = _lock(publication_id)
    if locked is None:
        return None
    runner, publication = locked
    if publication.state != PublicationState.PENDING or leases.is_live(publication):
        return None
    is_busy = db.session.scalar(control_places.busy_sites().where(AgentRunner.site_id == runner.site_id).limit(1))
    if is_busy or not control_places.has_room(runner.account_id):
        publication.waits_for_site = True
        return None
    expire_lease(runner, publication)
    if publication.state != PublicationState.PENDING:
        return None
    leases.begin(publication)
    publication.claimed_at = db.now()
    publication.waits_for_site = False
    db.session.flush()
    db.session.refresh(publication)
    user = db.session.get_one(User, publication.user_id)
    sessions, landed = lineage(publication.session_id), _find_landed(publication)
    own = own_shas(publication.agent_runner_id, publication.branch)
    people = {user.id, *(session.user_id for session in sessions)}
    connected = forge_accounts.find_connected(people, runner.site.forge)
    by_webhook = sa.select(ForgeDelivery.id).where(
        ForgeDelivery.agent_runner_id == runner.id, ForgeDelivery.publication_id == publication.id
    )
    is_asked_on_forge = db.session.scalar(by_webhook.limit(1)) is not None
    return PublicationClaim(publication, runner, runner.site, user, sessions, own, landed, connected, is_asked_on_forge)


def _release(publication: Publication, dispatch_in: float | None = None) -> None:
    """End the attempt at a locked publication, and note if it was slow."""
    assert publication.locked_at is not None
    if publication.claimed_at is not None:
        held = (publication.locked_at - publication.claimed_at).total_seconds()
        if held > SLOW_SECONDS:
            publication.slow_until = publication.locked_at + datetime.timedelta(seconds=SLOW_FACTOR * held)
    leases.release(publication, dispatch_in=dispatch_in)


def expire_lease(runner: AgentRunner, publication: Publication) -> None:
    """If the lease of a locked publication has expired, dispatch it again, or end it if too many workers were lost."""
    if not leases.has_expired(publication):
        return
    if leases.lose_worker(publication):
        error = (
            f"{publication.workers_lost} workers were lost while publishing this. "
            "Try again. If it fails again, see the logs of the control workers."
        )
        _end(runner, publication, PublicationState.FAILED, error)
    else:
        leases.dispatch(publication, queue.PUBLISH)


def repair(publication_id: uuid.UUID) -> None:
    """Dispatch a publication that is due, or one whose worker was lost. Both are checked again under the lock."""
    locked = _lock(publication_id)
    if locked is None:
        return
    runner, publication = locked
    if leases.has_expired(publication):
        expire_lease(runner, publication)
    elif leases.is_due(publication):
        leases.dispatch(publication, queue.PUBLISH)


def _find_landed(publication: Publication) -> Publication | None:
    landed = sa.select(Publication).where(
        Publication.agent_runner_id == publication.agent_runner_id,
        Publication.branch == publication.branch,
        Publication.kind == PublicationKind.COMMIT,
        Publication.state == PublicationState.DONE,
    )
    return db.session.scalar(landed.order_by(Publication.finished_at.desc()).limit(1))


def own_shas(runner_id: uuid.UUID, branch: str | None) -> frozenset[str]:
    """The commits that the runner pushed to a branch for its pull request, or was about to push."""
    # A branch with a commit of the runner also has work of others below or above it, which must not be replaced.
    planned = sa.select(Publication.planned_shas).where(
        Publication.agent_runner_id == runner_id,
        Publication.branch == branch,
        Publication.kind == PublicationKind.PULL_REQUEST,
    )
    return frozenset(sha for shas in db.session.scalars(planned) for sha in shas)


def is_head(runner: AgentRunner, sha: str) -> bool:
    """Whether a commit that was pushed for the runner's pull request has all of the runner's work."""
    of_head = sa.select(Publication.planned_shas).where(
        Publication.agent_runner_id == runner.id,
        Publication.session_id.is_not_distinct_from(runner.head_session_id),
        Publication.kind == PublicationKind.PULL_REQUEST,
    )
    return any(sha in shas for shas in db.session.scalars(of_head))


def record_push(publication_id: uuid.UUID, attempt: int, sha: str) -> None:
    """Record the commit that is about to be pushed, so that a later attempt recognizes it.

    All of them are kept: an attempt may make a different commit than the one before, whose push may have succeeded.
    """
    # Nothing else changes the commits of a publication that is held, so no other lock is needed.
    query = sa.select(Publication).where(Publication.id == publication_id)
    publication = db.session.scalar(lookup.locked(query, Publication))
    leases.check_held(publication, attempt)
    assert publication is not None
    if sha not in publication.planned_shas:
        publication.planned_shas = [*publication.planned_shas, sha]


def retry_later(publication_id: uuid.UUID, attempt: int) -> None:
    """Release the publication for another attempt, after a wait that doubles. Then the sweep dispatches it."""
    _, publication = _hold(publication_id, attempt)
    wait = min(FIRST_RETRY_SECONDS * 2.0 ** (attempt - 1), LONGEST_RETRY_SECONDS)
    _release(publication, wait)
    control_places.dispatch_next()


def succeed(
    publication_id: uuid.UUID,
    attempt: int,
    sha: str,
    pull_request: pull_requests.PullRequestFacts | None,
    warnings: Sequence[str] = (),
) -> None:
    """End a publication that is on the forge. `warnings` say what the pull request lacks."""
    runner, publication = _hold(publication_id, attempt)
    if publication.session_id is not None:
        of_session = sa.update(AgentRunnerSession).where(AgentRunnerSession.id == publication.session_id)
        db.session.execute(of_session.values(commit_sha=sha, result_branch=publication.branch))
    publication.pushed_sha = sha
    if pull_request is None:
        runner.merge_commit_sha = sha
    else:
        runner.pr_branch, runner.pr_warnings = publication.branch, list(warnings) or None
        pull_requests.record(runner, pull_request)
    _end(runner, publication, PublicationState.DONE, None)


def fail(
    publication_id: uuid.UUID, attempt: int, error: str, pull_request: pull_requests.PullRequestFacts | None = None
) -> None:
    """End a publication with an error that the runner shows, and the state in which its pull request was found."""
    runner, publication = _hold(publication_id, attempt)
    if pull_request is not None:
        pull_requests.record(runner, pull_request)
    _end(runner, publication, PublicationState.FAILED, error)


def _end(runner: AgentRunner, publication: Publication, state: PublicationState, error: str | None) -> None:
    publication.state, publication.error = state, error
    publication.finished_at = db.now()
    _release(publication)
    if publication.kind == PublicationKind.PULL_REQUEST:
        runner.pr_is_being_created, runner.pr_error = False, error
    else:
        runner.merge_commit_is_being_created, runner.merge_commit_error = False, error
    events.record_publication(runner, publication.kind, state, publication.session_id)
    control_places.dispatch_next()


def _hold(publication_id: uuid.UUID, attempt: int) -> tuple[AgentRunner, Publication]:
    """Lock the publication for a write of `attempt`; raises `LeaseLost` if the attempt no longer holds it."""
    locked = _lock(publication_id)
    leases.check_held(locked[1] if locked else None, attempt)
    assert locked is not None
    return locked


def _lock(publication_id: uuid.UUID) -> tuple[AgentRunner, Publication] | None:
    """A publication and its runner, locked. The order is: the account's publications, the runner, the publication."""
    mine = sa.and_(Publication.id == publication_id, AgentRunner.id == Publication.agent_runner_id)
    account_id = db.session.scalar(sa.select(AgentRunner.account_id).where(mine))
    if account_id is None:
        return None
    db.lock(f"publications of {account_id}")
    both = lookup.locked(sa.select(AgentRunner, Publication).where(mine), AgentRunner, Publication)
    return db.session.execute(both).one()
