"""A session: one prompt, its outcome, and its lease."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.account import User
from app.models.base import Base, StateType
from app.models.leased import Leased
from app.models.states import ACTIVE, Mode, Resolver, SessionState, Stage

IS_ACTIVE = sa.text("state IN ('NEW', 'RUNNING')")


class AgentRunnerSession(Leased):
    __tablename__ = "agent_runner_sessions"
    WAITING = SessionState.NEW
    HELD = SessionState.RUNNING
    __table_args__ = (
        # At most one session of a runner is active. The index enforces it, whatever the code does.
        Index(
            "uq_agent_runner_sessions_active",
            "agent_runner_id",
            unique=True,
            sqlite_where=IS_ACTIVE,
            postgresql_where=IS_ACTIVE,
        ),
        Index("ix_agent_runner_sessions_runner", "agent_runner_id", "created_at", "id"),
        Index(
            "ix_agent_runner_sessions_active",
            "state",
            "next_dispatch_at",
            "lease_expires_at",
            sqlite_where=IS_ACTIVE,
            postgresql_where=IS_ACTIVE,
        ),
        Index("ix_agent_runner_sessions_account", "account_id", "state"),
        Index("ix_agent_runner_sessions_newest", "account_id", "created_at"),
        # Covers everything that a claim reads of waiting and running sessions.
        Index("ix_agent_runner_sessions_scheduling", "state", "account_id", "site_id", "created_at", "id"),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    site_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sites.id"), index=True)
    agent_runner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agent_runners.id"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    schedule_id: Mapped[uuid.UUID | None]
    """The schedule of its runner, whose budget it uses."""
    parent_session_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runner_sessions.id"))
    state: Mapped[SessionState] = mapped_column(StateType(SessionState), default=SessionState.NEW)
    mode: Mapped[Mode] = mapped_column(StateType(Mode), default=Mode.NORMAL)
    resolve: Mapped[Resolver | None] = mapped_column(StateType(Resolver))
    """Who resolves the conflicts of a rebase. None: nobody, it fails."""
    title: Mapped[str | None] = mapped_column(String(500))
    prompt: Mapped[str] = mapped_column(Text)
    agent: Mapped[str] = mapped_column(String(100))
    model: Mapped[str | None] = mapped_column(String(200))
    effort: Mapped[str | None] = mapped_column(String(50))
    taken_over_by: Mapped[dict[str, Any] | None]
    """The agent, and its model, that took over last in the latest attempt. None: its own agent did all of the work."""
    limits: Mapped[dict[str, Any]] = mapped_column(default=dict)
    attached_file_keys: Mapped[list[str]] = mapped_column(default=list)
    start_diff_key: Mapped[str | None] = mapped_column(String(1000))
    """The cumulative diff that this session builds on, fixed when the session was created. None: the base itself."""
    base_deploy_id: Mapped[str | None] = mapped_column(String(200))
    continues_session_id: Mapped[uuid.UUID | None]
    """The session whose conversation this one continues: the one before it, or the head after a revert. No foreign
    key: SQLite would have to copy the table to add one."""

    may_ask: Mapped[bool] = mapped_column(default=True, server_default=sa.true())
    """Whether its agent may end with questions to a person."""
    quotes_others: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether its prompt quotes what others than the user wrote. Then it has no effect on the forge, as the words of an
    agent have none."""
    requested_by: Mapped[str | None] = mapped_column(String(200))
    """Who asked for it on the forge, by the name there. None: its user did."""

    result: Mapped[str | None] = mapped_column(Text)
    questions: Mapped[list[dict[str, Any]] | None]
    """What its agent asked in the end: the text of each question, and the answers to choose from."""
    current_task: Mapped[str | None] = mapped_column(String(500))
    reported_stage: Mapped[Stage | None] = mapped_column("stage", StateType(Stage))
    """What the worker of the running attempt said last. None from one of an older release, which does not say it."""
    failure: Mapped[dict[str, Any] | None]
    duration: Mapped[int | None]
    """Milliseconds from the claim to the end, or what an external worker reports."""
    steps_count: Mapped[int] = mapped_column(default=0)
    text_bytes: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    """The size of its prompt, and of the steps and results of all its attempts. It counts to what the account stores."""
    usage: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime.datetime | None]
    done_at: Mapped[datetime.datetime | None]
    base_sha: Mapped[str | None] = mapped_column(String(64))
    commit_sha: Mapped[str | None] = mapped_column(String(64))
    result_branch: Mapped[str | None] = mapped_column(String(255))
    is_discarded: Mapped[bool] = mapped_column(default=False)
    result_diff_key: Mapped[str | None] = mapped_column(String(1000))
    cumulative_diff_key: Mapped[str | None] = mapped_column(String(1000))
    contains_secret: Mapped[bool] = mapped_column(default=False)
    native_session_id: Mapped[str | None] = mapped_column(String(100))
    """The agent's own id of its session, if what it remembers of it is stored."""
    agent_version: Mapped[str | None] = mapped_column(String(100))
    conversation_key: Mapped[str | None] = mapped_column(String(1000))
    """What the agent remembers of its session."""
    work_saved_at: Mapped[datetime.datetime | None]
    """When the work of a session was stored after the session had ended. It is stored only once."""
    attempt_ended_at: Mapped[datetime.datetime | None]
    """When the worker of a session that was stopped said that it has ended, with work or without."""

    waiting_until: Mapped[datetime.datetime | None]
    """When a session that is NEW is dispatched again, because its model accepts no calls until then. None: it does not wait."""
    waiting_since: Mapped[datetime.datetime | None]
    """When it began to wait for the first time. The next attempts continue from the work so far."""

    task_id: Mapped[str | None] = mapped_column(String(64))
    """The Celery task of the latest attempt, which a stop revokes. None for an external worker's attempt."""

    user: Mapped[User] = relationship(lazy="joined")

    @property
    def goes_on(self) -> bool:
        """Whether an earlier attempt left its work, its usage and its conversation to the next one."""
        return self.waiting_since is not None

    @property
    def agents(self) -> tuple[str, ...]:
        """The agent that began, and the one that took over, if one did."""
        return (self.agent, self.taken_over_by["agent"]) if self.taken_over_by else (self.agent,)

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def stage(self) -> Stage | None:
        if self.state == SessionState.NEW:
            return Stage.QUEUED
        return self.reported_stage if self.state == SessionState.RUNNING else None

    @property
    def was_stopped(self) -> bool:
        is_over_budget = self.state == SessionState.ERROR and (self.failure or {}).get("code") == "budget_limit"
        return self.state == SessionState.CANCELLED or is_over_budget

    def takes_reports_of(self, attempt: int | None) -> bool:
        """Whether that attempt has something to report: it is running, or ended before its work was stored."""
        return attempt == self.attempt and (self.state == SessionState.RUNNING or self.takes_late_work)

    @property
    def takes_late_work(self) -> bool:
        """Whether the session ended in a way that leaves work to be stored, and none has been stored yet."""
        return self.state in (SessionState.CANCELLED, SessionState.ERROR) and self.work_saved_at is None

    @property
    def has_result_diff(self) -> bool:
        return self.result_diff_key is not None

    @property
    def has_cumulative_diff(self) -> bool:
        return self.cumulative_diff_key is not None

    @property
    def agent_config(self) -> dict[str, str | None]:
        return {"agent": self.agent, "model": self.model, "effort": self.effort}


class SessionFile(Base):
    """A stored file that a session uses, so that it must not be deleted: one that was uploaded, or the content of a file of
    Git LFS that it added."""

    __tablename__ = "session_files"

    session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agent_runner_sessions.id"), index=True)
    file_key: Mapped[str] = mapped_column(String(1000), index=True)
