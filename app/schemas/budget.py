"""Budgets in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import BudgetPeriod
from app.schemas.base import Body, Schema
from app.schemas.choices import Choice
from app.schemas.fields import Amount, Cost, Moment, Reference, Whole

_MOST_TOKENS = 10**15


class UpdateBudgetBody(Body):
    """What can be changed about a budget."""

    max_cost_usd = Amount(above=0, allow_none=True, metadata={"description": "The most US dollars in a period."})
    max_tokens = Whole(
        least=1, most=_MOST_TOKENS, allow_none=True, metadata={"description": "The most tokens, read and written."}
    )


class CreateBudgetBody(UpdateBudgetBody):
    """How much sessions may use in a period. At least one limit is required."""

    period = Choice(BudgetPeriod, required=True)
    site_id = Reference(
        allow_none=True,
        load_default=None,
        metadata={"description": "The site that it is for. At most one of these three."},
    )
    user_id = Reference(
        allow_none=True, load_default=None, metadata={"description": "The user whose sessions it is for."}
    )
    schedule_id = Reference(
        allow_none=True, load_default=None, metadata={"description": "The schedule whose runners it is for."}
    )


class BudgetSchema(Schema):
    """A budget, and what is used of it."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True, allow_none=True)
    user_id = fields.UUID(required=True, allow_none=True)
    schedule_id = fields.UUID(required=True, allow_none=True)
    period = Choice(BudgetPeriod, required=True)
    max_cost_usd = Cost(required=True, allow_none=True)
    max_tokens = fields.Integer(required=True, allow_none=True)
    used_cost_usd = Cost(required=True, allow_none=True)
    used_tokens = fields.Integer(required=True)
    unpriced_tokens = fields.Integer(required=True)
    left_cost_usd = Cost(required=True, allow_none=True)
    left_tokens = fields.Integer(required=True, allow_none=True)
    is_exhausted = fields.Boolean(required=True)
    period_start = Moment(required=True)
    period_end = Moment(required=True)
    updated_by = fields.UUID(required=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
