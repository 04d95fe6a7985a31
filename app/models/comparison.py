"""The diff between the work of two sessions of a runner, made on request by a worker."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.short_task import ShortTask


class Comparison(ShortTask):
    __tablename__ = "comparisons"
    __table_args__ = (Index("ix_comparisons_account", "account_id", "created_at"),)

    agent_runner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agent_runners.id"), index=True)
    from_session_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runner_sessions.id"))
    """None: the base of the other session."""
    to_session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agent_runner_sessions.id"))
    diff_key: Mapped[str | None] = mapped_column(String(1000))
    """None: it is not made, or the sessions have the same files."""
    failure: Mapped[dict[str, Any] | None]

    @property
    def has_diff(self) -> bool:
        return self.diff_key is not None
