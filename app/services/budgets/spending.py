"""Counts what sessions use, by site, user, schedule and day, while they run. An attempt reports totals, so what it adds is the difference."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import db
from app.models import AgentRunnerSession, Spending, SubjectSpending


@dataclass(frozen=True)
class Payers:
    """Whose budgets a session uses."""

    account_id: uuid.UUID
    site_id: uuid.UUID
    user_id: uuid.UUID
    """The user who requested it."""
    schedule_id: uuid.UUID | None
    """The schedule that created its runner, if one did."""

    @classmethod
    def of(cls, session: AgentRunnerSession) -> Payers:
        return cls(session.account_id, session.site_id, session.user_id, session.schedule_id)


def count(payers: Payers, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
    """Count what the usage `after` adds to the one `before`. The session's runner is locked, so none is counted twice."""
    old, new = _numbers(before), _numbers(after)
    added = {name: new[name] - old[name] for name in new}
    if not any(added.values()):
        return
    _add(Spending, "site_id", [payers.site_id], payers.account_id, added)
    subjects = [each for each in (payers.user_id, payers.schedule_id) if each is not None]
    # In one order, so that two transactions do not wait for each other.
    _add(SubjectSpending, "subject_id", sorted(subjects), payers.account_id, added)


def _add(
    table: type[Spending] | type[SubjectSpending],
    key: str,
    ids: Sequence[uuid.UUID],
    account_id: uuid.UUID,
    added: Mapping[str, float],
) -> None:
    row = {"created_at": db.now(), "account_id": account_id, "day": db.today(), **added}
    insert = db.insert(table).values([{"id": db.new_id(), key: each, **row} for each in ids])
    sums = {name: getattr(table, name) + number for name, number in added.items()}
    index = [table.account_id, table.day, getattr(table, key)]
    db.session.execute(insert.on_conflict_do_update(index_elements=index, set_=sums))


def _numbers(usage: Mapping[str, Any] | None) -> dict[str, float]:
    given = usage or {}
    tokens = (given.get("input_tokens") or 0) + (given.get("output_tokens") or 0)
    cost = given.get("cost_usd")
    return {"cost_usd": cost or 0.0, "tokens": tokens, "unpriced_tokens": tokens if cost is None else 0}
