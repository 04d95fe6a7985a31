"""The part of the REST API of Bitbucket Data Center for commits and their builds:
https://developer.atlassian.com/server/bitbucket/rest/
"""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, g, request
from werkzeug.exceptions import NotFound

from app.demo.forge import checks
from app.demo.forge.bitbucket_data_center import (
    BRANCH,
    REPOSITORY,
    authorize,
    milliseconds,
    page,
    refuse,
    refuse_invalid,
    refuse_missing,
)
from app.demo.forge.checks import Check
from app.demo.forge.forge import forge, may_write
from app.demo.forge.repositories import Repository, find_all

bitbucket_data_center_checks = Blueprint("bitbucket_data_center_checks", __name__, url_prefix="/rest")
bitbucket_data_center_checks.url_value_preprocessor(authorize)
bitbucket_data_center_checks.register_error_handler(NotFound, refuse_missing)
_LIMITS = {"key": 255, "name": 255, "description": 255, "url": 450}
# What GitHub calls the outcomes of checks.
_OUTCOMES = {"": "INPROGRESS", "success": "SUCCESSFUL", "failure": "FAILED", "cancelled": "CANCELLED"}
_STATES = ("CANCELLED", "FAILED", "INPROGRESS", "SUCCESSFUL", "UNKNOWN")


@bitbucket_data_center_checks.get(f"{REPOSITORY}/commits")
def list_commits() -> dict[str, Any]:
    """Only the newest one."""
    until = request.args.get("until", g.repository.default_branch).removeprefix(BRANCH)
    return page([{"id": _commit(until), "displayId": _commit(until)[:11]}])


@bitbucket_data_center_checks.post(f"{REPOSITORY}/commits/<sha>/builds")
def store_build(sha: str) -> tuple[str, int]:
    given = request.get_json()
    for name, longest in _LIMITS.items():
        value = given.get(name, "")
        if len(value) > longest or (name in ("key", "url") and not value):
            refuse_invalid(f"'{name}' must have 1 to {longest} characters.")
    if given.get("state") not in _STATES:
        refuse_invalid(f"'state' must be one of {', '.join(_STATES)}.")
    more = {"summary": given.get("description"), "url": given["url"]}
    checks.report(g.repository, _commit(sha), given["key"], given["state"], is_status=True, **more)
    return "", 204


@bitbucket_data_center_checks.get("/build-status/latest/commits/<sha>")
def list_builds(sha: str) -> dict[str, Any]:
    """Of all repositories that have the commit."""
    if may_write() is None:
        refuse(401, "You are not permitted to access this resource", "AuthorisationException")
    if not re.fullmatch(r"[0-9a-f]{40}", sha):
        refuse_invalid("The commit ID must be a full 40-character SHA1.")
    found = [
        _build(repository, check)
        for repository in find_all(forge().root)
        for statuses in (False, True)
        for check in checks.of_commit(repository, sha, statuses=statuses)
    ]
    return page(found)


def _commit(ref: str) -> str:
    try:
        return checks.resolve(g.repository, ref)
    except NotFound:
        message = f"Commit '{ref}' does not exist in repository '{g.repository.name}'."
        refuse(404, message, "commit.NoSuchCommitException")


def _build(repository: Repository, check: Check) -> dict[str, Any]:
    at = {"projectKey": repository.owner, "repositorySlug": repository.name, "createdDate": milliseconds(check.at)}
    url = check.url or f"https://ci.example.com/{check.id}"
    state = _OUTCOMES.get(check.state, check.state)
    build = {"key": check.name, "name": check.name, "state": state, "url": url, "updatedDate": milliseconds(check.at)}
    return {**build, **at, **({"description": check.summary} if check.summary else {})}
