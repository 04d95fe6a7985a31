"""An artifact that is to be deleted. The row goes when the artifact has gone."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class ArtifactDeletion(Base):
    __tablename__ = "artifact_deletions"

    key: Mapped[str] = mapped_column(String(1000))
    """The key of an object, or of a folder with all that is in it, which ends with a slash."""
