"""What an account's sessions did in the last days, for the console's overview."""

from __future__ import annotations

import datetime
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, AgentRunnerSession, Site
from app.models.states import PullRequestState, Scope, SessionState
from app.services.callers import Caller

MOST_SESSIONS = 10_000
_COLUMNS = ("state", "agent", "site_id", "created_at", "duration", "usage", "failure")


@dataclass
class Totals:
    """Sessions of a day, an agent or a site. `cost` is in US dollars, and None if none of them reported it."""

    sessions: int = 0
    done: int = 0
    failed: int = 0
    stopped: int = 0
    cost: float | None = None
    seconds: list[float] = field(default_factory=list)

    def add(self, row: Any) -> None:
        self.sessions += 1
        self.done += row.state == SessionState.DONE
        self.failed += row.state == SessionState.ERROR
        self.stopped += row.state == SessionState.CANCELLED
        cost = (row.usage or {}).get("cost_usd")
        if cost is not None:
            self.cost = round((self.cost or 0) + cost, 6)
        if row.duration is not None and row.state == SessionState.DONE:
            self.seconds.append(row.duration / 1000)

    def quantile(self, part: float) -> float | None:
        """The duration that this part of the sessions that were done did not exceed, in seconds."""
        if not self.seconds:
            return None
        return sorted(self.seconds)[min(int(part * len(self.seconds)), len(self.seconds) - 1)]


@dataclass
class Activity:
    """`is_cut`: there were more sessions than are counted, which are the newest ones."""

    days: dict[datetime.date, Totals]
    total: Totals = field(default_factory=Totals)
    agents: dict[str, Totals] = field(default_factory=dict)
    sites: dict[uuid.UUID, Totals] = field(default_factory=dict)
    site_names: dict[uuid.UUID, str] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    pull_requests: int = 0
    merged: int = 0
    is_cut: bool = False


def find(caller: Caller, days: int) -> Activity:
    """The sessions that the account created in the last days, today included, by the days of UTC."""
    caller.require(Scope.READ)
    today = datetime.datetime.now(datetime.UTC).date()
    dates = [today - datetime.timedelta(days=back) for back in range(days - 1, -1, -1)]
    since = datetime.datetime.combine(dates[0], datetime.time(), datetime.UTC)
    found = Activity({date: Totals() for date in dates})
    rows = _sessions(caller, since)
    found.is_cut = len(rows) > MOST_SESSIONS
    for row in rows[:MOST_SESSIONS]:
        day = found.days.get(row.created_at.date())
        agent = found.agents.setdefault(row.agent, Totals())
        site = found.sites.setdefault(row.site_id, Totals())
        for totals in (found.total, agent, site, *([day] if day else [])):
            totals.add(row)
        if row.state == SessionState.ERROR:
            found.failures[(row.failure or {}).get("code", "unknown")] += 1
    names = sa.select(Site.id, Site.name).where(Site.id.in_(found.sites))
    found.site_names = {row.id: row.name for row in db.session.execute(names)}
    found.pull_requests, found.merged = _pull_requests(caller, since)
    return found


def _sessions(caller: Caller, since: datetime.datetime) -> list[Any]:
    session = AgentRunnerSession
    query = sa.select(*(getattr(session, name) for name in _COLUMNS))
    mine = (session.account_id == caller.account_id, session.created_at >= since)
    newest = query.where(*mine).order_by(session.created_at.desc()).limit(MOST_SESSIONS + 1)
    return list(db.session.execute(newest))


def _pull_requests(caller: Caller, since: datetime.datetime) -> tuple[int, int]:
    """How many runners with a session since then have a pull request, and a merged one."""
    mine = (AgentRunner.account_id == caller.account_id, AgentRunner.last_session_created_at >= since)
    newest = sa.select(AgentRunner.pr_state).where(*mine, AgentRunner.pr_state.is_not(None)).limit(MOST_SESSIONS)
    states = Counter(db.session.scalars(newest))
    return sum(states.values()), states[PullRequestState.MERGED]
