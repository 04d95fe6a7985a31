"""The agents that this deployment can run. Session workers report what they find on their hosts; others can only read it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import HostAgent
from app.models.states import Scope
from app.services.callers import Caller
from app.services.runners.session_configuration import RUN_SCRIPTS

_VERSION_CHARACTERS = 100
SANDBOX = "(sandbox)"
"""What hosts report their sandbox as, next to their agents. No agent has such a name."""


@dataclass(frozen=True)
class Found:
    """What a host has of an agent. `missing` says what it lacks, and `has_key` is None if the agent needs no key."""

    name: str
    missing: str | None
    version: str | None
    has_key: bool | None


@dataclass(frozen=True)
class Available:
    """An agent that callers may use, as all hosts together have it. Without a report, most is None."""

    name: str
    takes_plain_language: bool
    available: bool | None
    version: str | None
    missing: str | None
    has_key: bool | None
    hosts: int
    reported_at: datetime.datetime | None


def report(host: str, found: Iterable[Found]) -> None:
    """Replace what is recorded of a host."""
    kept = []
    for each in found:
        version = each.version and each.version[:_VERSION_CHARACTERS]
        values = {"version": version, "missing": each.missing, "has_key": each.has_key, "reported_at": db.now()}
        insert = db.insert(HostAgent).values(host=host, name=each.name, **values)
        db.session.execute(insert.on_conflict_do_update(index_elements=[HostAgent.host, HostAgent.name], set_=values))
        kept.append(each.name)
    db.session.execute(sa.delete(HostAgent).where(HostAgent.host == host, HostAgent.name.not_in(kept)))


def overview(caller: Caller) -> list[Available]:
    """The agents of `AGENT_RUNNERS_AGENTS`, in their order."""
    caller.require(Scope.READ)
    names = list(dict.fromkeys(settings().agents))
    query = sa.select(HostAgent).where(HostAgent.name.in_(names)).order_by(HostAgent.reported_at.desc())
    reports = db.session.scalars(query).all()
    return [_together(name, [each for each in reports if each.name == name]) for name in names]


def _together(name: str, reports: Sequence[HostAgent]) -> Available:
    """The newest report of a host that can run the agent, or else the newest of all."""
    usable = [each for each in reports if each.missing is None and each.has_key is not False]
    shown = next(iter([*usable, *reports]), None)
    return Available(
        name=name,
        takes_plain_language=name not in RUN_SCRIPTS,
        available=bool(usable) if reports else None,
        version=shown.version if shown else None,
        missing=shown.missing if shown else None,
        has_key=shown.has_key if shown else None,
        hosts=len(usable),
        reported_at=shown.reported_at if shown else None,
    )
