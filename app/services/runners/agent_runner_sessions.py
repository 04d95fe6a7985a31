"""Operations on sessions: create, retry, read, stop."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from app import bulk_insert, db, queue
from app.errors import Conflict, Forbidden, Invalid, invalid
from app.models import AgentRunner, AgentRunnerSession, SessionFile
from app.models.states import Execution, Mode, Resolver, Scope, SessionState
from app.services import events, leases, lookup, pagination
from app.services.accounts import storage
from app.services.artifacts import uploads
from app.services.callers import Caller
from app.services.execution import lifecycle, scheduling
from app.services.pagination import Listing, Page, created_between
from app.services.runners import head, prerequisites
from app.services.runners.answers import prompt_of
from app.services.runners.creation import FollowUp, NewSession
from app.services.runners.guards import refuse_archived, refuse_while_active
from app.services.runners.prerequisites import Background
from app.services.runners.session_configuration import RUN_SCRIPTS, Configuration, choose
from app.services.runners.summaries import LatestSession

LIST_CHARACTERS = 16_384
"""How much of a prompt and of a result a list has of each session."""
_LONG_TEXTS = (AgentRunnerSession.prompt, AgentRunnerSession.result)


def create(caller: Caller, runner_id: uuid.UUID, new: FollowUp, uploaded: uploads.Uploaded) -> AgentRunnerSession:
    """Create a follow-up session, which builds on the runner's diff, and dispatch it.

    `uploaded` is the result of `uploads.find_uploaded` for the files of `new`.
    """
    caller.require(Scope.WRITE)
    file_keys = uploads.check_usable(new.file_keys or [], uploaded)
    storage.reserve_prompt(caller.account_id, new.prompt)
    given, runner = _lock_idle(caller, runner_id)
    # Read with the background, unless there is a later one by now.
    latest = db.session.get(AgentRunnerSession, runner.latest_session_id) if runner.latest_session_id else None
    prompt = prompt_of(runner, new.answers, new.prompt)
    configuration = choose(given.site, new, latest)
    order = Order(prompt, new.mode, configuration, file_keys, new.may_ask, new.quotes_others, new.requested_by)
    return add(given, runner, order, _at_head(runner, latest))


def rebase(
    caller: Caller, runner_id: uuid.UUID, resolve: Resolver | None = None, prompt: str | None = None
) -> AgentRunnerSession:
    """Create a session that reapplies the runner's diff on the tip of its branch, and dispatch it.

    With `resolve` the runner's agent resolves conflicts; `prompt` says how.
    """
    caller.require(Scope.WRITE)
    storage.reserve_prompt(caller.account_id, prompt or "")
    given, runner = _lock_idle(caller, runner_id)
    if runner.diff_key is None or runner.base_sha is None or given.latest is None:
        message = "The agent runner has no diff, so there is nothing to rebase. Have a session change something first."
        raise Invalid(message, error_code="no_diff")
    if given.site.execution != Execution.INTERNAL:
        message = (
            "Sessions of this site run on external workers, which do not rebase. Start a new agent runner instead."
        )
        raise Invalid(message, error_code="external_site")
    asked = NewSession(prompt=prompt or f"Reapply the work on the tip of {runner.branch}.")
    configuration = choose(given.site, asked, given.latest)
    if resolve is not None and prompt is None and configuration.agent in RUN_SCRIPTS:
        message = (
            f"is required: the agent {configuration.agent} runs it as a script, which has to resolve the conflicts"
        )
        raise invalid("prompt", message, error_code="prompt_missing")
    order = Order(asked.prompt, Mode.REBASE, configuration, [], may_ask=False, resolve=resolve)
    return add(given, runner, order, _at_head(runner, given.latest))


def _at_head(runner: AgentRunner, latest: AgentRunnerSession | None) -> Start:
    return Start(runner.head_session_id, runner.diff_key, runner.base_sha, _continued(runner, latest))


def _continued(runner: AgentRunner, latest: AgentRunnerSession | None) -> uuid.UUID | None:
    """The session whose conversation a follow-up continues: the latest, unless the head was moved away from it."""
    if latest is None or runner.head_session_id not in (latest.id, latest.parent_session_id):
        return runner.head_session_id
    if latest.mode == Mode.REBASE and latest.native_session_id is None:
        # There were no conflicts, or no agent that remembers how it resolved them.
        return latest.continues_session_id
    has_begun = latest.started_at is not None
    return latest.id if has_begun and not latest.is_discarded else latest.continues_session_id


def retry(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID) -> AgentRunnerSession:
    """Create a session with the prompt, configuration and files of another one, which starts where that one started.

    Raises `BadRequest` if that would discard work that is committed to a branch.
    """
    caller.require(Scope.WRITE)
    own = (AgentRunnerSession.id == session_id, AgentRunnerSession.account_id == caller.account_id)
    prompt = db.session.scalar(sa.select(AgentRunnerSession.prompt).where(*own))
    storage.reserve_prompt(caller.account_id, prompt or "")
    given, runner = _lock_idle(caller, runner_id)
    before = lookup.get_session(runner, session_id)
    head.refuse_to_discard_landed(runner, head.chain(runner, before.parent_session_id))
    # A session that was rebased ended with another base than it started from.
    parent = db.session.get(AgentRunnerSession, before.parent_session_id) if before.parent_session_id else None
    # One whose rebase failed started from that of the runner, which stayed.
    moved = before.mode == Mode.REBASE and before.state != SessionState.DONE
    base_sha = (parent.base_sha if parent else None if moved else before.base_sha) or runner.base_sha
    again = NewSession(prompt=before.prompt, mode=before.mode)
    configuration = choose(given.site, again, before)
    order = Order(
        *(again.prompt, again.mode, configuration, before.attached_file_keys),
        *(before.may_ask, before.quotes_others, before.requested_by, before.resolve),
    )
    start = Start(before.parent_session_id, before.start_diff_key, base_sha, before.continues_session_id)
    return add(given, runner, order, start)


def _lock_idle(caller: Caller, runner_id: uuid.UUID) -> tuple[Background, AgentRunner]:
    """Lock the rows that a new session of the runner needs; raises `Conflict` if the runner cannot take one now."""
    given = prerequisites.of_runner(caller, runner_id)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    refuse_archived(runner)
    refuse_while_active(runner)
    return given, runner


@dataclass(frozen=True)
class Order:
    """The prompt, configuration and files of a new session."""

    prompt: str
    mode: Mode | None
    configuration: Configuration
    file_keys: list[str]
    may_ask: bool = True
    quotes_others: bool = False
    requested_by: str | None = None
    resolve: Resolver | None = None


@dataclass(frozen=True)
class Start:
    """Where a session starts: at another session's cumulative diff, or without one at the base."""

    session_id: uuid.UUID | None
    diff_key: str | None
    base_sha: str | None
    """The base of that diff. None: it is found when the session is prepared."""
    continues_session_id: uuid.UUID | None = None
    """The session whose conversation it continues, which may be a later one that changed nothing."""


