"""A person's own account on a forge, which a token of theirs proves."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import StateType
from app.models.short_task import ShortTask
from app.models.states import Forge, ForgeAccountState


class ForgeAccount(ShortTask):
    """The short task is to ask the forge whose token it is. The row stays after that."""

    __tablename__ = "forge_accounts"
    __table_args__ = (
        UniqueConstraint("user_id", "forge", "forge_api_url"),
        Index("ix_forge_accounts_account", "account_id", "created_at"),
    )

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    forge: Mapped[Forge] = mapped_column(StateType(Forge, 40))
    forge_api_url: Mapped[str] = mapped_column(String(500))
    token_encrypted: Mapped[str | None] = mapped_column(Text)
    """None once the connection has failed: then it is of no use."""
    state: Mapped[ForgeAccountState] = mapped_column(StateType(ForgeAccountState), default=ForgeAccountState.PENDING)
    login: Mapped[str | None] = mapped_column(String(200))
    name: Mapped[str | None] = mapped_column(String(200))
    email: Mapped[str | None] = mapped_column(String(320))
    """The address for commits. None: the forge does not tell one."""
    failure: Mapped[dict[str, Any] | None]
    """`code` and `message`, if it has failed."""
