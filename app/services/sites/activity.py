"""Which sites are in use, and which are not any more."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, Site
from app.models.states import Execution

_RECENT_SECONDS = 86_400.0
_QUERIED = 1000


def find_recently_used(at_most: int) -> Sequence[Site]:
    """The sites that were created, changed or given a prompt within a day, and whose sessions run on our workers.

    Of each account the one that was used last comes first, then the next ones.
    """
    prompted = (
        sa.select(sa.func.max(AgentRunner.last_session_created_at))
        .where(AgentRunner.account_id == Site.account_id, AgentRunner.site_id == Site.id)
        .scalar_subquery()
    )
    used_at = sa.case((prompted > Site.updated_at, prompted), else_=Site.updated_at)
    turn = sa.func.row_number().over(partition_by=Site.account_id, order_by=(used_at.desc(), Site.id))
    return db.session.scalars(
        sa.select(Site)
        .where(Site.deleted_at.is_(None), Site.execution == Execution.INTERNAL, used_at > db.now(-_RECENT_SECONDS))
        .order_by(turn, used_at.desc(), Site.id)
        .limit(at_most)
    ).all()


def find_deleted(ids: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    """Those of the sites that were deleted more than a day ago. No attempt or publication lasts that long."""
    wanted = sorted(ids)
    found: list[uuid.UUID] = []
    for start in range(0, len(wanted), _QUERIED):
        among = Site.id.in_(wanted[start : start + _QUERIED])
        found += db.session.scalars(sa.select(Site.id).where(among, Site.deleted_at < db.now(-_RECENT_SECONDS)))
    return found
