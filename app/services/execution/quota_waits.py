"""Sessions that wait until their model accepts calls again, where the site has `on_quota: wait`.

Such a session is NEW meanwhile: it holds no worker and no place in a limit, and can be stopped like any other. What it
did until then is kept, and its next attempt continues from there.
"""

from __future__ import annotations

import datetime

from app.config import settings
from app.models import AgentRunner, AgentRunnerSession
from app.models.states import OnQuota
from app.services.execution import lifecycle, progress
from app.services.execution.outcomes import Outcome

_CODES = ("quota", "agent_rate_limited", "model_unavailable")
_TITLE = "Waiting for the model"


def begin(runner: AgentRunner, session: AgentRunnerSession, outcome: Outcome) -> bool:
    """Requeue a locked session whose attempt failed for a quota, if it is to wait. Returns whether it does."""
    failure = outcome.failure
    if failure is None or failure.code not in _CODES or runner.site.on_quota != OnQuota.WAIT:
        return False
    assert session.locked_at is not None
    since = session.waiting_since or session.locked_at
    last = since + datetime.timedelta(seconds=settings().max_quota_wait_seconds)
    # Where the provider named no time, each wait is as long as all before it together: an attempt may cost.
    named = failure.retry_at or min(session.locked_at + (session.locked_at - since), last)
    until = max(named, session.locked_at + datetime.timedelta(seconds=settings().quota_retry_seconds))
    if until > last:
        message = (
            f"The session does not wait: {until:%Y-%m-%d %H:%M} UTC is later than this deployment allows "
            "(AGENT_RUNNERS_MAX_QUOTA_WAIT_SECONDS)."
        )
        progress.add_step(runner, session, _TITLE, message)
        return False
    outcome.work.write(session)
    message = f"It continues at {until:%Y-%m-%d %H:%M} UTC. Stop it if you do not want to wait.\n{failure.message}"
    progress.add_step(runner, session, _TITLE, message)
    session.waiting_since, session.waiting_until = since, until
    lifecycle.requeue(runner, session)
    return True
