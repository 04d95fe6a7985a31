"""The verbs on runners."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from app.errors import BadRequest, Conflict, invalid
from app.models import AgentRunner, AgentRunnerSession, Publication, Site, User
from app.models.states import PublicationKind, PublicationState, RunnerState, Scope, SessionState
from app.services import agent_runner_sessions as sessions
from app.services import diffs, lifecycle, lookup, names, secrecy, uploads
from app.services.callers import Caller
from app.services.pages import Page, by_cursor, by_number

TITLE_LENGTH = 80


def create(caller: Caller, fields: dict[str, Any], uploaded: uploads.Uploaded) -> AgentRunner:
    """Record a runner and its first session, and ring for a worker. `fields` as in the POST; `uploaded` is what
    `uploads.look_for` found of the files that it names."""
    caller.require(Scope.WRITE)
    names.check_branch("branch", fields.get("branch"))
    lookup.get_site(caller, fields["site_id"])
    file_keys = uploads.check_usable(fields.get("file_keys") or [], uploaded)
    account = lookup.lock_account(caller.account_id)
    site = lookup.get_site(caller, fields["site_id"], lock=True)
    parent = None
    if fields.get("parent_agent_runner_id"):
        parent = lookup.get_runner(caller, fields["parent_agent_runner_id"])
        if parent.site_id != site.id:
            raise invalid("parent_agent_runner_id", "is a runner of another site", error_code="other_site")
    # A prompt is kept as it is, a part of it that was cut in the middle of a secret would not be known again.
    secrets = secrecy.secrets_of(site)
    given = fields.get("title")
    title = secrecy.title_without(secrets, given) if given else title_from(secrets.redact(fields["prompt"]))
    runner = AgentRunner(
        id=db.new_id(),
        account_id=caller.account_id,
        site_id=site.id,
        user_id=caller.user_id,
        parent_agent_runner_id=parent.id if parent else None,
        title=title,
        branch=fields.get("branch") or (parent.branch if parent else site.default_branch),
        sha=fields.get("sha"),
        base_sha=parent.base_sha if parent and not fields.get("sha") else None,
        base_deploy_id=fields.get("base_deploy_id"),
        diff_key=parent.diff_key if parent else None,
        contains_secret=parent is not None and parent.contains_secret,
        last_session_created_at=db.now(),
    )
    db.session.add(runner)
    db.session.flush()
    sessions.add(caller, account, site, runner, fields, file_keys)
    db.session.refresh(runner)
    return runner


def title_from(prompt: str) -> str:
    """A title for a runner whose caller gave none: the prompt's first line that says something, without the marks of
    a heading, list or comment, cut to fit."""
    lines = (line.strip() for line in prompt.splitlines() if not line.startswith("#!"))
    line = next((plain for line in lines if (plain := line.lstrip("#/*->= ").strip())), "Untitled")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1] + "…"


def get(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    caller.require(Scope.READ)
    return lookup.get_runner(caller, runner_id)


def find(caller: Caller, filters: dict[str, Any]) -> Page[AgentRunner]:
    """A page of the account's runners, the one with the newest session first. `filters` as in the GET."""
    caller.require(Scope.READ)
    keys = (AgentRunner.last_session_created_at, AgentRunner.id)
    query = (
        sa.select(AgentRunner)
        .join(AgentRunner.site)
        .where(AgentRunner.account_id == caller.account_id, Site.deleted_at.is_(None), *_conditions(filters))
        .order_by(*(key.desc() for key in keys))
    )
    if filters.get("cursor"):
        return by_cursor(query, keys, filters["cursor"], filters["per_page"], descending=True)
    return by_number(query, keys, filters["page"], filters["per_page"])


def _conditions(filters: dict[str, Any]) -> list[sa.ColumnElement[bool]]:
    states = filters.get("state") or [state for state in RunnerState if state != RunnerState.ARCHIVED]
    conditions: list[sa.ColumnElement[bool]] = [AgentRunner.state.in_(states)]
    if filters.get("title"):
        conditions.append(AgentRunner.title.icontains(filters["title"], autoescape=True))
    for name in ("branch", "user_id", "site_id", "result_branch"):
        if filters.get(name) is not None:
            conditions.append(getattr(AgentRunner, name) == filters[name])
    return conditions + moments(AgentRunner.created_at, filters)


def moments(column: Any, filters: dict[str, datetime.datetime]) -> list[sa.ColumnElement[bool]]:
    """The inclusive bounds `created_at_from` and `created_at_to`. Moments are shown in milliseconds, so the upper one
    takes in the whole of its last millisecond."""
    conditions = []
    if filters.get("created_at_from"):
        conditions.append(column >= filters["created_at_from"])
    if filters.get("created_at_to"):
        conditions.append(column < filters["created_at_to"] + datetime.timedelta(milliseconds=1))
    return conditions


@dataclass(frozen=True)
class BroughtDiff:
    """A diff that a caller puts in the place of a runner's own, stored; no key where it is empty."""

    key: str | None
    contains_secret: bool


def bring_diff(caller: Caller, runner_id: uuid.UUID, fields: dict[str, Any]) -> BroughtDiff | None:
    """Store the diff that comes with an update, if one does.

    To be called in no transaction: the store may take long, and nobody shall wait for a row meanwhile.
    """
    if fields.get("result_diff") is None and fields.get("result_diff_s3_key") is None:
        return None
    with db.transaction(read_only=True):
        caller.require(Scope.WRITE)
        runner = lookup.get_runner(caller, runner_id)
        account_id, secrets = runner.account_id, secrecy.secrets_of(runner.site)
    key = diffs.take_runner_diff(runner_id, account_id, fields)
    return BroughtDiff(key, key is not None and secrecy.holds_secret(secrets, key))