def add(given: Background, runner: AgentRunner, order: Order, start: Start) -> AgentRunnerSession:
    """Create a session of `runner`, which is locked or not stored yet, and dispatch it."""
    given.refuse_full_storage()
    given.refuse_exhausted_budget(runner)
    given.refuse_full_queue()
    is_new = sa.inspect(runner).transient
    session = AgentRunnerSession(
        id=db.new_id(),
        created_at=given.now,
        account_id=runner.account_id,
        site_id=given.site.id,
        agent_runner_id=runner.id,
        user_id=given.user.id,
        schedule_id=runner.schedule_id,
        parent_session_id=start.session_id,
        prompt=order.prompt,
        text_bytes=len(order.prompt.encode()),
        mode=order.mode or Mode.NORMAL,
        resolve=order.resolve,
        may_ask=order.may_ask,
        quotes_others=order.quotes_others,
        requested_by=order.requested_by,
        agent=order.configuration.agent,
        model=order.configuration.model,
        effort=order.configuration.effort,
        limits=order.configuration.limits,
        attached_file_keys=order.file_keys,
        start_diff_key=start.diff_key,
        continues_session_id=start.continues_session_id,
        base_sha=start.base_sha,
        base_deploy_id=runner.base_deploy_id,
        attempt=0,
        dispatches=0,
    )
    runner.latest_session_id = session.id
    runner.last_session_created_at = given.now
    if given.site.execution == Execution.INTERNAL:
        leases.dispatch(session, queue.RUN_SESSION, given.now)
    event = lifecycle.begin(runner, session)
    files = [SessionFile(session_id=session.id, file_key=key) for key in order.file_keys]
    bulk_insert.insert_together([*([runner] if is_new else []), session, *files, event], given.now)
    orm.attributes.set_committed_value(session, "user", given.user)
    return session


def get(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID) -> AgentRunnerSession:
    """A session. A session token reads its own session as long as its attempt can report; raises `Forbidden` after it."""
    if caller.session_id != session_id:
        caller.require(Scope.READ)
    session = lookup.get_session(lookup.get_runner(caller, runner_id), session_id)
    if caller.session_id is not None and not session.takes_reports_of(caller.attempt):
        message = "The attempt of this session token has ended. Use a token of a user."
        raise Forbidden(message, error_code="session_token_scope")
    return session


def find(caller: Caller, runner_id: uuid.UUID, filters: dict[str, Any]) -> Page[AgentRunnerSession]:
    """A page of a runner's sessions, oldest first unless `order_by` says otherwise. `filters` as in the GET.

    Their prompts and results are not read; `beginnings` has the first part of them.
    """
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
    listing = Listing(AgentRunnerSession, keys, [conditions], descending, unread=_LONG_TEXTS)
    return pagination.find(listing, filters)


def beginnings(sessions: Iterable[AgentRunnerSession]) -> dict[uuid.UUID, dict[str, Any]]:
    """The first part of the prompt and of the result of each session, and whether they continue, by session id."""
    columns = [sa.func.substr(text, 1, LIST_CHARACTERS + 1).label(text.key) for text in _LONG_TEXTS]
    query = sa.select(AgentRunnerSession.id, *columns).where(AgentRunnerSession.id.in_([each.id for each in sessions]))
    found = {}
    for row in db.session.execute(query).mappings():
        texts = {text.key: row[text.key] for text in _LONG_TEXTS}
        cut = {name: text and text[:LIST_CHARACTERS] for name, text in texts.items()}
        found[row["id"]] = {**cut, **{f"{name}_truncated": texts[name] != cut[name] for name in texts}}
    return found


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
    if (task_id := session.task_id) is not None:
        # Registered first, so that the agent does not run on while counters are written.
        db.after_commit(lambda: queue.revoke(task_id))
    lifecycle.enter(runner, session, SessionState.CANCELLED)


def waiting(sessions: Iterable[AgentRunnerSession | LatestSession]) -> dict[uuid.UUID, scheduling.Waiting]:
    """Why the sessions that are NEW have not started yet, by session id."""
    new = [session.id for session in sessions if session.state == SessionState.NEW]
    return scheduling.waiting(new) if new else {}


def steps(sessions: list[AgentRunnerSession]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """The steps of each session's current attempt, by session id."""
    return events.steps_of(sessions)
