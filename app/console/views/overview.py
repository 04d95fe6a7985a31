"""Numbers of the account: its sessions by day, agent and site, and what runs now."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response, request

from app import db
from app.console.access import caller
from app.console.blueprint import bp, page
from app.services import agents
from app.services.accounts import activity
from app.services.accounts import overview as accounts
from app.services.accounts.activity import Totals

PERIODS = (7, 30, 90)


@bp.get("/overview")
def overview() -> Response:
    days = request.args.get("days", 30, int)
    days = days if days in PERIODS else 30
    with db.transaction(read_only=True):
        found = activity.find(caller(), days)
        account = accounts.account(caller())
        available = agents.overview(caller())
    return page(
        "overview.html",
        found=found,
        by_day=[(date.isoformat(), totals) for date, totals in reversed(found.days.items()) if totals.sessions],
        by_agent=_most_first(found.agents.items()),
        by_site=_most_first((found.site_names[site_id], totals) for site_id, totals in found.sites.items()),
        account=account,
        agents=available,
        days=days,
        periods=PERIODS,
    )


def _most_first(rows: Iterable[tuple[str, Totals]]) -> list[tuple[str, Totals]]:
    return sorted(rows, key=lambda each: each[1].sessions, reverse=True)
