"""Builds the engine's job for a claimed publication."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable

from app import db
from app.escaping import inert, one_line, sendable
from app.models import AgentRunnerSession, Publication
from app.models.states import PublicationKind
from app.redaction.secrets import Secrets
from app.services.publishing import publication_attempts
from app.services.publishing.publication_attempts import PublicationClaim
from app.services.runners.agent_runners import title_from
from app.services.sites.site_secrets import credential_of
from tasks.jobs.artifact_io import diff_reader
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import Change, Landed
from workers.publishing.publish import PublishJob
from workers.publishing.pull_requests import PullRequestSpec

LONGEST_SUBJECT = 72
LONGEST_BODY = 60_000
Fit = Callable[[str], str]


def publish_job_of(claim: PublicationClaim, secrets: Secrets, lifeline: Lifeline) -> PublishJob:
    """The engine's job for the publication.

    Texts for the forge quote prompts and agents, so known secrets are redacted and misleading characters are escaped.
    """
    publication, runner, site = claim.publication, claim.runner, claim.site
    assert runner.branch is not None

    def fit(text: str) -> str:
        return sendable(secrets.redact(text))

    # The worker of a session may have known secrets that this process does not. So a flagged session gets no commit of
    # its own; its other changes become part of the next commit.
    shown = [session for session in claim.sessions if session.cumulative_diff_key and not session.contains_secret]
    changes = [_change_of(session, fit) for session in shown]
    is_commit = publication.kind == PublicationKind.COMMIT
    message = fit(publication.body) if is_commit and publication.body else None
    last = Change(
        author_name=one_line(claim.user.full_name),
        author_email=one_line(claim.user.email),
        seconds=int(publication.created_at.timestamp()),
        message=message or _subject(fit(publication.title or runner.title)),
        diff=diff_reader(publication.diff_key),
    )
    edited = not shown or shown[-1].cumulative_diff_key != publication.diff_key
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
        own_shas=claim.own_shas,
        planned_shas=tuple(publication.planned_shas),
        landed=_landed_by(claim.landed) if claim.landed else None,
        squash=publication.squash,
        message=message,
        pull_request=None if is_commit else _pull_request_of(claim, fit),
        credential=credential_of(site),
    )


def _landed_by(publication: Publication) -> Landed:
    assert publication.pushed_sha is not None
    return Landed(publication.pushed_sha, diff_reader(publication.diff_key))


def _record_push(publication_id: uuid.UUID, attempt: int, sha: str) -> None:
    with db.transaction():
        publication_attempts.record_push(publication_id, attempt, sha)


def _pull_request_of(claim: PublicationClaim, fit: Fit) -> PullRequestSpec:
    publication, runner, site = claim.publication, claim.runner, claim.site
    assert runner.branch is not None
    return PullRequestSpec(
        forge=site.forge.value,
        api_url=site.forge_api_url,
        base=runner.branch,
        default_title=one_line(fit(runner.title)),
        sessions=_described(claim.sessions, fit),
        title=one_line(fit(publication.title)) if publication.title else None,
        body=None if publication.body is None else fit(publication.body),
        draft=publication.draft if publication.draft_is_named else None,
        number=runner.pr_number,
    )


def _described(sessions: list[AgentRunnerSession], fit: Fit) -> str:
    """The prompt and the agent's own summary of each session.

    Each gets an equal share of the length, so that a long one crowds out none of the others.
    """
    room = LONGEST_BODY // max(1, len(sessions))
    parts = []
    for session in sessions:
        asked = "\n".join(f"> {line}" for line in fit(session.prompt).strip().splitlines()[:40])
        asked = _cut(asked, room)
        parts.append(f"{asked}\n\n{inert(_cut(fit(session.result or ''), room - len(asked)))}".strip())
    return "\n\n---\n\n".join(parts)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: max(0, longest - 1)] + "…"


def _change_of(session: AgentRunnerSession, fit: Fit) -> Change:
    """The commit of one session. Its author is the user who created the session; the agent is a co-author."""
    assert session.cumulative_diff_key and session.done_at
    trailers = f"Co-authored-by: {session.agent} <{session.agent}@agent-runners.invalid>"
    parts = [
        _subject(inert(fit(session.title)) if session.title else title_from(fit(session.prompt))),
        inert(fit(session.result or "").strip()[:10_000]),
        trailers,
    ]
    return Change(
        author_name=one_line(session.user.full_name),
        author_email=one_line(session.user.email),
        seconds=int(session.done_at.timestamp()),
        message="\n\n".join(part for part in parts if part),
        diff=diff_reader(session.cumulative_diff_key),
    )


def _subject(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SUBJECT else line[: LONGEST_SUBJECT - 1] + "…"
