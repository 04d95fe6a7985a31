"""Rows with the related data that their JSON shows, fetched for a whole list at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.services.runners import agent_runner_sessions, summaries


class RowView:
    """A row with further attributes, which take precedence over its own."""

    def __init__(self, row: Any, **extra: Any) -> None:
        self.__dict__ = {"_row": row, **extra}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def runners(rows: Sequence[Any]) -> list[RowView]:
    """Runners with their latest session, what it waits for, usage and contributors."""
    rows = list(rows)
    latest, totals = summaries.latest_sessions(rows), summaries.totals(rows)
    waiting = agent_runner_sessions.waiting(latest.values())
    return [
        RowView(
            row,
            latest_session=latest[row.id],
            latest_session_state=latest[row.id].state,
            latest_session_mode=latest[row.id].mode,
            latest_session_agent=_last_agent(latest[row.id]),
            attached_file_keys=latest[row.id].attached_file_keys,
            waiting=waiting.get(latest[row.id].id),
            usage=totals[row.id].usage,
            contributors=totals[row.id].contributors,
        )
        for row in rows
    ]


def _last_agent(session: Any) -> str:
    return str(session.taken_over_by["agent"] if session.taken_over_by else session.agent)


def runner(row: Any) -> RowView:
    return runners([row])[0]


def created_runner(row: Any, session: Any) -> RowView:
    """A runner that was created just now, with its first session."""
    return RowView(
        row,
        latest_session_state=session.state,
        latest_session_mode=session.mode,
        latest_session_agent=session.agent,
        attached_file_keys=session.attached_file_keys,
        waiting=agent_runner_sessions.waiting([session]).get(session.id),
        usage={},
        contributors=[row.user],
    )


def sessions(rows: Sequence[Any]) -> list[RowView]:
    """Sessions of a list, with the beginnings of long texts."""
    texts = agent_runner_sessions.beginnings(rows)
    return [RowView(row, **texts[row.id]) for row in _with_steps(rows)]


def session(row: Any, **extra: Any) -> RowView:
    """A session with all of its texts."""
    return RowView(_with_steps([row])[0], prompt_truncated=False, result_truncated=False, **extra)


def _with_steps(rows: Sequence[Any]) -> list[RowView]:
    """Sessions with the steps of their current attempt, and what they wait for."""
    rows = list(rows)
    steps, waiting = agent_runner_sessions.steps(rows), agent_runner_sessions.waiting(rows)
    return [RowView(row, steps=steps[row.id], waiting=waiting.get(row.id)) for row in rows]
