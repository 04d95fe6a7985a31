"""Which sites are in use."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, Site
from app.models.states import Execution

_RECENT_SECONDS = 86_400.0


def find_recently_used(at_most: int) -> Sequence[Site]:
    """The sites that were created, changed or given a prompt within a day, and whose sessions run on our workers.

    Those that were used last come first.
    """
    prompted = (
        sa.select(sa.func.max(AgentRunner.last_session_created_at))
        .where(AgentRunner.account_id == Site.account_id, AgentRunner.site_id == Site.id)
        .scalar_subquery()
    )
    used_at = sa.case((prompted > Site.updated_at, prompted), else_=Site.updated_at)
    return db.session.scalars(
        sa.select(Site)
        .where(Site.deleted_at.is_(None), Site.execution == Execution.INTERNAL, used_at > db.now(-_RECENT_SECONDS))
        .order_by(used_at.desc(), Site.id)
        .limit(at_most)
    ).all()
