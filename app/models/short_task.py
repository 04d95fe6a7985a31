"""A row of short work that a caller waits for. The rules are in `app/services/short_tasks.py`."""

from __future__ import annotations

import datetime
import uuid

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class ShortTask(Base):
    __abstract__ = True

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    claimed_at: Mapped[datetime.datetime | None]
    """When a worker took it. Only one does."""
    done_at: Mapped[datetime.datetime | None]
    """When it was done or failed. None: neither, or its worker was lost."""
