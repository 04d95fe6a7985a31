"""A runner: the lasting line of work on one branch of one site."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from app import db
from app.folding import folded
from app.models.account import User
from app.models.base import Base, StateType, Updated
from app.models.site import Site
from app.models.states import PullRequestState, RunnerState

ASKS = sa.text("questions IS NOT NULL AND state = 'DONE'")


def _listed_by(name: str, *columns: str, only: sa.TextClause | None = None) -> Index:
    """An index for a filter of the list: it continues with the list's order, and covers its other conditions."""
    order = ("state", "last_session_created_at", "id", "site_id", "created_at")
    covered = [column for column in order if column not in columns]
    where: dict[str, Any] = {} if only is None else {"sqlite_where": only, "postgresql_where": only}
    return Index(f"ix_agent_runners_by_{name}", "account_id", *columns, *covered, **where)


class AgentRunner(Updated, Base):
    __tablename__ = "agent_runners"
    __table_args__ = (
        _listed_by("state"),
        _listed_by("branch", "branch"),
        _listed_by("result_branch", "result_branch"),
        _listed_by("user", "user_id"),
        _listed_by("site", "site_id"),
        _listed_by("agent", "latest_session_agent"),
        # A new runner has no pull request and most have no parent, so these indexes cost its creation nothing.
        _listed_by("parent", "parent_agent_runner_id", only=sa.text("parent_agent_runner_id IS NOT NULL")),
        _listed_by("pr_state", "pr_state", only=sa.text("pr_state IS NOT NULL")),
        Index(
            "ix_agent_runners_asking",
            "account_id",
            "last_session_created_at",
            "id",
            sqlite_where=ASKS,
            postgresql_where=ASKS,
        ),
        Index("ix_agent_runners_newest", "account_id", "last_session_created_at", "id"),
        Index("ix_agent_runners_site_id_result_branch", "site_id", "result_branch"),
        Index("ix_agent_runners_site_id_pr_number", "site_id", "pr_number"),
        Index("ix_agent_runners_site_id_issue_number", "site_id", "issue_number"),
        Index("ix_agent_runners_pr_state_pr_check_due_at", "pr_state", "pr_check_due_at"),
        Index("ix_agent_runners_refresh_due_at", "refresh_due_at"),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    site_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sites.id"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    schedule_id: Mapped[uuid.UUID | None]
    """The schedule that created it, which may be deleted by now."""
    parent_agent_runner_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runners.id"))
    state: Mapped[RunnerState] = mapped_column(StateType(RunnerState), default=RunnerState.NEW)
    title: Mapped[str] = mapped_column(String(500))
    title_folded: Mapped[str | None] = mapped_column(Text)
    """The title in the form that is searched. Null if an older release wrote the title, without knowing this column."""
    branch: Mapped[str | None] = mapped_column(String(255))
    """None until the first session detects the remote's default branch."""
    sha: Mapped[str | None] = mapped_column(String(64))
    base_sha: Mapped[str | None] = mapped_column(String(64))
    base_deploy_id: Mapped[str | None] = mapped_column(String(200))
    behind_by: Mapped[int | None]
    mergeable: Mapped[bool | None]
    """Whether the runner's diff merges into the tip of its branch without conflicts. None: not measured."""
    conflicts: Mapped[list[str] | None]
    """The files that conflict. None: not measured."""
    refresh_due_at: Mapped[datetime.datetime | None]
    """When a requested refresh is due, for the first time or again. None: none is in progress."""
    refresh_requested_at: Mapped[datetime.datetime | None]
    """When a refresh was requested last, by a caller or because somebody read the runner."""
    refreshed_at: Mapped[datetime.datetime | None]
    refresh_error: Mapped[str | None] = mapped_column(Text)
    current_task: Mapped[str | None] = mapped_column(String(500))
    last_session_created_at: Mapped[datetime.datetime]
    active_session_created_at: Mapped[datetime.datetime | None]
    done_at: Mapped[datetime.datetime | None]
    latest_session_id: Mapped[uuid.UUID | None]
    """The newest session, in any state. No foreign key: the two tables would depend on each other."""
    latest_session_agent: Mapped[str | None] = mapped_column(String(100))
    """The agent that the newest session began with, or the one that took over. Only lists search it: it is null, or that of
    an earlier session, where an older release created the newest one."""
    head_session_id: Mapped[uuid.UUID | None]
    """The session whose cumulative diff is the runner's diff; None is the base itself."""
    questions: Mapped[list[dict[str, Any]] | None]
    """What the agent wants to know before it continues. None: it asks nothing."""
    diff_key: Mapped[str | None] = mapped_column(String(1000))
    """The runner's diff: the head's cumulative diff, or a caller's replacement for it until the next session."""
    contains_secret: Mapped[bool] = mapped_column(default=False)
    """Whether the runner's diff contains a known secret. Such a diff is not published."""
    last_event_seq: Mapped[int] = mapped_column(default=0)
    changed_before: Mapped[datetime.datetime | None] = mapped_column(onupdate=db.within_hours())
    """A time not before `updated_at`, and two hours after it at most. It has an index in place of `updated_at`, which
    changes with each step: Postgres then writes all indexes of a row anew. Null: not known."""

    issue_number: Mapped[int | None]
    """The issue that it was started for, which its pull request closes. None: none."""
    result_branch: Mapped[str | None] = mapped_column(String(255))
    pr_url: Mapped[str | None] = mapped_column(String(2000))
    pr_branch: Mapped[str | None] = mapped_column(String(255))
    pr_state: Mapped[PullRequestState | None] = mapped_column(StateType(PullRequestState))
    pr_number: Mapped[int | None]
    pr_is_being_created: Mapped[bool] = mapped_column(default=False)
    pr_error: Mapped[str | None] = mapped_column(Text)
    pr_warnings: Mapped[list[str] | None]
    """What the last publication could not set in the pull request. None: all was set."""
    pr_check_results: Mapped[dict[str, Any] | None]
    """The outcomes of the checks of its newest commit, as the forge showed them. None: it showed none."""
    pr_checked_at: Mapped[datetime.datetime | None]
    """When the forge was last asked for the pull request's state."""
    pr_check_due_at: Mapped[datetime.datetime | None]
    pr_checks: Mapped[int] = mapped_column(default=0, server_default=sa.text("0"))
    """How often it was checked since the last publication."""
    merge_commit_sha: Mapped[str | None] = mapped_column(String(64))
    merge_commit_error: Mapped[str | None] = mapped_column(Text)
    merge_commit_is_being_created: Mapped[bool] = mapped_column(default=False)

    site: Mapped[Site] = relationship(lazy="joined")
    user: Mapped[User] = relationship(lazy="joined")

    @validates("title")
    def _fold_title(self, _name: str, title: str) -> str:
        self.title_folded = folded(title)
        return title

    @property
    def site_name(self) -> str:
        return self.site.name

    @property
    def has_result_diff(self) -> bool:
        return self.diff_key is not None

    @property
    def awaiting_input(self) -> bool:
        return self.questions is not None and self.state == RunnerState.DONE

    @property
    def is_being_refreshed(self) -> bool:
        return self.refresh_due_at is not None

    @property
    def is_archived(self) -> bool:
        return self.state == RunnerState.ARCHIVED
