"""Operations on runners: create, read, update, archive. `listing` has the list."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy import orm

from app import db
from app.errors import Conflict, invalid
from app.escaping import inert
from app.models import Account, AgentRunner, AgentRunnerSession, Site
from app.models.states import RunnerState, Scope
from app.services import events, lookup
from app.services.accounts import storage
from app.services.artifacts import diffs, uploads
from app.services.callers import Caller
from app.services.execution import lifecycle
from app.services.runners import agent_runner_sessions as sessions
from app.services.runners import prerequisites
from app.services.runners.creation import NewRunner
from app.services.runners.guards import refuse_while_active
from app.services.runners.session_configuration import choose
from app.services.sites import git_names, site_secrets
from app.services.unset import UNSET, Unset

TITLE_LENGTH = 80


@dataclass(frozen=True)
class StoredDiff:
    """A stored diff of a caller, which becomes a runner's own. The key is None if it is empty."""

    key: str | None
    contains_secret: bool


@dataclass(frozen=True)
class Prepared:
    """What is stored for a new runner before it is created: uploaded files, and the diff that it starts with."""

    runner_id: uuid.UUID = field(default_factory=db.new_id)
    uploaded: uploads.Uploaded = field(default_factory=dict)
    diff: StoredDiff | None = None


def prepare(caller: Caller, site_id: uuid.UUID, file_keys: list[str], result_diff: str | None) -> Prepared:
    """Find the files of a new runner, and store its diff, if any.

    Call it outside a transaction: the store may be slow, and no row may be locked meanwhile.
    """
    prepared = Prepared(uploaded=uploads.find_uploaded(caller, file_keys))
    if result_diff is None:
        return prepared
    with db.transaction(read_only=True):
        caller.require(Scope.WRITE)
        site = lookup.get_site(caller, site_id)
    diff = _store_diff(site, prepared.runner_id, result_diff, None)
    return replace(prepared, diff=diff)


def _store_diff(site: Site, runner_id: uuid.UUID, inline: str | None, key: str | None) -> StoredDiff:
    with db.transaction(read_only=True):
        secrets = site_secrets.secrets_of(site)
        storage.refuse_full(db.session.get_one(Account, site.account_id).stored_bytes)
    stored = diffs.store_runner_diff(runner_id, site.account_id, inline, key)
    return StoredDiff(stored, stored is not None and site_secrets.holds_secret(secrets, stored))


def create(caller: Caller, new: NewRunner, prepared: Prepared) -> tuple[AgentRunner, AgentRunnerSession]:
    """Create a runner with its first session, and dispatch that. `prepared` is the result of `prepare`."""
    caller.require(Scope.WRITE)
    branch = git_names.plain_branch("branch", new.branch) if new.branch is not None else None
    storage.reserve_prompt(caller.account_id, new.prompt)
    given = prerequisites.of_site(caller, new.site_id)
    site = given.site
    file_keys = uploads.check_usable(new.file_keys or [], prepared.uploaded)
    parent = None
    if new.parent_agent_runner_id:
        parent = lookup.get_parent(caller, new.parent_agent_runner_id)
        if parent.site_id != site.id:
            raise invalid("parent_agent_runner_id", "must be a runner of the same site", error_code="other_site")
        if prepared.diff is not None:
            message = "cannot be sent for a runner with a parent, which starts with the diff of that"
            raise invalid("result_diff", message, error_code="two_diffs")
    diff = prepared.diff or (StoredDiff(parent.diff_key, parent.contains_secret) if parent else StoredDiff(None, False))
    # The prompt is redacted before the title is cut from it: half of a secret would not be recognized.
    secrets = given.secrets()
    title = site_secrets.title_without(secrets, new.title) if new.title else title_from(secrets.redact(new.prompt))
    title = inert(title) if new.quotes_others else title
    runner = AgentRunner(
        id=prepared.runner_id,
        account_id=caller.account_id,
        site_id=site.id,
        user_id=caller.user_id,
        schedule_id=new.schedule_id,
        issue_number=new.issue_number,
        parent_agent_runner_id=parent.id if parent else None,
        title=title,
        branch=branch or (parent.branch if parent else site.default_branch),
        sha=new.sha,
        base_sha=parent.base_sha if parent and not new.sha else None,
        base_deploy_id=new.base_deploy_id,
        diff_key=diff.key,
        contains_secret=diff.contains_secret,
        last_event_seq=0,
    )
    asked_by = (new.may_ask, new.quotes_others, new.requested_by)
    order = sessions.Order(new.prompt, new.mode, choose(site, new), file_keys, *asked_by)
    session = sessions.add(given, runner, order, sessions.Start(None, runner.diff_key, runner.base_sha))
    orm.attributes.set_committed_value(runner, "site", site)
    orm.attributes.set_committed_value(runner, "user", given.user)
    return runner, session


