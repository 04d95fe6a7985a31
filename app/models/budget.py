"""Budgets on sums, and what was spent. Days and months are those of UTC."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa
from sqlalchemy import Float, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, StateType, Updated
from app.models.states import BudgetPeriod

IS_OF_SITE, IS_OF_USER, IS_OF_SCHEDULE = (
    sa.text(f"{name} IS NOT NULL") for name in ("site_id", "user_id", "schedule_id")
)
IS_OF_ACCOUNT = sa.text("site_id IS NULL AND user_id IS NULL AND schedule_id IS NULL")


class Budget(Updated, Base):
    """The most that all sessions of an account, or of one site, user or schedule, may use in a period."""

    __tablename__ = "budgets"
    __table_args__ = (
        Index(
            "ix_budgets_of_account",
            *("account_id", "period"),
            unique=True,
            sqlite_where=IS_OF_ACCOUNT,
            postgresql_where=IS_OF_ACCOUNT,
        ),
        Index(
            "ix_budgets_of_site",
            *("site_id", "period"),
            unique=True,
            sqlite_where=IS_OF_SITE,
            postgresql_where=IS_OF_SITE,
        ),
        Index(
            "ix_budgets_of_user",
            *("account_id", "user_id", "period"),
            unique=True,
            sqlite_where=IS_OF_USER,
            postgresql_where=IS_OF_USER,
        ),
        Index(
            "ix_budgets_of_schedule",
            *("schedule_id", "period"),
            unique=True,
            sqlite_where=IS_OF_SCHEDULE,
            postgresql_where=IS_OF_SCHEDULE,
        ),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"), index=True)
    site_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("sites.id"))
    """At most one of this and the next two is set. None of them: it is for the account as a whole."""
    user_id: Mapped[uuid.UUID | None]
    schedule_id: Mapped[uuid.UUID | None]
    """These have no foreign keys: SQLite would have to copy the table to add one."""
    period: Mapped[BudgetPeriod] = mapped_column(StateType(BudgetPeriod))
    max_cost_usd: Mapped[float | None] = mapped_column(Float)
    max_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    updated_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    warned_of: Mapped[datetime.date | None] = mapped_column(sa.Date)
    """The beginning of the period for which a session has said that most of the budget is used."""

    @property
    def subject_id(self) -> uuid.UUID | None:
        """The user or the schedule that it is for."""
        return self.user_id or self.schedule_id

    @property
    def kind(self) -> str:
        """Whose it is, in a word."""
        if self.site_id is not None:
            return "site"
        return "user" if self.user_id else "schedule" if self.schedule_id else "account"


class Spending(Base):
    """What the sessions of a site used on one day."""

    __tablename__ = "spendings"
    __table_args__ = (UniqueConstraint("account_id", "day", "site_id"),)

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    site_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sites.id"))
    day: Mapped[datetime.date] = mapped_column(sa.Date)
    cost_usd: Mapped[float] = mapped_column(Float, default=0.0)
    tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    unpriced_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Those of `tokens` whose cost is not known."""


class SubjectSpending(Base):
    """What the sessions of one user, or of one schedule, used on one day."""

    __tablename__ = "subject_spendings"
    __table_args__ = (UniqueConstraint("account_id", "day", "subject_id"),)

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    subject_id: Mapped[uuid.UUID]
    day: Mapped[datetime.date] = mapped_column(sa.Date)
    cost_usd: Mapped[float] = mapped_column(Float, default=0.0)
    tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    unpriced_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Those of `tokens` whose cost is not known."""
