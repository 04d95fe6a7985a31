"""The part of the REST API of Azure DevOps for builds, their logs, and statuses.

https://learn.microsoft.com/rest/api/azure/devops/build/builds/list
"""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from app.demo.forge import checks, pulls
from app.demo.forge.azure_devops import (
    HEADS,
    PULL_REQUEST,
    REPOSITORY,
    authorize,
    id_of,
    listed,
    refuse,
    refuse_missing,
    status_shape,
)
from app.demo.forge.checks import Check
from app.demo.forge.pulls import Pull

azure_checks = Blueprint("azure_checks", __name__)
azure_checks.url_value_preprocessor(authorize)
azure_checks.register_error_handler(NotFound, refuse_missing)
_BUILD = "/<org>/<project>/_apis/build/builds/<int:build_id>"
_RESULTS = {"success": "succeeded", "cancelled": "canceled", "neutral": "partiallySucceeded"}
OF_PULL = "pull request: "
"""The summary of a status that is one of the pull request begins with this, and goes on with the number of its push."""


@azure_checks.get(f"{REPOSITORY}/refs")
def list_refs() -> dict[str, Any]:
    """https://learn.microsoft.com/rest/api/azure/devops/git/refs/list: those that begin with the filter."""
    begin = request.args.get("filter", "")
    found = {
        f"{HEADS}{name}": sha for name, sha in g.repository.branches().items() if f"heads/{name}".startswith(begin)
    }
    return listed([{"name": name, "objectId": sha} for name, sha in found.items()])


@azure_checks.get("/<org>/<project>/_apis/build/builds")
def list_builds() -> dict[str, Any]:
    """Each pipeline has its last build on the branch."""
    if request.args.get("maxBuildsPerDefinition") != "1":
        refuse(400, "ArgumentException", "The demonstration forge lists one build of each definition.")
    branch = request.args.get("branchName", "")
    latest = {each.name: each for each in _reports(branch)}
    found = sorted(latest.values(), key=lambda each: -each.id)
    return listed([_build(each, branch) for each in found])


@azure_checks.get(f"{_BUILD}/timeline")
def get_timeline(build_id: int) -> dict[str, Any]:
    check = checks.find(g.repository, build_id)
    has_failed = _result(check) == "failed"
    task: dict[str, Any] = {"type": "Task", "name": "Test", "result": "failed" if has_failed else "succeeded"}
    task |= {"finishTime": check.at, "log": None if check.log is None else {"id": 7, "type": "Container"}}
    job = {"type": "Job", "name": "Job", "result": task["result"], "finishTime": check.at, "log": {"id": 9}}
    first = {"type": "Task", "name": "Checkout", "result": "succeeded", "finishTime": check.at, "log": {"id": 3}}
    stage = {"type": "Stage", "name": "Build", "result": task["result"], "finishTime": None, "log": None}
    return {"id": id_of(f"timeline {build_id}"), "records": [stage, job, first, task]}


@azure_checks.get(f"{_BUILD}/logs/<int:log_id>")
def get_log(build_id: int, log_id: int) -> Response:
    """https://learn.microsoft.com/rest/api/azure/devops/build/builds/get-build-log: lines in JSON, unless text is asked for."""
    log = {3: "Fetching", 7: checks.find(g.repository, build_id).log, 9: "All of the job"}.get(log_id)
    if log is None:
        refuse(404, "BuildLogNotFoundException", f"The log {log_id} of build {build_id} was not found.")
    if request.accept_mimetypes.best_match(["text/plain", "application/json"]) == "text/plain":
        return Response(log, content_type="text/plain")
    return jsonify(count=len(log.splitlines()), value=log.splitlines())


@azure_checks.get(f"{REPOSITORY}/commits/<sha>/statuses")
def list_statuses(sha: str) -> dict[str, Any]:
    found = checks.of_commit(g.repository, sha, statuses=True)
    return listed([status_shape(each) for each in found if not _is_of_pull(each)])


@azure_checks.get(f"{PULL_REQUEST}/iterations")
def list_iterations(number: int) -> dict[str, Any]:
    """A pull request has two pushes, the second of which is its newest commit."""
    pull = pulls.get(g.repository, number)
    return listed(
        [{"id": n, "sourceRefCommit": {"commitId": sha}} for n, sha in ((1, pull.base_sha), (2, pull.head_sha))]
    )


@azure_checks.get(f"{PULL_REQUEST}/statuses")
def list_statuses_of_pull(number: int) -> dict[str, Any]:
    pull = pulls.get(g.repository, number)
    found = [each for each in checks.reports(g.repository, pull.head_sha, statuses=True) if _is_of_pull(each)]
    return listed([{**status_shape(each), **_iteration(each)} for each in found])


def _is_of_pull(check: Check) -> bool:
    return (check.summary or "").startswith(OF_PULL)


def _iteration(check: Check) -> dict[str, Any]:
    push = (check.summary or "").removeprefix(OF_PULL)
    return {"iterationId": int(push)} if push else {}


def _reports(branch: str) -> list[Check]:
    """What was reported for the commits of a branch, or of a pull request, the oldest first."""
    pull = _pull_of(branch)
    if pull is None:
        tip = g.repository.branches().get(branch.removeprefix(HEADS))
        is_of_a_pull = any(each.is_open and each.head_sha == tip for each in pulls.get_all(g.repository))
        return checks.reports(g.repository, tip, statuses=False) if tip and not is_of_a_pull else []
    own = g.repository.git("rev-list", "--reverse", f"{pull.base_sha}..{pull.head_sha}").split()
    return [each for sha in own for each in checks.reports(g.repository, sha, statuses=False)]


def _pull_of(branch: str) -> Pull | None:
    number = branch.removeprefix("refs/pull/").removesuffix("/merge")
    return pulls.get(g.repository, int(number)) if number.isdigit() else None


def _result(check: Check) -> str:
    return _RESULTS.get(check.state, "failed")


def _build(check: Check, branch: str) -> dict[str, Any]:
    has_ended = check.state not in ("", "action_required")
    pull = _pull_of(branch)
    of_pull = {"triggerInfo": {"pr.number": str(pull.number), "pr.sourceSha": check.sha}} if pull else {}
    given = json.dumps({"system.pullRequest.sourceCommitId": check.sha}) if pull else None
    page = f"{request.host_url}{g.org}/{g.project}/_build/results?buildId={check.id}"
    return {
        "id": check.id,
        "buildNumber": f"20261128.{check.id}",
        "status": "completed" if has_ended else "inProgress",
        "result": _result(check) if has_ended else None,
        "definition": {"id": pulls.number_of(check.name), "name": check.name},
        "sourceBranch": branch,
        # That of a pull request is a merge.
        "sourceVersion": check.sha[::-1] if pull else check.sha,
        "parameters": given,
        **of_pull,
        "_links": {"web": {"href": page}},
    }
