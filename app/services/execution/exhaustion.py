"""Ends running sessions once a budget that they use is used up, and warns before that."""

from __future__ import annotations

from collections.abc import Sequence

from app.models import AgentRunner, AgentRunnerSession
from app.models.states import SessionState
from app.services import events, lookup
from app.services.budgets import sums
from app.services.budgets.spending import Payers
from app.services.budgets.sums import Standing
from app.services.execution import lifecycle, progress
from app.services.execution.outcomes import Failure


def end_if_exhausted(runner: AgentRunner, session: AgentRunnerSession) -> bool:
    """End a locked session that is RUNNING if nothing is left of a budget. Its worker may still save its work."""
    return _act(runner, session, sums.of_payers(Payers.of(session)))


def check(session: AgentRunnerSession) -> None:
    """Do that for a session, as it was read earlier, whose usage was recorded in this transaction."""
    standings = sums.of_payers(Payers.of(session))
    if any(each.is_nearly_exhausted for each in standings):
        locked = lookup.lock_session(session.id)
        assert locked is not None
        _act(*locked, standings)


def _act(runner: AgentRunner, session: AgentRunnerSession, standings: Sequence[Standing]) -> bool:
    if session.state != SessionState.RUNNING:
        return False
    for each in standings:
        if each.is_nearly_exhausted and sums.claim_warning(each):
            _warn(runner, session, each)
    exhausted = sums.first_exhausted(standings)
    if exhausted is None:
        return False
    progress.add_step(runner, session, "A budget is used up", exhausted.message)
    session.failure = Failure("budget_limit", "agent", retryable=False, message=exhausted.message).to_json()
    lifecycle.enter(runner, session, SessionState.ERROR)
    return True


def _warn(runner: AgentRunner, session: AgentRunnerSession, standing: Standing) -> None:
    budget, message = standing.budget, f"{standing.name}: {standing.used} are used."
    progress.add_step(runner, session, "Most of a budget is used", message)
    payload = events.budget_payload(budget.kind, message, budget.id, budget.period)
    events.record(runner, session, events.BUDGET, payload)
