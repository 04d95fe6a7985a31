"""A hook, by which another system creates runners, and what it delivered."""

from __future__ import annotations

import uuid

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, StateType, Updated
from app.models.run_settings import RunSettings
from app.models.states import HookDeliveryState


class Hook(RunSettings, Updated, Base):
    """`prompt` and `subject` are templates, filled from what is delivered."""

    __tablename__ = "agent_runner_hooks"
    __table_args__ = (Index("ix_agent_runner_hooks_site", "site_id", "created_at", "id"),)

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    site_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sites.id"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    """The user who created it, and in whose name its runners are created."""
    name: Mapped[str] = mapped_column(String(200), default="")
    active: Mapped[bool] = mapped_column(default=True)
    subject: Mapped[str | None] = mapped_column(String(500))
    """Deliveries of the same subject go to the same runner. None: each has a runner of its own."""
    conditions: Mapped[list[dict[str, str]]]
    """Places in what is delivered, and the text that each must have. Other deliveries are ignored."""
    secret_encrypted: Mapped[str] = mapped_column(Text)


class HookDelivery(Base):
    """One delivery, and the session that was created for it."""

    __tablename__ = "hook_deliveries"
    __table_args__ = (
        UniqueConstraint("hook_id", "delivery_id"),
        Index("ix_hook_deliveries_listed", "hook_id", "created_at", "id"),
        Index("ix_hook_deliveries_subject", "hook_id", "subject", "created_at"),
        Index("ix_hook_deliveries_state", "state", "created_at"),
    )

    hook_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agent_runner_hooks.id"))
    delivery_id: Mapped[str | None] = mapped_column(String(200))
    """The sender's own id. None: it sent none, so a repeat cannot be recognized."""
    state: Mapped[HookDeliveryState] = mapped_column(StateType(HookDeliveryState))
    subject: Mapped[str | None] = mapped_column(String(200))
    prompt: Mapped[str | None] = mapped_column(Text)
    """What is asked of the agent, while it waits."""
    agent_runner_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runners.id"))
    session_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runner_sessions.id"))
    error: Mapped[str | None] = mapped_column(Text)
    """Why there is no session for it, although it waited for one."""
