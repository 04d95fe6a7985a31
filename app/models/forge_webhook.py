"""The webhook of a site, by which its forge tells what happens there, and what was delivered to it."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.agent_runner import AgentRunner
from app.models.base import Base, StateType, Updated
from app.models.leased import Leased
from app.models.site import Site
from app.models.states import ForgeDeliveryState, ForgeEvent, OnFailedChecks

TRIGGER_NAME = "@agent-runners"
MAX_FIXES = 3


class ForgeWebhook(Updated, Base):
    """A site has at most one. Its settings say what its deliveries do."""

    __tablename__ = "forge_webhooks"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    site_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sites.id"), unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    """The user who created it, and in whose name its deliveries do something."""
    secret_encrypted: Mapped[str] = mapped_column(Text)
    archive_merged: Mapped[bool] = mapped_column(default=False)
    """Whether a runner is archived when its pull request is merged."""
    trigger_name: Mapped[str] = mapped_column(String(100), default=TRIGGER_NAME, server_default=TRIGGER_NAME)
    """Who mentions this in a comment or review asks for a follow-up."""
    on_failed_checks: Mapped[OnFailedChecks] = mapped_column(
        StateType(OnFailedChecks), default=OnFailedChecks.OFF, server_default=OnFailedChecks.OFF.value
    )
    """What is done if checks of a pull request fail."""
    max_fixes: Mapped[int] = mapped_column(default=MAX_FIXES, server_default=str(MAX_FIXES))
    """How many follow-ups a pull request gets because of failed checks."""
    issue_label: Mapped[str | None] = mapped_column(String(100))
    """Issues with this label start a runner, and those on which the trigger name is mentioned. None: no issue does."""
    allowed_people: Mapped[list[str] | None]
    """Who may ask for something on the forge, of those who may write. None: all of them, or nobody where the forge does
    not say who may write."""

    site: Mapped[Site] = relationship(lazy="joined")

    def reason_to_refuse(self, login: str, may_write: bool | None) -> str | None:
        """Why that person may not ask for anything. None: they may. `may_write` None: the forge does not say."""
        if may_write is None and self.allowed_people is None:
            return "This forge does not say who may write to the repository. Name who may ask in allowed_people."
        if may_write is False:
            return f"{login} may not write to the repository."
        if self.allowed_people is not None and login.lower() not in map(str.lower, self.allowed_people):
            return f"{login} is not one of the allowed people."
        return None


class ForgeDelivery(Leased):
    """Something that happened on the forge. Only what it is about is stored: what it is now is read from the forge."""

    __tablename__ = "forge_deliveries"
    WAITING = HELD = ForgeDeliveryState.PENDING
    __table_args__ = (
        UniqueConstraint("webhook_id", "delivery_id"),
        Index("uq_forge_deliveries_subject", "webhook_id", "event", "subject_id", unique=True),
        Index("ix_forge_deliveries_listed", "webhook_id", "created_at", "id"),
        Index("ix_forge_deliveries_due", "state", "next_dispatch_at"),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    webhook_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("forge_webhooks.id"))
    delivery_id: Mapped[str] = mapped_column(String(200))
    """The forge's own id of the delivery, by which a repeat is recognized."""
    event: Mapped[ForgeEvent] = mapped_column(StateType(ForgeEvent))
    number: Mapped[int]
    """The pull request or issue that it is about."""
    agent_runner_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runners.id"))
    """The runner whose pull request or issue that is. None: the issue has none yet."""
    subject_id: Mapped[int | None] = mapped_column(BigInteger)
    """The forge's id of the comment or review, which is followed once, however often it is delivered."""
    commit_sha: Mapped[str | None] = mapped_column(String(64))
    """The commit whose failed checks it is followed for. One commit is followed once."""
    author: Mapped[str | None] = mapped_column(String(200))
    """Who wrote it."""
    prompt: Mapped[str | None] = mapped_column(Text)
    """What is asked of the agent, while it waits for the runner."""
    session_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runner_sessions.id"))
    """The follow-up that was created for it."""
    publication_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("publications.id"))
    """The update of the pull request with the work of that."""
    answer: Mapped[str | None] = mapped_column(Text)
    """What is to be written to the person who asked."""
    answer_is_interim: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether the answer only says that the work has begun. Another one replaces it."""
    state: Mapped[ForgeDeliveryState] = mapped_column(StateType(ForgeDeliveryState), default=ForgeDeliveryState.PENDING)
    error: Mapped[str | None] = mapped_column(Text)

    runner: Mapped[AgentRunner | None] = relationship(lazy="joined")

    @property
    def its_runner(self) -> AgentRunner:
        """The runner of a delivery that has one: any but that of an issue which was not read yet."""
        assert self.runner is not None
        return self.runner
