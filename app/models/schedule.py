"""A schedule: at which times a site gets a new runner, and with which prompt."""

from __future__ import annotations

import datetime
import uuid

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, StateType, Updated
from app.models.run_settings import RunSettings
from app.models.states import Overlap


class Schedule(RunSettings, Updated, Base):
    __tablename__ = "schedules"
    __table_args__ = (
        Index("ix_schedules_site", "site_id", "created_at", "id"),
        Index("ix_schedules_due", "next_run_at"),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    site_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sites.id"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    """The user who created it, and in whose name its runners are created."""
    name: Mapped[str] = mapped_column(String(200))
    cron: Mapped[str] = mapped_column(String(200))
    timezone: Mapped[str] = mapped_column(String(100))
    overlap: Mapped[Overlap] = mapped_column(StateType(Overlap))
    active: Mapped[bool]
    next_run_at: Mapped[datetime.datetime | None]
    """None: it is not active, or there is no such time."""
    last_run_at: Mapped[datetime.datetime | None]
    last_runner_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runners.id"))
    last_error: Mapped[str | None] = mapped_column(Text)
    """Why there is no runner of the last time that came. None: there is one."""
