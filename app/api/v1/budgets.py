"""Budgets of the account, its sites, users and schedules: `/budgets`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import examples, paging
from app.api.auth import caller
from app.api.blueprint import Blueprint, empty
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.transactions import reading, writing
from app.schemas.budget import BudgetSchema, CreateBudgetBody, UpdateBudgetBody
from app.services.budgets import budgets
from app.services.budgets.budgets import BudgetFields, Whose
from app.services.budgets.sums import Standing

blp = Blueprint("Budgets", __name__, description="How much sessions may use together.", url_prefix="/api/v1/budgets")
_SHOWN = (
    *("used_cost_usd", "unpriced_tokens", "left_cost_usd", "left_tokens"),
    *("is_exhausted", "period_start", "period_end"),
)


def _view(found: Standing) -> RowView:
    return RowView(found.budget, used_tokens=found.tokens, **{name: getattr(found, name) for name in _SHOWN})


@blp.route("")
class Budgets(MethodView):
    @reading
    @blp.operation("listBudgets")
    @blp.response(200, BudgetSchema(many=True), example=[examples.BUDGET])
    def get(self) -> Any:
        """List the budgets of the account and its sites, users and schedules.

        Each with what is used of it in the day or month in progress, and what is left.
        """
        return [_view(each) for each in budgets.find(caller())]

    @idempotent()
    @blp.operation("createBudget", conflict="`budget_exists`")
    @blp.arguments(CreateBudgetBody, example=examples.CREATE_BUDGET)
    @blp.response(201, BudgetSchema, example=examples.BUDGET)
    def post(self, fields: dict[str, Any]) -> Any:
        """Create a budget.

        What sessions used earlier in the period counts. Once nothing is left, new sessions are refused with
        `budget_exhausted`, and running ones end with `budget_limit`.
        """
        whose = Whose(**{name: fields.pop(name) for name in ("site_id", "user_id", "schedule_id")})
        found = budgets.create(caller(), whose, fields.pop("period"), BudgetFields(**fields))
        return _view(found), {"Location": paging.public_url(f"/budgets/{found.budget.id}")}


@blp.route("/<uuid:budget_id>")
class Budget(MethodView):
    @reading
    @blp.operation("getBudget")
    @blp.response(200, BudgetSchema, example=examples.BUDGET)
    def get(self, budget_id: uuid.UUID) -> Any:
        """Get a budget.

        With what is used of it in the day or month in progress, and what is left.
        """
        return _view(budgets.get(caller(), budget_id))

    @writing
    @blp.operation("updateBudget")
    @blp.arguments(UpdateBudgetBody, example={"max_cost_usd": 300.0}, required=False)
    @blp.response(200, BudgetSchema, example=examples.BUDGET)
    def patch(self, fields: dict[str, Any], budget_id: uuid.UUID) -> Any:
        """Change a budget.

        Fields that are left out stay as they are. Null removes a limit, but not the last one.
        """
        return _view(budgets.update(caller(), budget_id, BudgetFields(**fields)))

    @writing
    @blp.operation("deleteBudget")
    @blp.response(204)
    def delete(self, budget_id: uuid.UUID) -> Response:
        """Delete a budget.

        What sessions use is still counted, for a budget that is created later.
        """
        budgets.delete(caller(), budget_id)
        return empty(204)
