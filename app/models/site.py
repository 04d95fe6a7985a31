"""A repository that runners work on, and what is allowed there."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa
from sqlalchemy import Float, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, StateType, Updated
from app.models.states import Execution, Forge

IS_LISTED, IS_DELETED = sa.text("deleted_at IS NULL"), sa.text("deleted_at IS NOT NULL")


class Site(Updated, Base):
    __tablename__ = "sites"
    __table_args__ = (
        Index("ix_sites_listed", "account_id", "created_at", "id", sqlite_where=IS_LISTED, postgresql_where=IS_LISTED),
        Index("ix_sites_deleted", "account_id", "id", sqlite_where=IS_DELETED, postgresql_where=IS_DELETED),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    repo_url: Mapped[str] = mapped_column(String(2000))
    default_branch: Mapped[str | None] = mapped_column(String(255))
    """None until a caller sets it or the first session detects the remote's default branch."""
    forge: Mapped[Forge] = mapped_column(StateType(Forge))
    forge_api_url: Mapped[str | None] = mapped_column(String(2000))
    default_agent: Mapped[str | None] = mapped_column(String(100))
    default_model: Mapped[str | None] = mapped_column(String(200))
    setup_command: Mapped[str | None] = mapped_column(Text)
    setup_cache_files: Mapped[list[str] | None]
    """Files that what setup leaves depends on. None: it depends on everything that it sees. Empty: it is
    not used again."""
    protected_branches: Mapped[list[str] | None]
    egress_hosts: Mapped[list[str]] = mapped_column(default=list)
    allow_agent_configuration: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether files in the repository that configure agents, and can thereby run code, take effect."""
    max_duration_seconds: Mapped[int | None]
    max_cost_usd: Mapped[float | None] = mapped_column(Float)
    max_concurrent_sessions: Mapped[int | None]
    execution: Mapped[Execution] = mapped_column(StateType(Execution), default=Execution.INTERNAL)
    access_token_encrypted: Mapped[str | None] = mapped_column(Text)
    deleted_at: Mapped[datetime.datetime | None]

    @property
    def has_access_token(self) -> bool:
        return self.access_token_encrypted is not None

    @property
    def protected(self) -> list[str]:
        """Branches that nothing is committed to directly: the default branch unless the site says otherwise."""
        default = [] if self.default_branch is None else [self.default_branch]
        return default if self.protected_branches is None else self.protected_branches
