"""What a running attempt reports of its work: steps, stages, usage, and the commit that it is based on."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import AgentRunner, AgentRunnerSession, Event, Site
from app.models import Base as Model
from app.models.states import Stage, StepCategory
from app.services import events, leases
from app.services.budgets import spending
from app.services.budgets.spending import Payers

TASK_CHARACTERS = 500


@dataclass(frozen=True)
class Step:
    """A step. One of the agent's own becomes the `current_task` of the session and its runner."""

    title: str
    message: str
    of_agent: bool = False
    category: StepCategory = StepCategory.SYSTEM
    ref: str | None = None
    """The agent's own id of the call that it belongs to."""

    @property
    def payload(self) -> dict[str, Any]:
        return {"title": self.title, "message": self.message, "category": self.category.value, "ref": self.ref}

    @property
    def size(self) -> int:
        """The bytes of its texts."""
        return len(self.title.encode()) + len(self.message.encode())


@dataclass(frozen=True)
class Usage:
    """The usage so far: totals by name, which replace earlier ones."""

    totals: dict[str, Any]


@dataclass(frozen=True)
class Base:
    """The commit and branch of the checkout. The runner keeps its first ones.

    A site without a default branch takes `default_branch`, which is the remote's if it is known.
    """

    base_sha: str | None
    branch: str | None
    default_branch: str | None = None


@dataclass(frozen=True)
class BudgetWarning:
    """Most of the session's own budget is used. Recorded once in a session, however many attempts report it."""

    message: str


@dataclass(frozen=True)
class Takeover:
    """Another agent goes on with the work. `model` None: its own default."""

    agent: str
    model: str | None = None


Report = Step | Stage | Usage | Base | BudgetWarning | Takeover
_NO_BASE = Base(None, None)


@dataclass
class _Changes:
    """What some reports change: events to add, and new values, of which None keeps the old one."""

    events: list[tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=list)
    stage: Stage | None = None
    usage: dict[str, Any] | None = None
    base: Base | None = None
    taken_over_by: dict[str, Any] | None = None
    task: str | None = None
    changes_task: bool = False
    text_bytes: int = 0

    def add(self, report: Report) -> None:
        match report:
            case Step():
                self.events.append((events.STEP, report.payload))
                self.text_bytes += report.size
                if report.of_agent:
                    self.task, self.changes_task = report.title[:TASK_CHARACTERS], True
            case Stage():
                self.events.append((events.STAGE, {"stage": report.value}))
                self.stage, self.task, self.changes_task = report, None, True
            case Usage(totals):
                self.events.append((events.USAGE, totals))
                self.usage = totals
            case Base():
                self.base = report
            case BudgetWarning(message):
                self.events.append((events.BUDGET, events.budget_payload("session", message)))
            case Takeover():
                self.taken_over_by = dataclasses.asdict(report)


def record(session_id: uuid.UUID, attempt: int, reports: Sequence[Report]) -> None:
    """Write what an attempt reports, in order, and count its usage. Raises `LeaseLost` or `Cancelled` if it no longer
    holds the session.

    These are the most frequent writes of a worker: two UPDATEs, of which the second is fenced, and one INSERT, however
    many reports there are.
    """
    changes = _Changes()
    for report in reports:
        if not (isinstance(report, BudgetWarning) and events.has_warned(session_id)):
            changes.add(report)
    base = changes.base or _NO_BASE
    # In the order in which rows are locked: site, runner, session.
    if base.default_branch is not None:
        db.session.execute(_update_site(), {"session": session_id, "new_branch": base.default_branch})
    values = {
        "session": session_id,
        "new_base_sha": base.base_sha,
        "new_task": changes.task,
        "changes_task": changes.changes_task,
    }
    successor = changes.taken_over_by and changes.taken_over_by["agent"]
    of_runner = {
        **values,
        "new_branch": base.branch,
        "new_events": len(changes.events),
        "new_agent": successor,
    }
    numbered = db.session.execute(_update_runner(), of_runner).one_or_none()
    steps = sum(kind == events.STEP for kind, _ in changes.events)
    of_session = {
        **values,
        "held_by": attempt,
        "new_steps": steps,
        "new_text_bytes": changes.text_bytes,
        "new_stage": changes.stage,
        "new_usage": changes.usage,
        "new_taken_over_by": changes.taken_over_by,
    }
    if numbered is None or db.session.execute(_update_session(), of_session).one_or_none() is None:
        raise leases.refusal(db.session.get(AgentRunnerSession, session_id), attempt)
    runner_id, last_seq, account_id, site_id, schedule_id, user_id, usage = numbered
    if changes.usage is not None:
        spending.count(Payers(account_id, site_id, user_id, schedule_id), usage, changes.usage)
    mine = {"agent_runner_id": runner_id, "session_id": session_id, "attempt": attempt}
    first = last_seq - len(changes.events) + 1
    rows = [
        {**mine, "seq": seq, "kind": kind, "payload": value} for seq, (kind, value) in enumerate(changes.events, first)
    ]
    if rows:
        db.session.execute(_insert_events(), rows)


