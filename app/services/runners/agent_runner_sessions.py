"""Operations on sessions: create, retry, read, stop."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, queue
from app.config import settings
from app.errors import Conflict, TooMany
from app.models import Account, AgentRunner, AgentRunnerSession, SessionFile, Site
from app.models.states import Execution, Mode, Scope, SessionState
from app.services import events, leases, lookup, pagination
from app.services.artifacts import uploads
from app.services.callers import Caller
from app.services.execution import lifecycle, scheduling
from app.services.pagination import Listing, Page, created_between
from app.services.runners import head
from app.services.runners.creation import NewSession
from app.services.runners.guards import refuse_archived, refuse_while_active
from app.services.runners.session_configuration import Configuration, choose
from app.services.runners.summaries import LatestSession


def create(caller: Caller, runner_id: uuid.UUID, new: NewSession, uploaded: uploads.Uploaded) -> AgentRunnerSession:
    """Create a follow-up session, which builds on the runner's diff, and dispatch it.

    `uploaded` is the result of `uploads.find_uploaded` for the files of `new`.
    """
    caller.require(Scope.WRITE)
    site_id = lookup.get_runner(caller, runner_id).site_id
    file_keys = uploads.check_usable(new.file_keys or [], uploaded)
    account, site, runner = _lock_idle(caller, site_id, runner_id)
    order = Order(new.prompt, new.mode, choose(site, new, _latest(runner)), file_keys)
    return add(caller, account, site, runner, order)


def retry(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID) -> AgentRunnerSession:
    """Create a session with the prompt, configuration and files of another one, which starts where that one started.

    Raises `BadRequest` if that would discard work that is committed to a branch.
    """
    caller.require(Scope.WRITE)
    account, site, runner = _lock_idle(caller, lookup.get_runner(caller, runner_id).site_id, runner_id)
    before = lookup.get_session(runner, session_id)
    head.refuse_to_discard_landed(runner, head.chain(runner, before.parent_session_id))
    again = NewSession(prompt=before.prompt, mode=before.mode)
    order = Order(again.prompt, again.mode, choose(site, again, before), before.attached_file_keys)
    start = Start(before.parent_session_id, before.start_diff_key)
    return add(caller, account, site, runner, order, start)


def _lock_idle(caller: Caller, site_id: uuid.UUID, runner_id: uuid.UUID) -> tuple[Account, Site, AgentRunner]:
    """Lock the rows that a new session of the runner needs; raises `Conflict` if the runner cannot take one now."""
    account = lookup.lock_account(caller.account_id)
    site = lookup.get_site(caller, site_id, lock=True)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    refuse_archived(runner)
    refuse_while_active(runner)
    return account, site, runner


def _latest(runner: AgentRunner) -> AgentRunnerSession | None:
    return lookup.get_session(runner, runner.latest_session_id) if runner.latest_session_id else None


@dataclass(frozen=True)
class Order:
    """The prompt, configuration and files of a new session."""

    prompt: str
    mode: Mode | None
    configuration: Configuration
    file_keys: list[str]


@dataclass(frozen=True)
class Start:
    """Where a session starts: at another session's cumulative diff, or without one at the base."""

    session_id: uuid.UUID | None
    diff_key: str | None


