"""What the engine gets of a session."""

from __future__ import annotations

import dataclasses

from app.models.limits import LIMIT_NAMES, SessionLimits
from app.schemas.agent_runner import LimitsBody, LimitsSchema
from tasks.jobs.session_jobs import limits_of
from workers.job import Limits


def test_limits_that_a_later_release_stored_are_ignored() -> None:
    stored = {"max_duration_seconds": 60, "max_cost_usd": None, "max_tokens": 5, "max_from_a_later_release": 1}
    limits = limits_of(SessionLimits.stored(stored))
    assert (limits.max_duration_seconds, limits.max_cost_usd, limits.max_tokens) == (60, None, 5)
    assert limits_of(SessionLimits.stored({"max_duration_seconds": 60})).max_tokens is None


def test_each_limit_that_a_caller_may_choose_is_known_from_the_api_to_the_engine() -> None:
    assert set(LimitsBody().fields) == set(LimitsSchema().fields) == set(LIMIT_NAMES)
    assert set(LIMIT_NAMES) <= {field.name for field in dataclasses.fields(Limits)}