def update(caller: Caller, runner_id: uuid.UUID, fields: dict[str, Any], brought: BroughtDiff | None) -> AgentRunner:
    """Change the title, the commit asked for, the deploy, or put the diff that `bring_diff` stored in the place of the
    runner's own."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    if fields.get("sha") is not None and (runner.base_sha or _has_been_claimed(runner)):
        raise Conflict("the commit was resolved when the first session began", error_code="already_started")
    if brought is not None:
        _refuse_while_active(runner)
        runner.diff_key, runner.contains_secret = brought.key, brought.contains_secret
    if "title" in fields:
        runner.title = secrecy.title_without(secrecy.secrets_of(runner.site), fields["title"])
    for name in ("sha", "base_deploy_id"):
        if name in fields:
            setattr(runner, name, fields[name])
    db.session.flush()
    db.session.refresh(runner)
    return runner


def _has_been_claimed(runner: AgentRunner) -> bool:
    mine = AgentRunnerSession.agent_runner_id == runner.id
    return bool(db.session.scalar(sa.select(sa.exists().where(mine, AgentRunnerSession.attempt > 0))))


def archive(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    """Put the runner away; again is no error, while a session is active it is."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    _refuse_while_active(runner)
    runner.state = RunnerState.ARCHIVED
    db.session.flush()
    db.session.refresh(runner)
    return runner


def revert(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID | None) -> AgentRunner:
    """Move the runner's head to a session with a cumulative diff, or with None back to the base."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    refuse_archived(runner)
    _refuse_while_active(runner)
    target = lookup.get_session(runner, session_id) if session_id else None
    if target is not None and not target.has_cumulative_diff:
        raise BadRequest("that session has no cumulative diff to go back to", error_code="no_cumulative_diff")
    was_discarded = {row.id for row in _sessions(runner) if row.is_discarded}
    lifecycle.move_head(runner, target)
    newly_discarded = {row.id for row in _sessions(runner) if row.is_discarded} - was_discarded
    if newly_discarded & _committed(runner, PublicationState.DONE):
        raise BadRequest("a session that would be discarded has landed by commit", error_code="already_landed")
    if newly_discarded & _committed(runner, PublicationState.PENDING):
        raise Conflict("a session that would be discarded is landing by commit", error_code="commit_in_progress")
    db.session.refresh(runner)
    return runner


def _sessions(runner: AgentRunner) -> list[AgentRunnerSession]:
    db.session.flush()
    mine = AgentRunnerSession.agent_runner_id == runner.id
    return list(db.session.scalars(sa.select(AgentRunnerSession).where(mine)))


def _committed(runner: AgentRunner, state: PublicationState) -> set[uuid.UUID | None]:
    """The sessions whose work is brought to a branch by a `commit` in that state: its head and all ancestors."""
    heads = db.session.scalars(
        sa.select(Publication.session_id).where(
            Publication.agent_runner_id == runner.id,
            Publication.kind == PublicationKind.COMMIT,
            Publication.state == state,
        )
    )
    parents = {session.id: session.parent_session_id for session in _sessions(runner)}
    landed: set[uuid.UUID | None] = set()
    for head in heads:
        step = head
        while step is not None and step not in landed:
            landed.add(step)
            step = parents[step]
    return landed


def refuse_archived(runner: AgentRunner) -> None:
    if runner.is_archived:
        raise Conflict("the agent runner is archived", error_code="runner_archived")


def _refuse_while_active(runner: AgentRunner) -> None:
    if lookup.find_active_session(runner) is not None:
        raise Conflict("a session of this agent runner is still active", error_code="active_session_exists")


def contributors(runners: list[AgentRunner]) -> dict[uuid.UUID, list[User]]:
    """Everyone who prompted a session of each runner, the first one first."""
    rows = db.session.execute(
        sa.select(AgentRunnerSession.agent_runner_id, User)
        .join(User, User.id == AgentRunnerSession.user_id)
        .where(AgentRunnerSession.agent_runner_id.in_([runner.id for runner in runners]))
        .order_by(AgentRunnerSession.created_at, AgentRunnerSession.id)
    )
    found: dict[uuid.UUID, dict[uuid.UUID, User]] = {runner.id: {} for runner in runners}
    for runner_id, user in rows:
        found[runner_id][user.id] = user
    return {runner_id: list(users.values()) for runner_id, users in found.items()}


def latest_sessions(runners: list[AgentRunner]) -> dict[uuid.UUID, AgentRunnerSession]:
    """The newest session of each runner, by runner id."""
    ids = [runner.latest_session_id for runner in runners]
    rows = db.session.scalars(sa.select(AgentRunnerSession).where(AgentRunnerSession.id.in_(ids)))
    return {session.agent_runner_id: session for session in rows}


def usage(runners: list[AgentRunner]) -> dict[uuid.UUID, dict[str, float]]:
    """What all sessions of each runner consumed together; a number that no session reported is left out."""
    rows = db.session.execute(
        sa.select(AgentRunnerSession.agent_runner_id, AgentRunnerSession.usage).where(
            AgentRunnerSession.agent_runner_id.in_([runner.id for runner in runners]),
            AgentRunnerSession.state != SessionState.NEW,
        )
    )
    totals: dict[uuid.UUID, dict[str, float]] = {runner.id: {} for runner in runners}
    for runner_id, used in rows:
        for name, number in (used or {}).items():
            if number is not None:
                totals[runner_id][name] = totals[runner_id].get(name, 0) + number
    return totals
