"""What a new pull request says unless its request does: a title, and a description written from the sessions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from app import db
from app.escaping import inert, one_line, sendable
from app.models import AgentRunner, AgentRunnerSession
from app.models.states import Mode, Scope
from app.redaction.secrets import Secrets
from app.services import lookup
from app.services.callers import Caller
from app.services.sites import pull_request_texts, site_secrets

LONGEST = 60_000
"""Characters of the part about the sessions."""
Fit = Callable[[str], str]


@dataclass(frozen=True)
class WrittenText:
    """The title and the parts of the description: `sessions` is replaced when the runner goes on, what is around it is
    kept."""

    title: str
    before: str
    sessions: str
    after: str

    @property
    def body(self) -> str:
        return f"{self.before}{self.sessions}{self.after}"


def fitting(secrets: Secrets) -> Fit:
    """What makes text fit to be shown on a forge: known secrets are redacted and misleading characters are escaped."""
    return lambda text: sendable(secrets.redact(text))


def find(caller: Caller, runner_id: uuid.UUID) -> WrittenText:
    """What a pull request that is opened now would say."""
    caller.require(Scope.READ)
    runner = lookup.get_runner(caller, runner_id)
    return write(runner, lineage(runner.head_session_id), fitting(site_secrets.secrets_of(runner.site)))


def write(runner: AgentRunner, sessions: Sequence[AgentRunnerSession], fit: Fit) -> WrittenText:
    """The text about these sessions, by the templates of the runner's site."""
    before, after = pull_request_texts.around_sessions(runner)
    title = one_line(fit(pull_request_texts.title_of(runner)))
    return WrittenText(title, fit(before), _closing(runner) + _described(sessions, fit), fit(after))


def _closing(runner: AgentRunner) -> str:
    """What has the forge close the issue that the runner was started for, when the pull request is merged."""
    return f"Closes #{runner.issue_number}\n\n" if runner.issue_number else ""


def lineage(session_id: uuid.UUID | None) -> list[AgentRunnerSession]:
    """A session and all that it builds on, the oldest first."""
    columns = (AgentRunnerSession.id, AgentRunnerSession.parent_session_id)
    first = sa.select(*columns, sa.literal(0).label("depth")).where(AgentRunnerSession.id == session_id)
    below = first.cte("lineage", recursive=True)
    parents = sa.select(*columns, below.c.depth + 1).where(AgentRunnerSession.id == below.c.parent_session_id)
    below = below.union_all(parents)
    found = sa.select(AgentRunnerSession).join(below, AgentRunnerSession.id == below.c.id)
    return list(db.session.scalars(found.order_by(below.c.depth.desc())))


def prompt_of(session: AgentRunnerSession, fit: Fit) -> str:
    """A session's prompt for a forge."""
    return inert(fit(session.prompt)) if session.quotes_others else fit(session.prompt)


def _described(sessions: Sequence[AgentRunnerSession], fit: Fit) -> str:
    """The prompt and the agent's own summary of each session.

    Each gets an equal share of the length, so that a long one crowds out none of the others.
    """
    sessions = [session for session in sessions if session.mode != Mode.REBASE]
    room = LONGEST // max(1, len(sessions))
    parts = []
    for session in sessions:
        asked = "\n".join(f"> {line}" for line in prompt_of(session, fit).strip().splitlines()[:40])
        asked = _cut(asked, room)
        parts.append(f"{asked}\n\n{inert(_cut(fit(session.result or ''), room - len(asked)))}".strip())
    return "\n\n---\n\n".join(parts)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: max(0, longest - 1)] + "…"
