"""The part of GitHub's REST API for check runs, the logs of jobs, and commit statuses."""

from __future__ import annotations

import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, redirect, request
from werkzeug import Response as Answer
from werkzeug.exceptions import NotFound

from app.demo.forge import checks, shapes
from app.demo.forge.api import PREFIX, authorize, sent_values
from app.demo.forge.checks import Check
from app.demo.forge.forge import Refused, forge
from app.demo.forge.paging import page_of
from app.demo.forge.repositories import Repository, find

checks_api = Blueprint("checks_api", __name__, url_prefix=PREFIX)
checks_api.url_value_preprocessor(authorize)
logs = Blueprint("logs", __name__)
_REPOSITORY = "/repos/<owner>/<name>"
_COMMIT = f"{_REPOSITORY}/commits/<path:ref>"
_STATES, _MOST_DESCRIPTION = ("error", "failure", "pending", "success"), 140
_SIGNATURE = secrets.token_hex(8)
"""Signs the addresses of logs, which are valid without a token."""


@checks_api.get(f"{_COMMIT}/check-runs")
def list_check_runs(ref: str) -> dict[str, Any]:
    found = checks.of_commit(g.repository, checks.resolve(g.repository, ref), statuses=False)
    return {"total_count": len(found), "check_runs": [_run(check) for check in page_of(found)]}


@checks_api.get(f"{_COMMIT}/status")
def get_combined_status(ref: str) -> dict[str, Any]:
    """https://docs.github.com/en/rest/commits/statuses#get-the-combined-status-for-a-specific-reference"""
    sha = checks.resolve(g.repository, ref)
    found = checks.of_commit(g.repository, sha, statuses=True)
    states = {check.state for check in found}
    combined = "failure" if states & {"error", "failure"} else "success" if states == {"success"} else "pending"
    whole = shapes.repository(g.repository)
    return {
        "state": combined,
        "sha": sha,
        "total_count": len(found),
        "statuses": [_status(check) for check in page_of(found)],
        "repository": whole,
        "commit_url": f"{whole['url']}/commits/{sha}",
        "url": f"{whole['url']}/commits/{sha}/status",
    }


@checks_api.post(f"{_REPOSITORY}/statuses/<sha>")
def create_status(sha: str) -> tuple[dict[str, Any], int]:
    """https://docs.github.com/en/rest/commits/statuses#create-a-commit-status"""
    values = sent_values()
    if g.repository.run("cat-file", "-e", f"{sha}^{{commit}}").returncode:
        raise Refused(422, f"No commit found for SHA: {sha}")
    if values.get("state") not in _STATES:
        raise _invalid("state")
    text = values.get("description")
    if text is not None and (not isinstance(text, str) or len(text) > _MOST_DESCRIPTION):
        raise _invalid("description")
    url = values.get("target_url")
    if url is not None and urlsplit(str(url)).scheme not in ("http", "https"):
        raise _invalid("target_url")
    name = values.get("context", "default")
    made = checks.report(g.repository, sha, name, values["state"], is_status=True, summary=text, url=url)
    return {**_status(made), "creator": shapes.user(shapes.LOGIN)}, 201


@checks_api.get(f"{_REPOSITORY}/actions/jobs/<int:job_id>/logs")
def get_job_log(job_id: int) -> Answer:
    """Redirects to another server, as GitHub does, at an address that is valid without a token."""
    if checks.find(g.repository, job_id).log is None:
        raise NotFound()
    return redirect(place_of_log(g.repository, job_id), 302)


def place_of_log(repository: Repository, job_id: int) -> str:
    """The address of a log, on what a client has to take for another server."""
    here = urlsplit(request.host_url)
    name = "localhost" if here.hostname == "127.0.0.1" else "127.0.0.1"
    return f"{here.scheme}://{name}:{here.port}/-/logs/{repository.full_name}/{job_id}?signature={_SIGNATURE}"


@logs.get("/-/logs/<owner>/<name>/<int:job_id>")
def get_log(owner: str, name: str, job_id: int) -> Response:
    """The log of a job. A request with a token is refused, as the store of GitHub's logs does."""
    if request.headers.get("Authorization"):
        raise Refused(400, "Authentication information is not given in the correct format.")
    repository = find(forge().root, owner, name)
    if repository is None or not hmac.compare_digest(request.args.get("signature", ""), _SIGNATURE):
        raise NotFound()
    return Response(checks.find(repository, job_id).log or "", content_type="text/plain; charset=utf-8")


def _run(check: Check) -> dict[str, Any]:
    """GitHub's `check-run`."""
    url = f"{request.host_url}api/v3/repos/{g.repository.full_name}/check-runs/{check.id}"
    page = f"{request.host_url}{g.repository.full_name}/actions/runs/1/job/{check.id}"
    return {
        "id": check.id,
        "node_id": f"CR_{check.id}",
        "head_sha": check.sha,
        "external_id": "",
        "url": url,
        "html_url": page,
        "details_url": check.url or page,
        "status": "completed" if check.state else "in_progress",
        "conclusion": check.state or None,
        "started_at": check.at,
        "completed_at": check.at if check.state else None,
        "output": {
            **dict.fromkeys(["title", "text"]),
            "summary": check.summary,
            "annotations_count": 0,
            "annotations_url": f"{url}/annotations",
        },
        "name": check.name,
        "check_suite": {"id": 1},
        "app": None,
        "pull_requests": [],
    }


def _status(check: Check) -> dict[str, Any]:
    """GitHub's `simple-commit-status`."""
    return {
        "url": f"{request.host_url}api/v3/repos/{g.repository.full_name}/statuses/{check.sha}",
        "avatar_url": None,
        "id": check.id,
        "node_id": f"SC_{check.id}",
        "state": check.state,
        "description": check.summary,
        "target_url": check.url,
        "context": check.name,
        "created_at": check.at,
        "updated_at": check.at,
    }


def _invalid(field: str) -> Refused:
    return Refused(422, "Validation Failed", {"resource": "Status", "field": field, "code": "custom"})
