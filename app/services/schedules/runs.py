"""Creates the runners of schedules whose time has come."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid

import sqlalchemy as sa

from app import db
from app.errors import AppError, Conflict
from app.models import AgentRunner, Schedule, Site
from app.models.states import Overlap, RunnerState, Scope
from app.services import lookup
from app.services.callers import Caller
from app.services.runners import agent_runner_sessions, agent_runners, run_settings
from app.services.runners.agent_runners import Prepared
from app.services.schedules import schedules


def find_due(limit: int) -> list[uuid.UUID]:
    """Schedules whose time has come: of each account the one that waits longest, then the next ones.

    Those that wait for their earlier runner are left out, so they delay no others, however many they are.
    """
    is_at_work = AgentRunner.state.in_((RunnerState.NEW, RunnerState.RUNNING))
    turn = sa.func.row_number().over(partition_by=Schedule.account_id, order_by=Schedule.next_run_at)
    due = (
        sa.select(Schedule.id)
        .join(Site, Site.id == Schedule.site_id)
        .outerjoin(AgentRunner, AgentRunner.id == Schedule.last_runner_id)
        .where(Schedule.next_run_at <= db.now(), Site.deleted_at.is_(None))
        .where(sa.not_(sa.and_(Schedule.overlap == Overlap.QUEUE, sa.func.coalesce(is_at_work, sa.false()))))
    )
    return list(db.session.scalars(due.order_by(turn, Schedule.next_run_at).limit(limit)))


def run_due(schedule_id: uuid.UUID) -> None:
    """Create the runner of a schedule whose time has come, or record why there is none.

    However many times have passed since, there is one runner. Has no effect on a schedule that another sweep has served.
    """
    due = sa.select(Schedule).where(Schedule.id == schedule_id, Schedule.next_run_at <= db.now())
    schedule = db.session.scalar(lookup.locked(due, Schedule))
    if schedule is None:
        return
    caller = _caller(schedule)
    earlier = _find_active_runner(caller, schedule)
    if earlier and schedule.overlap == Overlap.QUEUE:
        # It stays due, so a later sweep creates the runner.
        return
    schedules.set_next_run(schedule)
    if earlier and schedule.overlap == Overlap.SKIP:
        schedule.last_error = "Skipped: the runner of the time before was still at work."
        return
    try:
        _create(caller, schedule)
    except AppError as error:
        schedule.last_error = error.message
        return
    if earlier:
        # It may have ended since it was looked for.
        with contextlib.suppress(Conflict):
            agent_runner_sessions.stop_active(caller, earlier.id)


def run_now(caller: Caller, site_id: uuid.UUID, schedule_id: uuid.UUID) -> Schedule:
    """Create a runner of the schedule now, whether it is active or not. Its times stay as they are."""
    caller.require(Scope.WRITE)
    schedule = schedules.get(caller, site_id, schedule_id, lock=True)
    _create(caller, schedule)
    db.session.flush()
    db.session.refresh(schedule)
    return schedule


def _create(caller: Caller, schedule: Schedule) -> None:
    site = lookup.get_site(caller, schedule.site_id)
    new = run_settings.new_runner(site, schedule, schedule.prompt, schedule.name or None)
    new = dataclasses.replace(new, schedule_id=schedule.id)
    runner, session = agent_runners.create(caller, new, Prepared())
    schedule.last_runner_id, schedule.last_run_at, schedule.last_error = runner.id, session.created_at, None


def _caller(schedule: Schedule) -> Caller:
    """The user who created the schedule, with the right to create runners. The schedule stands for the token."""
    return Caller(schedule.account_id, schedule.user_id, schedule.id, Scope.WRITE)


def _find_active_runner(caller: Caller, schedule: Schedule) -> AgentRunner | None:
    """The schedule's last runner, if it is at work. It is not locked: that must come after the lock of the site."""
    if schedule.last_runner_id is None:
        return None
    runner = lookup.get_runner(caller, schedule.last_runner_id)
    return runner if runner.state in (RunnerState.NEW, RunnerState.RUNNING) else None
