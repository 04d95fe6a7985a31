"""The columns of what creates runners automatically: what they are to do, and with what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import StateType
from app.models.states import Mode


class RunSettings:
    """The prompt and configuration of runners. None: the site's default at that time."""

    prompt: Mapped[str] = mapped_column(Text)
    mode: Mapped[Mode] = mapped_column(StateType(Mode), default=Mode.NORMAL)
    agent: Mapped[str | None] = mapped_column(String(100))
    model: Mapped[str | None] = mapped_column(String(200))
    effort: Mapped[str | None] = mapped_column(String(50))
    branch: Mapped[str | None] = mapped_column(String(255))
    limits: Mapped[dict[str, Any] | None]
