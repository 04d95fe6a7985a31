"""Requests to publish a runner's diff. They are recorded here, and a task does the work."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from app import db, queue
from app.errors import BadRequest, Invalid, invalid
from app.models import AgentRunner, Publication
from app.models.states import PublicationKind, Scope
from app.services import events, leases, lookup
from app.services.callers import Caller
from app.services.publishing import sensitive
from app.services.runners.guards import refuse_archived, refuse_pending_commit, refuse_pending_pull_request
from app.services.sites import git_names, pull_request_texts, site_secrets
from app.services.sites.forges import FORGES


def request_pull_request(
    caller: Caller, runner_id: uuid.UUID, fields: dict[str, Any], refused: Sequence[str] = ()
) -> AgentRunner:
    """Record the request to open a pull request with the runner's diff, or to update the existing one. `refused` is what
    `sensitive.find_refused` found."""
    runner = _lock_publishable(caller, runner_id, refused)
    refuse_pending_pull_request(runner)
    if not FORGES[runner.site.forge].has_pull_requests:
        message = (
            f"The site's forge is {runner.site.forge.value}, on which pull requests are not supported. Commit to a branch "
            "instead, or set the site's forge if its server is one that has them."
        )
        raise Invalid(message, error_code="forge_without_pull_requests")
    fields = git_names.with_plain_branches(fields, "branch")
    own, asked = runner.pr_branch or _kept_branch(runner, fields), fields.get("branch")
    if own and asked and asked != own:
        message = (
            f"the pull request of this agent runner is on the branch {own}; leave branch out, or create a new runner"
        )
        raise invalid("branch", message, error_code="other_branch")
    branch = own or asked or _new_branch(runner)
    _refuse_protected(runner, branch)
    runner.result_branch = branch
    runner.pr_is_being_created, runner.pr_error, runner.pr_warnings = True, None, None
    _record(caller, runner, PublicationKind.PULL_REQUEST, branch, fields)
    return runner


def request_commit(
    caller: Caller, runner_id: uuid.UUID, fields: dict[str, Any], refused: Sequence[str] = ()
) -> AgentRunner:
    """Record the request to commit the runner's diff to a branch. `refused` is what `sensitive.find_refused` found."""
    runner = _lock_publishable(caller, runner_id, refused)
    refuse_pending_commit(runner)
    fields = git_names.with_plain_branches(fields, "target_branch")
    _refuse_protected(runner, fields["target_branch"])
    runner.merge_commit_is_being_created, runner.merge_commit_error = True, None
    fields = {"body": fields.get("message"), "squash": fields.get("squash", False), "target": fields["target_branch"]}
    _record(caller, runner, PublicationKind.COMMIT, fields.pop("target"), fields)
    return runner


def _refuse_protected(runner: AgentRunner, branch: str) -> None:
    """Raise `BadRequest` for a protected branch, and `Invalid` if the site's protected branches are not known yet."""
    site = runner.site
    if runner.branch is None or (site.default_branch is None and site.protected_branches is None):
        message = "The repository's default branch is not known yet. Set the site's default_branch."
        raise Invalid(message, error_code="default_branch_unknown")
    if any(fnmatchcase(branch, pattern) for pattern in site.protected):
        message = f"{branch} is a protected branch. Use another branch, or change the site's protected_branches."
        raise BadRequest(message, error_code="protected_branch")


def _kept_branch(runner: AgentRunner, fields: dict[str, Any]) -> str | None:
    """The branch of an earlier request. If that failed, the caller may choose another branch, because the first may
    belong to somebody else."""
    is_replaced = runner.pr_error is not None and runner.pr_number is None and fields.get("branch")
    return None if is_replaced else runner.result_branch


def _new_branch(runner: AgentRunner) -> str:
    return pull_request_texts.branch_of(runner, site_secrets.secrets_of(runner.site))


def _lock_publishable(caller: Caller, runner_id: uuid.UUID, refused: Sequence[str]) -> AgentRunner:
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    refuse_archived(runner)
    if runner.diff_key is None:
        message = "The agent runner has no diff, so there is nothing to publish. Have a session change something first."
        raise Invalid(message, error_code="no_diff")
    if runner.contains_secret:
        message = (
            "The diff contains a known secret, such as the site's access token. Have another session remove it, or revert "
            "to an earlier session."
        )
        raise Invalid(message, error_code="contains_secret")
    sensitive.refuse(refused)
    return runner


def _record(caller: Caller, runner: AgentRunner, kind: PublicationKind, branch: str, fields: dict[str, Any]) -> None:
    assert runner.diff_key is not None
    secrets = site_secrets.secrets_of(runner.site)
    publication = Publication(
        id=db.new_id(),
        agent_runner_id=runner.id,
        session_id=runner.head_session_id,
        user_id=caller.user_id,
        kind=kind,
        diff_key=runner.diff_key,
        branch=branch,
        title=site_secrets.title_without(secrets, fields["title"]) if fields.get("title") else None,
        body=secrets.redact(fields["body"]) if fields.get("body") is not None else None,
        draft=fields.get("draft") or False,
        draft_is_named=fields.get("draft") is not None,
        squash=fields.get("squash") or False,
        **(_additions(runner, fields) if kind == PublicationKind.PULL_REQUEST else {}),
    )
    db.session.add(publication)
    db.session.flush()
    leases.dispatch(publication, queue.PUBLISH)
    events.record_publication(runner, kind, publication.state, publication.session_id)
    db.session.flush()
    db.session.refresh(runner)


def _additions(runner: AgentRunner, fields: dict[str, Any]) -> dict[str, list[str]]:
    """The labels, reviewers and assignees of a pull request: those that were sent, else a new one has those of the site."""
    site, is_new = runner.site, runner.pr_number is None
    defaults = {"labels": site.pr_labels, "reviewers": site.pr_reviewers, "assignees": site.pr_assignees}
    chosen: dict[str, list[str]] = {}
    for name, default in defaults.items():
        names = fields.get(name)
        if names is None:
            names = default if is_new else None
        chosen[name] = list(dict.fromkeys(names or []))
    return chosen
