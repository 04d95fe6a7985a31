"""What the deployment knows of itself: when its repairs last ran, and how often what operators watch for happened."""

from __future__ import annotations

import datetime

import sqlalchemy as sa
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class LastRun(Base):
    """When something last ran, such as a sweep."""

    __tablename__ = "last_runs"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    at: Mapped[datetime.datetime]


class Fingerprint(Base):
    """Which secret the deployment uses, without the secret."""

    __tablename__ = "fingerprints"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    value: Mapped[str] = mapped_column(String(100))


class Counter(Base):
    """How often something has happened since the deployment was made, for the metrics."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    value: Mapped[int] = mapped_column(sa.BigInteger, default=0)
