"""What people have looked at in the console."""

from __future__ import annotations

import datetime
import uuid

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app import db
from app.models.base import Base


class Look(Base):
    """A user looked at a runner, or marked a file of its diff as viewed."""

    __tablename__ = "looks"
    __table_args__ = (UniqueConstraint("user_id", "agent_runner_id", "digest"),)

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    agent_runner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agent_runners.id"))
    digest: Mapped[str] = mapped_column(String(64), default="")
    """Identifies the file by its part of the diff, so that the mark ends when that changes. Empty: the runner itself."""
    at: Mapped[datetime.datetime] = mapped_column(default=db.now())