def title_from(prompt: str) -> str:
    """A default title: the first line of the prompt with text, without the marks of a heading, list or comment, cut to
    `TITLE_LENGTH`."""
    lines = (line.strip() for line in prompt.splitlines() if not line.startswith("#!"))
    line = next((plain for line in lines if (plain := line.lstrip("#/*->= ").strip())), "Untitled")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1] + "…"


def get(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    caller.require(Scope.READ)
    return lookup.get_runner(caller, runner_id)


@dataclass(frozen=True, kw_only=True)
class RunnerUpdate:
    """The fields of an update. One that is left out keeps its value; null removes it."""

    title: str | Unset = UNSET
    sha: str | Unset | None = UNSET
    base_deploy_id: str | Unset | None = UNSET
    result_diff: str | None = None
    result_diff_s3_key: str | None = None


def store_replacement_diff(caller: Caller, runner_id: uuid.UUID, sent: RunnerUpdate) -> StoredDiff | None:
    """Store the diff that an update contains, if any.

    Call it outside a transaction: the store may be slow, and no row may be locked meanwhile.
    """
    if sent.result_diff is None and sent.result_diff_s3_key is None:
        return None
    with db.transaction(read_only=True):
        caller.require(Scope.WRITE)
        site = lookup.get_runner(caller, runner_id).site
    return _store_diff(site, runner_id, sent.result_diff, sent.result_diff_s3_key)


def update(caller: Caller, runner_id: uuid.UUID, sent: RunnerUpdate, replacement: StoredDiff | None) -> AgentRunner:
    """Change the title, the requested commit or the deploy, or replace the runner's diff by the one that
    `store_replacement_diff` stored."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    sha = runner.sha if sent.sha is UNSET else sent.sha
    if sha != runner.sha and (runner.base_sha or _has_been_claimed(runner)):
        raise Conflict(
            "sha: cannot be changed after the first session has started; create another agent runner",
            error_code="already_started",
        )
    if replacement is not None:
        refuse_while_active(runner)
        runner.diff_key, runner.contains_secret = replacement.key, replacement.contains_secret
        runner.mergeable = runner.conflicts = None
    if sent.title is not UNSET:
        runner.title = site_secrets.title_without(site_secrets.secrets_of(runner.site), sent.title)
    runner.sha = sha
    if sent.base_deploy_id is not UNSET:
        runner.base_deploy_id = sent.base_deploy_id
    db.session.flush()
    db.session.refresh(runner)
    return runner


def _has_been_claimed(runner: AgentRunner) -> bool:
    mine = AgentRunnerSession.agent_runner_id == runner.id
    return bool(db.session.scalar(sa.select(sa.exists().where(mine, AgentRunnerSession.attempt > 0))))


def archive(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    """Archive the runner. Archiving it again is not an error; raises `Conflict` while a session is active."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    refuse_while_active(runner)
    if not runner.is_archived:
        runner.state = RunnerState.ARCHIVED
        events.record_runner_state(runner)
    db.session.flush()
    db.session.refresh(runner)
    return runner


def unarchive(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    """Unarchive the runner, whose state then follows from its sessions. Has no effect on one that is not archived."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    if runner.is_archived:
        runner.state = RunnerState.DONE
        lifecycle.refresh_runner(runner)
        events.record_runner_state(runner)
        db.session.flush()
        db.session.refresh(runner)
    return runner
