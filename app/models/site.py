"""A repository that runners work on, and what is allowed there."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Float, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, StateType, Updated
from app.models.states import Execution, Forge, OnQuota, SensitiveFiles

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
    forge: Mapped[Forge] = mapped_column(StateType(Forge, 40))
    forge_api_url: Mapped[str | None] = mapped_column(String(2000))
    default_agent: Mapped[str | None] = mapped_column(String(100))
    default_model: Mapped[str | None] = mapped_column(String(200))
    fallback_agents: Mapped[list[str] | None]
    """Agents that take over where the model of the one before accepts no calls: `agent`, or `agent:model`."""
    on_quota: Mapped[OnQuota] = mapped_column(
        StateType(OnQuota), default=OnQuota.FAIL, server_default=OnQuota.FAIL.value
    )
    setup_command: Mapped[str | None] = mapped_column(Text)
    setup_cache_files: Mapped[list[str] | None]
    """Files that what setup leaves depends on. None: it depends on everything that it sees. Empty: it is
    not used again."""
    sparse_paths: Mapped[list[str] | None]
    """The folders that sessions check out, with the files beside them on the way to the root. None or empty: everything."""
    partial_clone: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether fetches leave out contents of files that no session needs."""
    protected_branches: Mapped[list[str] | None]
    egress_hosts: Mapped[list[str]] = mapped_column(default=list)
    allow_agent_configuration: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether files in the repository that configure agents, and can thereby run code, take effect."""
    sensitive_files: Mapped[SensitiveFiles] = mapped_column(
        StateType(SensitiveFiles), default=SensitiveFiles.WARN, server_default=SensitiveFiles.WARN.value
    )
    pr_branch_pattern: Mapped[str | None] = mapped_column(String(255))
    pr_title_template: Mapped[str | None] = mapped_column(String(500))
    pr_body_template: Mapped[str | None] = mapped_column(Text)
    pr_labels: Mapped[list[str] | None]
    """What new pull requests get if a request names none: labels, reviewers and assignees."""
    pr_reviewers: Mapped[list[str] | None]
    pr_assignees: Mapped[list[str] | None]
    pr_status: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether what is pushed for a pull request gets a commit status that links to its session."""
    mcp_servers: Mapped[list[dict[str, Any]] | None]
    """Servers of tools that agents use: the fields of each, as `services/sites/mcp_servers.py` checks them."""
    max_duration_seconds: Mapped[int | None]
    max_cost_usd: Mapped[float | None] = mapped_column(Float)
    max_concurrent_sessions: Mapped[int | None]
    execution: Mapped[Execution] = mapped_column(StateType(Execution), default=Execution.INTERNAL)
    access_token_encrypted: Mapped[str | None] = mapped_column(Text)
    fetch_failed_at: Mapped[datetime.datetime | None]
    """When a session could not reach the repository, or got no answer in time. None: the last one could."""
    deleted_at: Mapped[datetime.datetime | None]

    @property
    def has_access_token(self) -> bool:
        return self.access_token_encrypted is not None

    @property
    def protected(self) -> list[str]:
        """Branches that nothing is committed to directly: the default branch unless the site says otherwise."""
        default = [] if self.default_branch is None else [self.default_branch]
        return default if self.protected_branches is None else self.protected_branches
