"""Preflights: request one, claim it as a worker, record what was found, and read it."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from app.config import settings
from app.errors import AppError, Invalid, NotFound
from app.models import AgentRunnerSession, HostAgent, Preflight, Site
from app.models.states import FINAL, Mode, Scope, SessionState
from app.services import agents, control_places, lookup, short_tasks
from app.services.callers import Caller
from app.services.runners import agent_runners
from app.services.runners.agent_runners import Prepared
from app.services.runners.creation import NewRunner, NewSession
from app.services.runners.session_configuration import choose
from app.services.sites import git_names
from app.services.variables.values import Variables, of_site

MOST_PENDING = 2
"""Of an account at once."""
_SETUP_AGENT = "shell"


@dataclass(frozen=True)
class Found:
    """A preflight with its checks so far. `ok` None: it is not known yet."""

    row: Preflight
    state: str
    checks: list[dict[str, Any]]
    agent_runner_id: uuid.UUID | None

    @property
    def ok(self) -> bool | None:
        return None if self.state == "pending" else all(check["status"] != "failed" for check in self.checks)


@dataclass(frozen=True)
class Claim:
    """What a worker needs for a preflight. `has_key` says that a session worker reported a key for the agent."""

    preflight: Preflight
    site: Site
    variables: Variables
    has_key: bool


def request(caller: Caller, site_id: uuid.UUID, *, agent: str | None, branch: str | None, run_setup: bool) -> Found:
    """Request a preflight. What the database knows is checked at once, and a worker is asked for the rest."""
    caller.require(Scope.WRITE)
    branch = git_names.plain_branch("branch", branch) if branch is not None else None
    site = lookup.get_site(caller, site_id)
    short_tasks.refuse_many(Preflight, caller.account_id, MOST_PENDING, error_code="too_many_preflights")
    try:
        name: str | None = choose(site, NewSession(prompt="", agent=agent)).agent
        checks = [_checked_agent(caller, str(name)), _checked_sandbox()]
    except Invalid as error:
        name, checks = None, [_check("agent", "failed", error.message, error.error_code), _checked_sandbox()]
    session_id = None
    if run_setup:
        setup, session_id = _started_setup(caller, site, branch)
        checks += [setup] if setup else []
    short_tasks.forget_old(Preflight, caller.account_id)
    preflight = Preflight(
        account_id=caller.account_id,
        site_id=site.id,
        user_id=caller.user_id,
        agent=name,
        branch=branch or site.default_branch,
        checks=checks,
        setup_session_id=session_id,
    )
    db.session.add(preflight)
    db.session.flush()
    control_places.dispatch(preflight)
    return get(caller, site_id, preflight.id)


def get(caller: Caller, site_id: uuid.UUID, preflight_id: uuid.UUID) -> Found:
    """A preflight of the site; raises `NotFound`."""
    caller.require(Scope.READ)
    site = lookup.get_site(caller, site_id)
    query = sa.select(Preflight, AgentRunnerSession, db.now()).where(
        Preflight.id == preflight_id, Preflight.site_id == site.id
    )
    joined = query.outerjoin(AgentRunnerSession, AgentRunnerSession.id == Preflight.setup_session_id)
    row = db.session.execute(joined).one_or_none()
    if row is None:
        message = "The site has no preflight with this id. They are kept for a week."
        raise NotFound(message, error_code="preflight_not_found")
    return _found(*row)


def claim(preflight_id: uuid.UUID) -> Claim | None:
    """Claim a preflight. None means: drop the message."""
    preflight = db.session.scalar(lookup.locked(sa.select(Preflight).where(Preflight.id == preflight_id), Preflight))
    if preflight is None:
        return None
    site = db.session.get_one(Site, preflight.site_id)
    if not short_tasks.begin(preflight, site):
        return None
    has_key = sa.exists().where(HostAgent.name == preflight.agent, HostAgent.has_key.is_(True))
    return Claim(preflight, site, of_site(site), bool(db.session.scalar(sa.select(has_key))))


def record(preflight_id: uuid.UUID, checks: Iterable[Mapping[str, Any]]) -> None:
    """Add what the worker found, and end the preflight."""
    preflight = db.session.get(Preflight, preflight_id)
    if preflight is not None:
        preflight.checks = [*preflight.checks, *map(dict, checks)]
        short_tasks.end(preflight)


def _checked_agent(caller: Caller, name: str) -> dict[str, Any]:
    [found] = [each for each in agents.overview(caller) if each.name == name]
    if found.reported_at is None:
        return _no_worker("agent")
    if found.missing is not None:
        return _check("agent", "failed", f"No session worker can run {name}: {found.missing}", "agent_not_installed")
    return _check("agent", "ok", f"{name} {found.version or ''}".strip() + " is installed.")


def _checked_sandbox() -> dict[str, Any]:
    reports = db.session.scalars(sa.select(HostAgent).where(HostAgent.name == agents.SANDBOX)).all()
    if not reports:
        return _no_worker("sandbox")
    working = next((each for each in reports if each.missing is None), None)
    if working is None:
        return _check("sandbox", "failed", str(reports[0].missing), "sandbox_unavailable")
    return _check("sandbox", "ok", f"A session worker has it: {working.version}.")


def _no_worker(name: str) -> dict[str, Any]:
    return _check(name, "failed", "No session worker has reported yet. Start one.", "no_worker")


def _started_setup(caller: Caller, site: Site, branch: str | None) -> tuple[dict[str, Any] | None, uuid.UUID | None]:
    """Start a session that runs the setup command and then nothing. Returns its id, or the check if there is none."""
    if site.setup_command is None:
        return _check("setup", "skipped", "The site has no setup command."), None
    if _SETUP_AGENT not in settings().agents:
        return _check(
            "setup", "skipped", "It is tried with the agent shell, which AGENT_RUNNERS_AGENTS leaves out."
        ), None
    new = NewRunner(site_id=site.id, prompt="true", agent=_SETUP_AGENT, mode=Mode.ASK, branch=branch, title="Preflight")
    try:
        return None, agent_runners.create(caller, new, Prepared())[1].id
    except AppError as error:
        return _check("setup", "failed", error.message, error.error_code), None


def _found(row: Preflight, session: AgentRunnerSession | None, now: datetime.datetime) -> Found:
    checks, runner_id = list(row.checks), None
    is_lost = short_tasks.is_lost(row, now)
    if is_lost:
        checks.append(_check("worker", "failed", short_tasks.LOST, "preflight_expired"))
    if session is not None:
        runner_id = session.agent_runner_id
        checks += _checked_setup(session)
    is_pending = (row.done_at is None and not is_lost) or (session is not None and session.state not in FINAL)
    return Found(row, "pending" if is_pending else "done", checks, runner_id)


def _checked_setup(session: AgentRunnerSession) -> list[dict[str, Any]]:
    if session.state == SessionState.DONE:
        return [_check("setup", "ok", "The setup command succeeded.")]
    if session.state not in FINAL:
        return []
    if session.failure is None:
        return [_check("setup", "failed", "The session was stopped.", "session_stopped")]
    return [_check("setup", "failed", session.failure["message"], session.failure["code"])]


def _check(name: str, status: str, message: str, code: str | None = None) -> dict[str, Any]:
    return {"name": name, "status": status, "code": code, "message": message}
