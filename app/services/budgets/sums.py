"""What is used of budgets, and what is refused once nothing is left."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from app import db
from app.errors import TooMany
from app.models import Budget, Spending, SubjectSpending
from app.models.states import BudgetPeriod
from app.services.budgets.spending import Payers

MOST = 0.8
"""The share of a limit at which a session warns."""


@dataclass(frozen=True)
class Standing:
    """A budget, and what is used of it in the period that is in progress."""

    budget: Budget
    now: datetime.datetime
    cost_usd: float
    tokens: int
    unpriced_tokens: int

    @property
    def used_cost_usd(self) -> float | None:
        """None if tokens were used and the cost of none of them is known."""
        return None if self.unpriced_tokens and not self.cost_usd else self.cost_usd

    @property
    def left_cost_usd(self) -> float | None:
        most = self.budget.max_cost_usd
        return None if most is None else max(most - self.cost_usd, 0.0)

    @property
    def left_tokens(self) -> int | None:
        most = self.budget.max_tokens
        return None if most is None else max(most - self.tokens, 0)

    @property
    def is_exhausted(self) -> bool:
        return self.left_cost_usd == 0 or self.left_tokens == 0

    @property
    def is_nearly_exhausted(self) -> bool:
        """Whether at least `MOST` of a limit is used."""
        budget = self.budget
        of_cost = budget.max_cost_usd is not None and self.cost_usd >= MOST * budget.max_cost_usd
        return of_cost or (budget.max_tokens is not None and self.tokens >= MOST * budget.max_tokens)

    @property
    def period_start(self) -> datetime.datetime:
        return _start(self.budget.period, self.now)

    @property
    def period_end(self) -> datetime.datetime:
        """The beginning of the next period."""
        longer = datetime.timedelta(days=1 if self.budget.period == BudgetPeriod.DAY else 31)
        return _start(self.budget.period, self.period_start + longer)

    @property
    def message(self) -> str:
        """Why nothing can run, and what to do."""
        return f"{self.name} is used up: {self.used}. Raise it, or wait until {self.period_end:%Y-%m-%d} (UTC)."

    @property
    def name(self) -> str:
        """Such as "The budget of the site for this month"."""
        return f"The budget of the {self.budget.kind} for this {self.budget.period.value}"

    @property
    def used(self) -> str:
        """What is used of each limit, in words."""
        return " and ".join(self._used())

    def _used(self) -> Iterator[str]:
        if self.budget.max_cost_usd is not None:
            yield f"{self.cost_usd:.4g} of {self.budget.max_cost_usd:.4g} US dollars"
        if self.budget.max_tokens is not None:
            yield f"{self.tokens:,} of {self.budget.max_tokens:,} tokens"


def of_account(account_id: uuid.UUID) -> list[Standing]:
    """All budgets of the account: its own first, then those of its sites, users and schedules."""
    parts = (Budget.schedule_id, Budget.user_id, Budget.site_id)
    order = (*(each.is_not(None) for each in parts), *parts, Budget.period)
    return _standings(sa.select(Budget).where(Budget.account_id == account_id).order_by(*order))


def of_payers(payers: Payers) -> list[Standing]:
    """The budgets that a session uses."""
    of_account = sa.and_(Budget.site_id.is_(None), Budget.user_id.is_(None), Budget.schedule_id.is_(None))
    mine = [of_account, Budget.site_id == payers.site_id, Budget.user_id == payers.user_id]
    if payers.schedule_id is not None:
        mine.append(Budget.schedule_id == payers.schedule_id)
    return _standings(sa.select(Budget).where(Budget.account_id == payers.account_id, sa.or_(*mine)))


def first_exhausted(standings: Iterable[Standing]) -> Standing | None:
    """The one that keeps sessions from running, if any does. Of several, the one whose period ends last."""
    return max((each for each in standings if each.is_exhausted), key=lambda each: each.period_end, default=None)


def claim_warning(standing: Standing) -> bool:
    """Whether to warn that most of the budget is used: once in a period, however many sessions ask."""
    budget, period = standing.budget, standing.period_start.date()
    unwarned = sa.or_(Budget.warned_of.is_(None), Budget.warned_of != period)
    claim = sa.update(Budget).where(Budget.id == budget.id, unwarned).values(warned_of=period)
    unchanged = claim.execution_options(synchronize_session=False)
    return db.session.scalar(unchanged.returning(Budget.id)) is not None


def refuse_exhausted(payers: Payers) -> None:
    """Raise `TooMany` if a budget that a session would use is used up."""
    exhausted = first_exhausted(of_payers(payers))
    if exhausted is not None:
        seconds = (exhausted.period_end - exhausted.now).total_seconds()
        headers = {"Retry-After": str(max(round(seconds), 1))}
        raise TooMany(exhausted.message, error_code="budget_exhausted", headers=headers)


def _standings(query: sa.Select[Budget]) -> list[Standing]:
    rows = db.session.execute(query.add_columns(db.now())).all()
    if not rows:
        return []
    now, account_id = rows[0][1], rows[0][0].account_id
    spent = {
        period: _sums(account_id, _start(period, now).date(), [row[0] for row in rows if row[0].period == period])
        for period in {row[0].period for row in rows}
    }
    return [_standing(budget, now, spent[budget.period]) for budget, _ in rows]


def _sums(account_id: uuid.UUID, since: datetime.date, budgets: Sequence[Budget]) -> Sequence[Any]:
    """The sums of each site, and where a budget is about them of each user or schedule: a query on a range of an index."""
    found = list(_sums_of(Spending, Spending.site_id, account_id, since))
    if subjects := [each.subject_id for each in budgets if each.subject_id is not None]:
        of_subject = SubjectSpending.subject_id
        found += _sums_of(SubjectSpending, of_subject, account_id, since, of_subject.in_(subjects))
    return found


def _sums_of(
    table: type[Spending] | type[SubjectSpending],
    key: orm.InstrumentedAttribute[uuid.UUID],
    account_id: uuid.UUID,
    since: datetime.date,
    *more: sa.ColumnElement[bool],
) -> Sequence[Any]:
    numbers = [sa.func.sum(each).label(each.key) for each in (table.cost_usd, table.tokens, table.unpriced_tokens)]
    is_site = sa.literal(table is Spending, sa.Boolean()).label("is_site")
    query = sa.select(key.label("whose"), is_site, *numbers)
    query = query.where(table.account_id == account_id, table.day >= since, *more)
    return db.session.execute(query.group_by(key)).all()


def _standing(budget: Budget, now: datetime.datetime, spent: Sequence[Any]) -> Standing:
    whose = budget.site_id or budget.subject_id
    mine = [each for each in spent if (each.whose == whose if whose else each.is_site)]
    return Standing(
        budget,
        now,
        # What remains of differences of binary fractions is no cost.
        round(sum(each.cost_usd for each in mine), 9),
        int(sum(each.tokens for each in mine)),
        int(sum(each.unpriced_tokens for each in mine)),
    )


def _start(period: BudgetPeriod, moment: datetime.datetime) -> datetime.datetime:
    day = moment.astimezone(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if period == BudgetPeriod.DAY else day.replace(day=1)
