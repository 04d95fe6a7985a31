"""A row of short work that a caller waits for. The rules are in `app/services/short_tasks.py`."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app import db
from app.models.base import Base

EXPIRES_SECONDS = 120.0
"""How long workers have for it, from its request on."""


class ShortTask(Base):
    __abstract__ = True

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    claimed_at: Mapped[datetime.datetime | None]
    """When a worker took it. Only one does."""
    done_at: Mapped[datetime.datetime | None]
    """When it was done or failed. None: neither, or its worker was lost."""

    @classmethod
    def is_pending(cls) -> sa.ColumnElement[bool]:
        """Selects rows that workers still have time for."""
        return sa.and_(cls.done_at.is_(None), cls.created_at > db.now(-EXPIRES_SECONDS))

    @classmethod
    def is_held(cls) -> sa.ColumnElement[bool]:
        """Selects rows that a worker may be at. It gives up as long after its claim."""
        return sa.and_(cls.done_at.is_(None), cls.claimed_at > db.now(-EXPIRES_SECONDS))