# Each of these has one form, whatever is reported, and is therefore compiled only once in a process.
@functools.cache
def _update_site() -> sa.Update:
    site = _table(Site)
    undecided = sa.update(site).where(site.c.id == _of_session("site_id"), site.c.default_branch.is_(None))
    return undecided.values(default_branch=sa.bindparam("new_branch"))


@functools.cache
def _update_runner() -> sa.sql.dml.ReturningUpdate[*tuple[Any, ...]]:
    runner = _table(AgentRunner)
    update = sa.update(runner).where(runner.c.id == _of_session("agent_runner_id"))
    update = update.values(
        last_event_seq=runner.c.last_event_seq + sa.bindparam("new_events"),
        base_sha=sa.func.coalesce(runner.c.base_sha, sa.bindparam("new_base_sha")),
        branch=sa.func.coalesce(runner.c.branch, sa.bindparam("new_branch")),
        current_task=_new_task(runner),
        latest_session_agent=sa.func.coalesce(sa.bindparam("new_agent"), runner.c.latest_session_agent),
    )
    # The usage is the one before: the session is updated after its runner.
    columns = (runner.c.id, runner.c.last_event_seq, runner.c.account_id, runner.c.site_id, runner.c.schedule_id)
    return update.returning(*columns, *(_of_session(name).label(name) for name in ("user_id", "usage")))


@functools.cache
def _update_session() -> sa.sql.dml.ReturningUpdate[*tuple[Any, ...]]:
    session = _table(AgentRunnerSession)
    update = sa.update(session).where(
        leases.held_by(AgentRunnerSession, sa.bindparam("session"), sa.bindparam("held_by"))
    )
    update = update.values(
        steps_count=session.c.steps_count + sa.bindparam("new_steps"),
        text_bytes=session.c.text_bytes + sa.bindparam("new_text_bytes"),
        current_task=_new_task(session),
        stage=sa.func.coalesce(sa.bindparam("new_stage", type_=session.c.stage.type), session.c.stage),
        usage=_new_object(session.c.usage),
        taken_over_by=_new_object(session.c.taken_over_by),
        base_sha=sa.func.coalesce(sa.bindparam("new_base_sha"), session.c.base_sha),
    )
    return update.returning(session.c.id)


@functools.cache
def _insert_events() -> sa.Insert:
    return sa.insert(_table(Event))


def _table(model: type[Model]) -> sa.Table:
    table = model.__table__
    assert isinstance(table, sa.Table)
    return table


def _of_session(name: str) -> sa.ScalarSelect[Any]:
    """A column of the session."""
    session = _table(AgentRunnerSession)
    return sa.select(session.c[name]).where(session.c.id == sa.bindparam("session")).scalar_subquery()


def _new_object(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(sa.bindparam(f"new_{column.name}", type_=sa.JSON(none_as_null=True)), column)


def _new_task(table: sa.Table) -> sa.ColumnElement[Any]:
    changed = sa.bindparam("changes_task", type_=sa.Boolean())
    return sa.case((changed, sa.bindparam("new_task", type_=sa.String())), else_=table.c.current_task)


def enter_stage(runner: AgentRunner, session: AgentRunnerSession, stage: Stage) -> None:
    """Begin a stage of a locked session."""
    session.reported_stage = stage
    session.current_task = runner.current_task = None
    events.record(runner, session, events.STAGE, {"stage": stage.value})


def add_step(runner: AgentRunner, session: AgentRunnerSession, title: str, message: str) -> None:
    """Append a step to a locked session."""
    step = Step(title, message)
    session.steps_count += 1
    session.text_bytes += step.size
    events.record(runner, session, events.STEP, step.payload)


def add_reported_steps(runner: AgentRunner, session: AgentRunnerSession, steps: Sequence[Step]) -> None:
    """Append the steps that an external worker reports to a locked session, all by one INSERT.

    Steps beyond `max_steps` are left out; one last step says so.
    """
    most = settings().max_steps
    room = most - session.steps_count
    added = list(steps[: max(room, 0)])
    if len(steps) > room >= 0:
        added.append(Step("Steps are left out from here on", f"A session keeps {most:,} steps."))
    if not added:
        return
    # What was recorded before is numbered before.
    db.session.flush()
    mine = {"agent_runner_id": runner.id, "session_id": session.id, "attempt": session.attempt, "kind": events.STEP}
    first = runner.last_event_seq + 1
    rows = [{**mine, "seq": seq, "payload": step.payload} for seq, step in enumerate(added, first)]
    db.session.execute(_insert_events(), rows)
    session.steps_count += len(added)
    session.text_bytes += sum(step.size for step in added)
    runner.last_event_seq += len(added)
