"""The earlier sessions of a conversation in words, for an agent that does not remember them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import sqlalchemy as sa

from app import db
from app.models import AgentRunnerSession, Event
from app.models.states import SessionState, StepCategory
from app.services import events

MOST_BYTES = 64 * 1024
_MOST_SESSIONS = 50
_PROMPT_BYTES = 12 * 1024
_RESULT_BYTES = 12 * 1024
_MOST_STEPS = 100
_STEP_CHARACTERS = 160
# What it did. What it said last is the result, and what tools answered is in the files.
_SHOWN = (StepCategory.COMMAND, StepCategory.EDIT, StepCategory.PLAN, StepCategory.TODO, StepCategory.QUESTION)
_HEAD = (
    "Earlier sessions of this conversation follow, the oldest first and shortened. You may not remember them, or another "
    "agent may have worked on them. Lines that begin with > are quoted from them. The files are as these sessions left "
    "them, except where a session says otherwise.\n\n"
)
_LEFT_OUT = "(Still earlier sessions are left out.)\n\n"
_END = "The earlier sessions end here. The request is now:\n\n"
_STATES = {
    SessionState.DONE: "was done",
    SessionState.ERROR: "failed",
    SessionState.CANCELLED: "was stopped",
}


def transcript(session_id: uuid.UUID) -> str:
    """What came before a session, in at most about `MOST_BYTES`: the latest sessions first, if not all of them fit."""
    session = db.session.get_one(AgentRunnerSession, session_id)
    parts = [_attempted(session)] if session.goes_on else []
    left = MOST_BYTES - len(_HEAD) - len(_LEFT_OUT) - len(_END) - sum(len(part.encode()) for part in parts)
    for earlier in _earlier(session):
        part = _described(earlier, is_in_files=is_in_files_of(earlier, session))
        left -= len(part.encode())
        if left < 0 or len(parts) == _MOST_SESSIONS:
            parts.append(_LEFT_OUT)
            break
        parts.append(part)
    return _HEAD + "".join(reversed(parts)) + _END


def is_in_files_of(earlier: AgentRunnerSession, session: AgentRunnerSession) -> bool:
    """Whether the changes of an earlier session, if it made any, are in the files that the later one starts from."""
    return not earlier.has_result_diff or earlier.state == SessionState.DONE or earlier.id == session.parent_session_id


def _earlier(session: AgentRunnerSession) -> Iterator[AgentRunnerSession]:
    """The sessions before one, the latest first."""
    before = session.continues_session_id
    while before is not None:
        earlier = db.session.get_one(AgentRunnerSession, before)
        yield earlier
        # Those of an earlier release do not say it.
        before = earlier.continues_session_id or earlier.parent_session_id


def _described(session: AgentRunnerSession, *, is_in_files: bool) -> str:
    failure = f" ({session.failure['code']})" if session.failure else ""
    files = "" if is_in_files else " Its changes were not kept: they are not in the files."
    successor = f", which {session.taken_over_by['agent']} took over," if session.taken_over_by else ""
    lines = [
        f"A session with {session.agent}{successor} {_STATES.get(session.state, 'ended')}{failure}.{files} The request was:",
        *_quoted(_shortened(session.prompt, _PROMPT_BYTES)),
    ]
    if steps := _steps(session):
        lines += ["What it did:", *_quoted("\n".join(steps))]
    if session.result:
        lines += ["It answered:", *_quoted(_shortened(session.result, _RESULT_BYTES))]
    for each in session.questions or ():
        lines += ["It asked:", *_quoted("\n".join([each["question"], *(f"- {choice}" for choice in each["choices"])]))]
    return "\n".join([*lines, "", ""])


def _attempted(session: AgentRunnerSession) -> str:
    """The attempts before at a session whose model took no more calls."""
    introduction = (
        f"{session.agent} started the task below, and had to stop because its model accepted no more calls. Its changes so far "
        "are in the files: look at them first, and continue from there."
    )
    steps = _steps(session, Event.attempt < session.attempt)
    return "\n".join([introduction, *(["What it did:", *_quoted("\n".join(steps))] if steps else []), "", ""])


def _steps(session: AgentRunnerSession, which: sa.ColumnElement[bool] | None = None) -> list[str]:
    """The titles of what the session did last, in their order: in its last attempt, or in those of `which`."""
    query = (
        sa.select(Event.payload)
        .where(
            Event.agent_runner_id == session.agent_runner_id,
            Event.session_id == session.id,
            Event.attempt == session.attempt if which is None else which,
            Event.kind == events.STEP,
        )
        .order_by(Event.seq.desc())
        .limit(10 * _MOST_STEPS)
    )
    titles: dict[str, None] = {}
    for payload in db.session.scalars(query):
        title = str(payload.get("title", ""))
        if payload.get("category") in _SHOWN and not title.startswith(("Result of ", "Setup")):
            titles.setdefault(title[:_STEP_CHARACTERS])
        if len(titles) == _MOST_STEPS:
            break
    return list(titles)[::-1]


def _quoted(text: str) -> list[str]:
    """The lines of a text, marked so that none of them can pass for one of ours."""
    return [f"> {line}" for line in text.splitlines()]


def _shortened(text: str, most: int) -> str:
    data = text.encode(errors="replace")
    if len(data) <= most:
        return text
    half = most // 2
    start, end = (part.decode(errors="ignore") for part in (data[:half], data[-half:]))
    return f"{start}\n[... {len(data) - 2 * half:,} bytes were left out]\n{end}"
