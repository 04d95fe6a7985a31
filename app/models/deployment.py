"""Facts about the deployment: when periodic tasks last ran, which secret key it uses, and counters for metrics."""

from __future__ import annotations

import datetime

import sqlalchemy as sa
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class LastRun(Base):
    """When a periodic task last ran, such as the sweep."""

    __tablename__ = "last_runs"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    at: Mapped[datetime.datetime]


class Fingerprint(Base):
    """Identifies a secret that the deployment uses, without revealing it."""

    __tablename__ = "fingerprints"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    value: Mapped[str] = mapped_column(String(100))


class HostAgent(Base):
    """What a host's session workers found of an agent when the last of them started."""

    __tablename__ = "host_agents"
    __table_args__ = (sa.UniqueConstraint("host", "name"),)

    host: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[str | None] = mapped_column(String(100))
    missing: Mapped[str | None] = mapped_column(sa.Text)
    has_key: Mapped[bool | None]
    reported_at: Mapped[datetime.datetime]


class Counter(Base):
    """How often something has happened since the deployment was set up, for the metrics."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    value: Mapped[int] = mapped_column(sa.BigInteger, default=0)
