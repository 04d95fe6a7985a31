"""Operations on schedules: create, read, update, delete."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from app.errors import Conflict, NotFound
from app.models import Budget, Schedule, Site
from app.models.states import Overlap, Scope
from app.services import lookup, pagination
from app.services.callers import Caller
from app.services.pagination import Listing, Page
from app.services.runners import run_settings
from app.services.runners.run_settings import RunFields
from app.services.schedules import times
from app.services.unset import UNSET, Unset

MOST_OF_A_SITE = 50
SHOWN_TIMES = 5
_TIMES = ("cron", "timezone", "active")


@dataclass(frozen=True, kw_only=True)
class ScheduleFields(RunFields):
    """The fields of a schedule that a request sets. One that is left out keeps its value, or has its default."""

    name: str | Unset = UNSET
    cron: str | Unset = UNSET
    timezone: str | Unset = UNSET
    overlap: Overlap | Unset = UNSET
    active: bool | Unset = UNSET


def create(caller: Caller, site_id: uuid.UUID, fields: ScheduleFields) -> Schedule:
    """Create a schedule. Its runners are created in the name of the caller's user."""
    caller.require(Scope.WRITE)
    run_settings.reserve_prompt(caller, fields)
    site = lookup.get_site(caller, site_id, lock=True)
    if db.session.scalars(sa.select(sa.func.count()).where(Schedule.site_id == site.id)).one() >= MOST_OF_A_SITE:
        message = f"The site has {MOST_OF_A_SITE} schedules, which is the limit. Delete one, or change it."
        raise Conflict(message, error_code="too_many_schedules")
    schedule = Schedule(
        account_id=caller.account_id,
        site_id=site.id,
        user_id=caller.user_id,
        name="",
        timezone="UTC",
        overlap=Overlap.SKIP,
        active=True,
    )
    _apply(site, schedule, fields)
    db.session.add(schedule)
    db.session.flush()
    return schedule


def get(caller: Caller, site_id: uuid.UUID, schedule_id: uuid.UUID, *, lock: bool = False) -> Schedule:
    """A schedule of the site; raises `NotFound`."""
    caller.require(Scope.READ)
    site = lookup.get_site(caller, site_id)
    query = sa.select(Schedule).where(Schedule.id == schedule_id, Schedule.site_id == site.id)
    schedule = db.session.scalar(lookup.locked(query, Schedule) if lock else query)
    if schedule is None:
        message = "The site has no schedule with this id. GET its schedules for a list."
        raise NotFound(message, error_code="schedule_not_found")
    return schedule


def find(caller: Caller, site_id: uuid.UUID, filters: dict[str, Any]) -> Page[Schedule]:
    """A page of the site's schedules, oldest first."""
    caller.require(Scope.READ)
    own = (Schedule.site_id == lookup.get_site(caller, site_id).id,)
    return pagination.find(Listing(Schedule, (Schedule.created_at, Schedule.id), [own]), filters)


def update(caller: Caller, site_id: uuid.UUID, schedule_id: uuid.UUID, fields: ScheduleFields) -> Schedule:
    """Change the given fields. A changed expression, or one that is made active again, counts from now on."""
    caller.require(Scope.WRITE)
    schedule = get(caller, site_id, schedule_id, lock=True)
    run_settings.reserve_prompt(caller, fields, schedule)
    _apply(lookup.get_site(caller, site_id), schedule, fields)
    db.session.flush()
    db.session.refresh(schedule)
    return schedule


def delete(caller: Caller, site_id: uuid.UUID, schedule_id: uuid.UUID) -> None:
    """Delete a schedule, and its budgets. Runners that it created stay."""
    caller.require(Scope.WRITE)
    db.session.delete(get(caller, site_id, schedule_id, lock=True))
    db.session.execute(sa.delete(Budget).where(Budget.schedule_id == schedule_id))


def next_times(schedule: Schedule) -> list[datetime.datetime]:
    """When it creates its next runners; none if it is not active."""
    if schedule.next_run_at is None:
        return []
    later = times.following(schedule.cron, schedule.timezone, schedule.next_run_at, SHOWN_TIMES - 1)
    return [schedule.next_run_at, *later]


def set_next_run(schedule: Schedule) -> None:
    """Set the next time after now. Times that passed while nothing was running are left out."""
    now = db.session.scalars(sa.select(db.now())).one()
    found = times.following(schedule.cron, schedule.timezone, now, 1) if schedule.active else []
    schedule.next_run_at = found[0] if found else None


def _apply(site: Site, schedule: Schedule, fields: ScheduleFields) -> None:
    # What would be refused at its time is refused now.
    run_settings.apply(site, schedule, fields)
    times.check(schedule.cron, schedule.timezone)
    if schedule.id is None or any(name in fields.sent() for name in _TIMES):
        set_next_run(schedule)