def add(
    caller: Caller, account: Account, site: Site, runner: AgentRunner, order: Order, start: Start | None = None
) -> AgentRunnerSession:
    """Create a session of `runner`, which starts at the runner's head unless `start` is given.

    The rows of account, site and runner must be locked or new.
    """
    _refuse_full_queue(account)
    start = start or Start(runner.head_session_id, runner.diff_key)
    session = AgentRunnerSession(
        id=db.new_id(),
        account_id=runner.account_id,
        site_id=site.id,
        agent_runner_id=runner.id,
        user_id=caller.user_id,
        parent_session_id=start.session_id,
        prompt=order.prompt,
        mode=order.mode or Mode.NORMAL,
        agent=order.configuration.agent,
        model=order.configuration.model,
        effort=order.configuration.effort,
        limits=order.configuration.limits,
        attached_file_keys=order.file_keys,
        start_diff_key=start.diff_key,
        base_sha=runner.base_sha,
        base_deploy_id=runner.base_deploy_id,
    )
    db.session.add(session)
    db.session.flush()
    db.session.add_all(SessionFile(session_id=session.id, file_key=key) for key in order.file_keys)
    runner.latest_session_id = session.id
    runner.last_session_created_at = session.created_at
    if site.execution == Execution.INTERNAL:
        leases.dispatch(session, queue.RUN_SESSION)
    lifecycle.enter(runner, session, SessionState.NEW)
    db.session.refresh(session)
    return session


def _refuse_full_queue(account: Account) -> None:
    most = account.max_queued_sessions or settings().max_queued_sessions
    waiting = db.session.scalar(
        sa.select(sa.func.count()).where(
            AgentRunnerSession.account_id == account.id, AgentRunnerSession.state == SessionState.NEW
        )
    )
    if (waiting or 0) >= most:
        message = f"{waiting} sessions of this account are waiting. The limit is {most}. Wait until some have started."
        raise TooMany(message, error_code="queue_full", headers={"Retry-After": "30"})


def get(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID) -> AgentRunnerSession:
    if caller.session_id != session_id:
        caller.require(Scope.READ)
    return lookup.get_session(lookup.get_runner(caller, runner_id), session_id)


def find(caller: Caller, runner_id: uuid.UUID, filters: dict[str, Any]) -> Page[AgentRunnerSession]:
    """A page of a runner's sessions, oldest first unless `order_by` says otherwise. `filters` as in the GET."""
    caller.require(Scope.READ)
    runner = lookup.get_runner(caller, runner_id)
    conditions = [
        AgentRunnerSession.agent_runner_id == runner.id,
        *created_between(AgentRunnerSession.created_at, filters),
    ]
    if filters.get("state"):
        conditions.append(AgentRunnerSession.state.in_(filters["state"]))
    if not filters.get("include_discarded"):
        conditions.append(AgentRunnerSession.is_discarded.is_(False))
    keys = (AgentRunnerSession.created_at, AgentRunnerSession.id)
    descending = filters["order_by"] == "desc"
    return pagination.find(Listing(AgentRunnerSession, keys, [conditions], descending), filters)


def stop_active(caller: Caller, runner_id: uuid.UUID) -> None:
    """Stop the runner's active session; raises `Conflict` if there is none."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    session = lookup.find_active_session(runner)
    if session is None:
        raise Conflict(
            "No session of this agent runner is NEW or RUNNING, so there is nothing to stop.",
            error_code="no_active_session",
        )
    _cancel(runner, session)


def stop(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID) -> None:
    """Stop a session. Has no effect on a cancelled one; raises `Conflict` if it is DONE or ERROR."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    session = lookup.get_session(runner, session_id, lock=True)
    if session.state == SessionState.CANCELLED:
        return
    if not session.is_active:
        raise Conflict(
            f"The session has ended already, in the state {session.state.value}, so there is nothing to stop.",
            error_code="session_ended",
        )
    _cancel(runner, session)


def _cancel(runner: AgentRunner, session: AgentRunnerSession) -> None:
    task_id = session.task_id
    lifecycle.enter(runner, session, SessionState.CANCELLED)
    if task_id is not None:
        db.after_commit(lambda: queue.revoke(task_id))


def waiting(sessions: Iterable[AgentRunnerSession | LatestSession]) -> dict[uuid.UUID, scheduling.Waiting]:
    """Why the sessions that are NEW have not started yet, by session id."""
    new = [session.id for session in sessions if session.state == SessionState.NEW]
    return scheduling.waiting(new) if new else {}


def steps(sessions: list[AgentRunnerSession]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """The steps of each session's current attempt, by session id."""
    return events.steps_of(sessions)
