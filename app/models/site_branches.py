"""The branches that a site's repository had when a worker fetched it last."""

from __future__ import annotations

import datetime
import uuid

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class SiteBranches(Base):
    __tablename__ = "site_branches"

    site_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sites.id"), unique=True)
    names: Mapped[list[str]]
    """In the order of their names, and at most as many as the engine lists."""
    generated: Mapped[list[str] | None]
    """Patterns of files that the repository says are generated. None in the rows of older releases."""
    listed_at: Mapped[datetime.datetime]
