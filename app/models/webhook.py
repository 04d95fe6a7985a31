"""A webhook, which reads the events of its account from a position on, and what it delivered."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, StateType
from app.models.leased import Leased
from app.models.states import DeliveryState, WebhookFormat, WebhookState


class Webhook(Leased):
    """`position` is the place in the account's events up to which everything was delivered or given up."""

    __tablename__ = "webhooks"
    WAITING = HELD = WebhookState.ACTIVE
    __table_args__ = (
        Index("ix_webhooks_account", "account_id", "created_at", "id"),
        Index("ix_webhooks_due", "state", "next_dispatch_at"),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    site_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("sites.id"))
    """The only site whose events are delivered. None: all sites of the account."""
    format: Mapped[WebhookFormat] = mapped_column(
        StateType(WebhookFormat), default=WebhookFormat.JSON, server_default=WebhookFormat.JSON
    )
    url: Mapped[str] = mapped_column(String(2000))
    """Of a chat service only the host: there the rest is a secret."""
    url_encrypted: Mapped[str | None] = mapped_column(Text)
    """The whole URL of a chat service."""
    description: Mapped[str] = mapped_column(String(200), default="")
    events: Mapped[list[str]] = mapped_column(default=list)
    """The types that are delivered. Empty: all but `session.step`."""
    steps_since: Mapped[datetime.datetime | None]
    """From when on steps are delivered. None: they are not asked for."""
    full: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether `session.step` has the steps themselves."""
    state: Mapped[WebhookState] = mapped_column(StateType(WebhookState), default=WebhookState.ACTIVE)
    secret_encrypted: Mapped[str] = mapped_column(Text)
    previous_secret_encrypted: Mapped[str | None] = mapped_column(Text)
    previous_secret_until: Mapped[datetime.datetime | None]
    """Until when requests are signed with the previous secret as well."""
    position: Mapped[str] = mapped_column(String(100))
    failing_since: Mapped[datetime.datetime | None]
    """Since when nothing could be delivered. None: the last delivery succeeded."""
    disabled_reason: Mapped[str | None] = mapped_column(Text)


class WebhookDelivery(Base):
    """One event and one webhook."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index("ix_webhook_deliveries_listed", "webhook_id", "created_at", "id"),
        # How far the steps of a session were delivered.
        Index("ix_webhook_deliveries_steps", "webhook_id", "session_id", "last_seq"),
    )

    webhook_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhooks.id"))
    event_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("events.id"), index=True)
    event_type: Mapped[str] = mapped_column(String(50))
    session_id: Mapped[uuid.UUID | None]
    """Of `session.step` alone: whose steps these are. They are numbered from `first_seq` on, up to that of the event."""
    first_seq: Mapped[int | None]
    last_seq: Mapped[int | None]
    state: Mapped[DeliveryState] = mapped_column(StateType(DeliveryState), default=DeliveryState.PENDING)
    tries: Mapped[int] = mapped_column(default=0)
    status: Mapped[int | None]
    """The HTTP status of the last answer, if there was one."""
    error: Mapped[str | None] = mapped_column(Text)
    tried_at: Mapped[datetime.datetime | None]
