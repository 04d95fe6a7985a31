"""Builds the engine's job for a claimed publication."""

from __future__ import annotations

import functools
import uuid

from app import db
from app.config import settings
from app.escaping import one_line
from app.models import AgentRunner, AgentRunnerSession, Publication
from app.models.states import PublicationKind, SensitiveFiles
from app.redaction.secrets import Secrets
from app.sensitive_files import kinds_of
from app.services.publishing import commit_messages, publication_attempts
from app.services.publishing.publication_attempts import PublicationClaim
from app.services.publishing.pull_requests import Check
from app.services.publishing.written_texts import Fit, fitting, write
from tasks.jobs.artifact_io import diff_reader, lfs_reader
from tasks.jobs.co_authors import trailers
from tasks.jobs.credentials import credential_of, git_credential_of
from tasks.jobs.people import People
from workers.forges.apps import FETCH, PULL_REQUESTS, PULL_REQUESTS_WITH_STATUS, PUSH
from workers.forges.base import CommitStatus
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import Change, Landed
from workers.publishing.drift import DriftJob
from workers.publishing.publish import PublishJob
from workers.publishing.pull_requests import Additions, PullRequestSpec


def publish_job_of(claim: PublicationClaim, secrets: Secrets, lifeline: Lifeline) -> PublishJob:
    """The engine's job for the publication.

    Texts for the forge quote prompts and agents, so known secrets are redacted and misleading characters are escaped.
    """
    publication, runner, site = claim.publication, claim.runner, claim.site
    assert runner.branch is not None

    fit = fitting(secrets)
    people = People(site, claim.forge_accounts)
    committed = commit_messages.with_own_commit(claim.sessions)
    changes = [_change_of(session, runner, fit, people) for session in committed]
    is_commit = publication.kind == PublicationKind.COMMIT
    # One commit of everything is by the person whose prompt began it.
    author = claim.sessions[0].user if publication.squash and claim.sessions else claim.user
    edited = commit_messages.is_edited(publication.diff_key, committed)
    message = fit(publication.body) if is_commit and publication.body else None
    # A merge that says what the caller says is of everything, as a squashed commit is. What a person changed is not.
    is_of_all = publication.squash or (message is not None and not edited)
    title = publication.title
    default = commit_messages.subject(fit(title)) if title else commit_messages.of_runner(runner, fit)
    last = Change(
        author_name=people.author(author).name,
        author_email=people.author(author).email,
        seconds=int(publication.created_at.timestamp()),
        message=message or default,
        diff=diff_reader(publication.diff_key),
        trailers=trailers(claim.sessions, author, people) if is_of_all else "",
    )
    return PublishJob(
        site_id=str(site.id),
        repo_url=site.repo_url,
        base_sha=runner.base_sha,
        sha=runner.sha,
        base_branch=runner.branch,
        branch=publication.branch,
        changes=(*changes, last) if edited else tuple(changes),
        last=last,
        secrets=secrets,
        lifeline=lifeline,
        on_push=functools.partial(_record_push, publication.id, publication.attempt),
        sensitive_kinds=kinds_of,
        refuses_sensitive=site.sensitive_files == SensitiveFiles.REFUSE,
        own_shas=claim.own_shas,
        planned_shas=tuple(publication.planned_shas),
        landed=_landed_by(claim.landed, runner.base_sha) if claim.landed else None,
        squash=publication.squash,
        message=message,
        pull_request=None if is_commit else _pull_request_of(claim, fit, people),
        credential=git_credential_of(site, PUSH),
        partial_clone=site.partial_clone,
        read_lfs_object=lfs_reader(runner.id),
    )


def drift_job_of(check: Check, secrets: Secrets, lifeline: Lifeline) -> DriftJob:
    """The engine's job for a refresh of the runner."""
    assert check.branch is not None
    return DriftJob(
        site_id=str(check.site.id),
        repo_url=check.site.repo_url,
        base_sha=check.base_sha,
        branch=check.branch,
        diff=diff_reader(check.diff_key) if check.diff_key else None,
        secrets=secrets,
        lifeline=lifeline,
        credential=git_credential_of(check.site, FETCH),
        partial_clone=check.site.partial_clone,
    )


def _landed_by(publication: Publication, runner_base: str | None) -> Landed:
    assert publication.pushed_sha is not None
    session = db.session.get(AgentRunnerSession, publication.session_id) if publication.session_id else None
    base_sha = (session.base_sha if session else None) or runner_base
    assert base_sha is not None
    return Landed(publication.pushed_sha, base_sha, diff_reader(publication.diff_key))


def _record_push(publication_id: uuid.UUID, attempt: int, sha: str) -> None:
    with db.transaction():
        publication_attempts.record_push(publication_id, attempt, sha)


def _pull_request_of(claim: PublicationClaim, fit: Fit, people: People) -> PullRequestSpec:
    publication, runner, site = claim.publication, claim.runner, claim.site
    assert runner.branch is not None
    written = write(runner, claim.sessions, fit)
    return PullRequestSpec(
        forge=site.forge.value,
        api_url=site.forge_api_url,
        token=credential_of(site, PULL_REQUESTS_WITH_STATUS if site.pr_status else PULL_REQUESTS) or "",
        opener=people.opener(claim),
        base=runner.branch,
        default_title=written.title,
        before=written.before,
        after=written.after,
        sessions=written.sessions,
        title=one_line(fit(publication.title)) if publication.title else None,
        body=None if publication.body is None else fit(publication.body),
        draft=publication.draft if publication.draft_is_named else None,
        number=runner.pr_number,
        additions=Additions(
            tuple(publication.labels or ()), tuple(publication.reviewers or ()), tuple(publication.assignees or ())
        ),
        status=_status_of(claim) if site.pr_status else None,
    )


def _status_of(claim: PublicationClaim) -> CommitStatus:
    publication, runner = claim.publication, claim.runner
    page = f"{settings().public_url.rstrip('/')}/runners/{runner.id}"
    made_by = ", then ".join(claim.sessions[-1].agents) if claim.sessions else "a person"
    return CommitStatus(
        f"{page}/sessions/{publication.session_id}" if publication.session_id else page, f"Made by {made_by}"
    )


def _change_of(session: AgentRunnerSession, runner: AgentRunner, fit: Fit, people: People) -> Change:
    """The commit of one session. Its author is the user who created the session, by their own account on the forge if they
    have connected one; the agent is a co-author, and so is whoever asked for it on the forge."""
    assert session.cumulative_diff_key and session.done_at
    author = people.author(session.user)
    return Change(
        author_name=author.name,
        author_email=author.email,
        seconds=int(session.done_at.timestamp()),
        message=commit_messages.of_session(session, runner, fit),
        diff=diff_reader(session.cumulative_diff_key),
        trailers=trailers([session], session.user, people),
    )
