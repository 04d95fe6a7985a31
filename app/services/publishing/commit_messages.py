"""What commits say unless their request does: the title and the agent's summary of a session, or the title of the runner.

Who made a commit is not part of this text: `tasks/jobs/co_authors.py` adds the trailers when it is published.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from app.escaping import inert
from app.models import AgentRunner, AgentRunnerSession
from app.models.states import Mode, Scope
from app.services import lookup
from app.services.callers import Caller
from app.services.publishing.written_texts import Fit, fitting, lineage, prompt_of
from app.services.runners.agent_runners import title_from
from app.services.sites import site_secrets

LONGEST_SUBJECT = 72
LONGEST_SUMMARY = 10_000
"""Characters."""


@dataclass(frozen=True)
class WrittenMessages:
    """`last` is the message of the newest commit if each session gets its own, `squashed` that of one for all sessions."""

    last: str
    squashed: str


def find(caller: Caller, runner_id: uuid.UUID) -> WrittenMessages:
    """What a commit of the runner's diff that is made now would say."""
    caller.require(Scope.READ)
    runner = lookup.get_runner(caller, runner_id)
    fit = fitting(site_secrets.secrets_of(runner.site))
    squashed = of_runner(runner, fit)
    committed = with_own_commit(lineage(runner.head_session_id))
    if is_edited(runner.diff_key, committed):
        return WrittenMessages(squashed, squashed)
    # A session that changed nothing makes no commit.
    changing = [session for session in committed if session.result_diff_key or session.mode == Mode.REBASE]
    return WrittenMessages(of_session(changing[-1], runner, fit) if changing else squashed, squashed)


def with_own_commit(sessions: Sequence[AgentRunnerSession]) -> list[AgentRunnerSession]:
    """Those of a lineage whose work becomes a commit of its own.

    The worker of a session may have known secrets that this process does not. So a flagged session gets no commit; its
    other changes become part of the next one. After a rebase only the diffs since then have the runner's base.
    """
    rebased = [place for place, session in enumerate(sessions) if session.mode == Mode.REBASE]
    on_base = sessions[rebased[-1] :] if rebased else sessions
    return [session for session in on_base if session.cumulative_diff_key and not session.contains_secret]


def is_edited(diff_key: str | None, committed: Sequence[AgentRunnerSession]) -> bool:
    """Whether a diff is not that of the last of these sessions, and so needs a commit beside theirs."""
    return not committed or committed[-1].cumulative_diff_key != diff_key


def of_session(session: AgentRunnerSession, runner: AgentRunner, fit: Fit) -> str:
    """The message of a session's own commit. That of a rebase holds the work of all sessions before it, so it has the
    runner's title."""
    title = fit(runner.title) if session.mode == Mode.REBASE else _title_of(session, fit)
    return f"{subject(title)}\n\n{inert(fit(session.result or '').strip()[:LONGEST_SUMMARY])}".strip()


def of_runner(runner: AgentRunner, fit: Fit) -> str:
    """The message of a commit of everything."""
    return subject(fit(runner.title))


def subject(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SUBJECT else line[: LONGEST_SUBJECT - 1] + "…"


def _title_of(session: AgentRunnerSession, fit: Fit) -> str:
    return inert(fit(session.title)) if session.title else title_from(prompt_of(session, fit))
