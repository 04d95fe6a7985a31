"""A request to publish a runner's diff, as a pull request or a commit, and its outcome."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import StateType
from app.models.leased import Leased
from app.models.states import PublicationKind, PublicationState

IS_PENDING = sa.text("state = 'pending'")
WAS_SLOW = sa.text("slow_until IS NOT NULL")


class Publication(Leased):
    __tablename__ = "publications"
    WAITING = HELD = PublicationState.PENDING
    __table_args__ = (
        # A runner has at most one pending publication of each kind.
        Index(
            "uq_publications_pending",
            "agent_runner_id",
            "kind",
            unique=True,
            sqlite_where=IS_PENDING,
            postgresql_where=IS_PENDING,
        ),
        Index("ix_publications_pending", "state", "next_dispatch_at"),
        Index("ix_publications_slow", "slow_until", sqlite_where=WAS_SLOW, postgresql_where=WAS_SLOW),
    )

    agent_runner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agent_runners.id"), index=True)
    session_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runner_sessions.id"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[PublicationKind] = mapped_column(StateType(PublicationKind))
    state: Mapped[PublicationState] = mapped_column(StateType(PublicationState), default=PublicationState.PENDING)
    diff_key: Mapped[str] = mapped_column(String(1000))
    branch: Mapped[str] = mapped_column(String(255))
    """The branch that is pushed: the runner's own for a pull request, the target for a commit."""
    title: Mapped[str | None] = mapped_column(String(500))
    body: Mapped[str | None] = mapped_column(Text)
    draft: Mapped[bool] = mapped_column(default=False)
    draft_is_named: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether the caller sent `draft`. Otherwise an existing pull request stays a draft or not, as it is."""
    labels: Mapped[list[str] | None]
    """What is added to the pull request: labels, reviewers and assignees. None, as in the rows of older releases: none."""
    reviewers: Mapped[list[str] | None]
    assignees: Mapped[list[str] | None]
    squash: Mapped[bool] = mapped_column(default=False)
    planned_shas: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """Every commit that was about to be pushed. A later attempt recognizes them on the forge as its own."""
    pushed_sha: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)
    waits_for_site: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether a claim was refused because a publication of the same site was running, or there was no place for the account.
    The end of other work dispatches it."""
    claimed_at: Mapped[datetime.datetime | None]
    """When the latest attempt began. None as well for one that an older release began."""
    slow_until: Mapped[datetime.datetime | None]
    """Until when the account counts as slow, because an attempt held a worker for long. None: it did not."""
    finished_at: Mapped[datetime.datetime | None]
