"""A check of what a session of a site would need. A control worker does most of it."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.short_task import ShortTask


class Preflight(ShortTask):
    __tablename__ = "preflights"
    __table_args__ = (Index("ix_preflights_account", "account_id", "created_at"),)

    site_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sites.id"), index=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    agent: Mapped[str | None] = mapped_column(String(100))
    """None: neither the request nor the site names one that is available."""
    branch: Mapped[str | None] = mapped_column(String(255))
    checks: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON, default=list)
    setup_session_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runner_sessions.id"))
    """The session that tries the setup command, if that was asked for."""
