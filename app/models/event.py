"""What happened to a runner, in order. Steps are events of kind `step`."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base

HAS_PROMPT = sa.text("prompt_folded IS NOT NULL")
IS_OF_ACCOUNT = sa.text("kind IN ('state', 'publication', 'budget')")


class Event(Base):
    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("agent_runner_id", "seq"),
        Index("ix_events_session", "session_id", "attempt", "kind", "seq"),
        # The events of an account's stream, in its order.
        Index("ix_events_account", "created_at", "id", sqlite_where=IS_OF_ACCOUNT, postgresql_where=IS_OF_ACCOUNT),
        Index("ix_events_prompts", "agent_runner_id", sqlite_where=HAS_PROMPT, postgresql_where=HAS_PROMPT),
    )

    agent_runner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agent_runners.id"))
    seq: Mapped[int]
    """Counted from 1 within the runner, under its lock, so that no number is missing or repeated."""
    session_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runner_sessions.id"))
    attempt: Mapped[int] = mapped_column(default=0)
    kind: Mapped[str] = mapped_column(String(20))
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    prompt_folded: Mapped[str | None] = mapped_column(sa.Text, deferred=True)
    """The beginning of the session's prompt in the form that is searched, in the session's first event. It is here because
    events never change: an index of it in the session would be written anew with each heartbeat."""
    # `created_at` must be the time of the INSERT by the database: streams of accounts rely on it. See
    # `database_changes.settled_until`.
