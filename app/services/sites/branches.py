"""The branches of a site's repository, and which files it says are generated, as a worker found them when it fetched the
repository last."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from app import db
from app.models import SiteBranches
from app.models.states import Scope
from app.services import lookup
from app.services.callers import Caller

MOST_FOUND = 100


@dataclass(frozen=True)
class Found:
    """Some branches, and when they were listed: None if no worker has fetched the repository yet."""

    names: list[str]
    listed_at: datetime.datetime | None


def find(caller: Caller, site_id: uuid.UUID, text: str) -> Found:
    """The branches of a site whose names contain `text`, in any case: those that begin with it first."""
    caller.require(Scope.READ)
    site = lookup.get_site(caller, site_id)
    row = db.session.scalar(sa.select(SiteBranches).where(SiteBranches.site_id == site.id))
    if row is None:
        return Found([], None)
    wanted = text.lower()
    matching = [name for name in row.names if wanted in name.lower()]
    matching.sort(key=lambda name: (name != site.default_branch, not name.lower().startswith(wanted)))
    return Found(matching[:MOST_FOUND], row.listed_at)


def find_generated(caller: Caller, site_id: uuid.UUID) -> list[str]:
    """The patterns of a site's generated files, as the `.gitattributes` of its branch has them. One with a `!` before it
    is of files that are not generated. The last one that matches decides."""
    caller.require(Scope.READ)
    site = lookup.get_site(caller, site_id)
    row = db.session.scalar(sa.select(SiteBranches).where(SiteBranches.site_id == site.id))
    return (row.generated if row else None) or []


def record(site_id: uuid.UUID, names: Sequence[str], generated: Sequence[str] = ()) -> None:
    """Record the branches, and the patterns of generated files, that a worker found now."""
    # Several hosts fetch the same site.
    lookup.lock_site(site_id)
    row = db.session.scalar(sa.select(SiteBranches).where(SiteBranches.site_id == site_id))
    if row is None:
        row = SiteBranches(site_id=site_id)
        db.session.add(row)
    row.names, row.generated, row.listed_at = list(names), list(generated), db.now()
