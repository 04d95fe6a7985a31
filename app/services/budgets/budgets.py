"""Operations on budgets: create, read, update, delete."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from app import db
from app.errors import Conflict, NotFound, invalid
from app.models import Budget, Schedule, User
from app.models.states import BudgetPeriod, Scope
from app.services import audit, lookup
from app.services.budgets import sums
from app.services.budgets.sums import Standing
from app.services.callers import Caller
from app.services.unset import UNSET, Unset


@dataclass(frozen=True, kw_only=True)
class BudgetFields:
    """The limits that a request sets. One that is left out keeps its value; None removes it."""

    max_cost_usd: float | Unset | None = UNSET
    max_tokens: int | Unset | None = UNSET


@dataclass(frozen=True, kw_only=True)
class Whose:
    """What a budget is for: one of these, or none for the account as a whole."""

    site_id: uuid.UUID | None = None
    user_id: uuid.UUID | None = None
    schedule_id: uuid.UUID | None = None


def create(caller: Caller, whose: Whose, period: BudgetPeriod, fields: BudgetFields) -> Standing:
    """Create a budget. What was used of the period before counts."""
    caller.require(Scope.ADMIN)
    _check(caller, whose)
    own = (Budget.account_id == caller.account_id, Budget.period == period)
    same = (getattr(Budget, name).is_not_distinct_from(each) for name, each in asdict(whose).items())
    if db.session.scalar(sa.select(Budget.id).where(*own, *same)) is not None:
        message = f"There is a budget by {period.value} here already. Change it, or delete it first."
        raise Conflict(message, error_code="budget_exists")
    budget = Budget(account_id=caller.account_id, period=period, **asdict(whose))
    _apply(caller, budget, fields, "budget.created")
    db.session.add(budget)
    db.session.flush()
    return get(caller, budget.id)


def _check(caller: Caller, whose: Whose) -> None:
    """Lock what the budget is for, or the account. Raises `NotFound`, and `Invalid` for more than one."""
    if sum(each is not None for each in asdict(whose).values()) > 1:
        message = "cannot be combined: give at most one of site_id, user_id and schedule_id"
        raise invalid("schedule_id" if whose.schedule_id else "user_id", message, error_code="budget_of_several")
    if whose.site_id is not None:
        lookup.get_site(caller, whose.site_id, lock=True)
        return
    lookup.lock_account(caller.account_id)
    if whose.user_id is not None:
        user = sa.select(User.id).where(User.id == whose.user_id, User.account_id == caller.account_id)
        if db.session.scalar(user) is None:
            raise NotFound("Your account has no user with this id.", error_code="user_not_found")
    if whose.schedule_id is not None:
        mine = (Schedule.id == whose.schedule_id, Schedule.account_id == caller.account_id)
        if db.session.scalar(sa.select(Schedule.id).where(*mine)) is None:
            raise NotFound("Your account has no schedule with this id.", error_code="schedule_not_found")


def find(caller: Caller) -> list[Standing]:
    """The budgets of the account and of its sites, users and schedules."""
    caller.require(Scope.READ)
    return sums.of_account(caller.account_id)


def get(caller: Caller, budget_id: uuid.UUID) -> Standing:
    """A budget of the account; raises `NotFound`."""
    found = next((each for each in find(caller) if each.budget.id == budget_id), None)
    if found is None:
        raise NotFound(
            "Your account has no budget with this id. GET /budgets lists them.", error_code="budget_not_found"
        )
    return found


def update(caller: Caller, budget_id: uuid.UUID, fields: BudgetFields) -> Standing:
    """Change the given limits and leave the other."""
    caller.require(Scope.ADMIN)
    _apply(caller, get(caller, budget_id).budget, fields, "budget.updated")
    db.session.flush()
    return get(caller, budget_id)


def delete(caller: Caller, budget_id: uuid.UUID) -> None:
    """Delete a budget. What was used is still counted."""
    caller.require(Scope.ADMIN)
    budget = get(caller, budget_id).budget
    audit.record(caller, "budget.deleted", budget.period.value, budget.site_id, **_subject(budget))
    db.session.delete(budget)


def _apply(caller: Caller, budget: Budget, fields: BudgetFields, action: str) -> None:
    given = {name: value for name, value in asdict(fields).items() if value is not UNSET}
    for name, value in given.items():
        setattr(budget, name, value)
    if budget.max_cost_usd is None and budget.max_tokens is None:
        message = "is required unless max_tokens is given: a budget limits at least one of them"
        raise invalid("max_cost_usd", message, error_code="limit_missing")
    budget.updated_by = caller.user_id
    audit.record(caller, action, budget.period.value, budget.site_id, **_subject(budget), **given)


def _subject(budget: Budget) -> dict[str, str]:
    return {f"{budget.kind}_id": str(budget.subject_id)} if budget.subject_id else {}
