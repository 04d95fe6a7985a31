"""The part of GitLab's REST API that opens, finds and changes merge requests: https://docs.gitlab.com/api/merge_requests/

Wordings and statuses are those of GitLab's `lib/api/merge_requests.rb` and `app/models/merge_request.rb`.
"""

from __future__ import annotations

import zlib
from typing import Any, NoReturn

from flask import Blueprint, Response, abort, g, jsonify, make_response, request
from werkzeug.exceptions import NotFound

from app.demo.forge import checks, pulls, shapes
from app.demo.forge.checks import Check
from app.demo.forge.forge import forge, may_write
from app.demo.forge.paging import page_of
from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import Repository, find, find_all

gitlab = Blueprint("gitlab", __name__, url_prefix="/api/v4")
_MERGE_REQUESTS = "/projects/<path:project>/merge_requests"
_STATES = {"open": "opened", "draft": "opened", "closed": "closed", "merged": "merged"}
_PEOPLE = {"reviewer_ids": "reviewers", "assignee_ids": "assignees"}
_JOB_STATES = {
    "": "running",
    "failure": "failed",
    "error": "failed",
    "cancelled": "canceled",
    "action_required": "manual",
}
_SETTABLE = ("pending", "running", "success", "failed", "canceled", "skipped")
_LIMITS = {"title": 255, "description": 1_048_576}


@gitlab.url_value_preprocessor
def authorize(_: str | None, values: dict[str, Any] | None) -> None:
    given, may = request.headers.get("Authorization"), may_write()
    if may is None and (given or request.method != "GET"):
        reason = "Token was revoked. You have to re-authorize from the user."
        refuse(
            401, {"error": "invalid_token", "error_description": reason} if given else {"message": "401 Unauthorized"}
        )
    if values is None or "project" not in values:
        # Any token reads users.
        return
    repository = _find(values.pop("project"))
    if repository is None or (repository.is_private and not given):
        refuse(404, {"message": "404 Project Not Found"})
    if request.method != "GET" and not may:
        reason = "The request requires higher privileges than provided by the access token."
        refuse(403, {"error": "insufficient_scope", "error_description": reason, "scope": "api"})
    g.repository = repository


@gitlab.errorhandler(NotFound)
def refuse_missing(_: NotFound) -> tuple[dict[str, str], int]:
    return {"message": "404 Not found"}, 404


@gitlab.get("/projects/<path:project>")
def get_project() -> dict[str, Any]:
    return {"id": _id(g.repository), "path_with_namespace": g.repository.full_name}


@gitlab.get(_MERGE_REQUESTS)
def list_merge_requests() -> list[dict[str, Any]]:
    state, branch = request.args.get("state", "all"), request.args.get("source_branch")
    found = [shape(pull) for pull in pulls.get_all(g.repository) if branch in (None, pull.head)]
    return page([shape for shape in found if state in ("all", shape["state"])])


@gitlab.get(f"{_MERGE_REQUESTS}/<int:number>")
def get_merge_request(number: int) -> dict[str, Any]:
    return shape(pulls.get(g.repository, number))


@gitlab.post(_MERGE_REQUESTS)
def create_merge_request() -> tuple[dict[str, Any], int]:
    given = _values()
    missing = [name for name in ("title", "source_branch", "target_branch") if not given.get(name)]
    if missing:
        refuse(400, {"error": ", ".join(f"{name} is missing" for name in missing)})
    head, base = given["source_branch"], given["target_branch"]
    if head == base:
        refuse(422, {"error": ["You can't use same project/branch for source and target"]})
    with pulls.lock:
        branches = g.repository.branches()
        if head not in branches or base not in branches:
            refuse(422, {"error": [f"The branch {head if head not in branches else base} does not exist"]})
        for pull in pulls.get_all(g.repository):
            if pull.is_open and (pull.head, pull.base) == (head, base):
                reason = f"Another open merge request already exists for this source branch: !{pull.number}"
                refuse(409, {"message": [reason]})
        text = {"title": given["title"], "body": given.get("description"), "draft": False}
        made = pulls.add(g.repository, **text, head=head, base=base, shas=(branches[head], branches[base]))
    return shape(made), 201


@gitlab.put(f"{_MERGE_REQUESTS}/<int:number>")
def update_merge_request(number: int) -> dict[str, Any]:
    given = _values()
    if not given.keys() & {"title", "description", "state_event", "target_branch", "add_labels", *_PEOPLE}:
        refuse(
            400, {"error": "assignee_id, description, title, state_event are missing, at least one must be provided"}
        )
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        changes = {"title": given.get("title", pull.title), "body": given.get("description", pull.body)}
        # Labels that there are not are created.
        labels = [each for each in given.get("add_labels", "").split(",") if each]
        people = {field: _named(given[name]) for name, field in _PEOPLE.items() if name in given}
        return shape(pulls.save(g.repository, pull, **changes, **people, labels=pulls.added(pull.labels, labels)))


def _named(ids: list[int]) -> list[str]:
    """Members of the project by their ids. Others are left out."""
    return [name for name in pulls.PEOPLE if pulls.number_of(name) in ids]


@gitlab.get("/projects/<path:project>/repository/commits/<path:ref>/statuses")
def list_statuses(ref: str) -> list[dict[str, Any]]:
    """https://docs.gitlab.com/api/commits/#list-the-statuses-of-a-commit: jobs and what other systems report, of all
    pipelines. Each report is of a pipeline of its own here."""
    sha = checks.resolve(g.repository, ref)
    both = (checks.reports(g.repository, sha, statuses=statuses) for statuses in (False, True))
    return page([_status(each) for found in both for each in found])


@gitlab.post("/projects/<path:project>/statuses/<sha>")
def set_status(sha: str) -> tuple[dict[str, Any], int]:
    """https://docs.gitlab.com/api/commits/#set-commit-pipeline-status"""
    if g.repository.run("cat-file", "-e", f"{sha}^{{commit}}").returncode:
        refuse(404, {"message": "404 Commit Not Found"})
    given = request.get_json()
    name, state = given.get("name", "default"), given.get("state")
    if state not in _SETTABLE:
        refuse(400, {"error": "state does not have a valid value"})
    known = {check.name: check.state for check in checks.of_commit(g.repository, sha, statuses=True)}
    if known.get(name) == state:
        refuse(400, {"message": f"Cannot transition status via :{state} from :{state}"})
    more = {"summary": given.get("description"), "url": given.get("target_url")}
    return _status(checks.report(g.repository, sha, name, state, is_status=True, **more)), 201


@gitlab.get("/projects/<path:project>/jobs/<int:job_id>/trace")
def get_trace(job_id: int) -> Response:
    """https://docs.gitlab.com/api/jobs/#get-a-log-file"""
    log = checks.find(g.repository, job_id).log
    if log is None:
        refuse(404, {"message": "404 Not Found"})
    return Response(log, content_type="text/plain")


@gitlab.get("/projects/<path:project>/labels/<label>")
def get_label(label: str) -> dict[str, Any]:
    if label not in pulls.LABELS:
        refuse(404, {"message": "404 Label Not Found"})
    return {"id": pulls.number_of(label), "name": label, "color": "#ededed", "description": None}


@gitlab.get("/users")
def list_users() -> list[dict[str, Any]]:
    name = request.args.get("username", "").lower()
    # A user who is no member of the project.
    return [person(each) for each in (*pulls.PEOPLE, "stranger") if each == name]


def _status(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "sha": check.sha,
        "ref": None,
        "status": _JOB_STATES.get(check.state, check.state),
        "name": check.name,
        "target_url": check.url,
        "description": check.summary,
        "created_at": check.at,
        "started_at": check.at,
        "finished_at": None,
        "allow_failure": check.name.startswith("optional"),
        "coverage": None,
        "author": person(shapes.LOGIN),
    }


def page(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return page_of(found, usual=20)


def person(name: str) -> dict[str, Any]:
    return {"id": pulls.number_of(name), "username": name, "name": name.title(), "state": "active"}


def _values() -> dict[str, Any]:
    given: dict[str, Any] = request.get_json()
    for name, limit in _LIMITS.items():
        if len(given.get(name) or "") > limit:
            refuse(400, {"message": {name: [f"is too long (maximum is {limit} characters)"]}})
    return given


def _find(project: str) -> Repository | None:
    """A project by its number, or by its path, whose slashes the client has to encode."""
    if project.isdigit():
        return next((each for each in find_all(forge().root) if _id(each) == int(project)), None)
    is_encoded = project.replace("/", "%2F").lower() in request.environ["RAW_URI"].lower()
    return find(forge().root, *project.rsplit("/", 1)) if is_encoded and "/" in project else None


def _id(repository: Repository) -> int:
    return zlib.crc32(repository.full_name.encode())


def shape(pull: Pull) -> dict[str, Any]:
    is_draft = pull.title.lower().startswith(("draft:", "[draft]", "(draft)"))
    return {
        "id": pull.number,
        "iid": pull.number,
        "project_id": _id(g.repository),
        "source_project_id": _id(g.repository),
        "target_project_id": _id(g.repository),
        "web_url": f"{request.host_url}{g.repository.full_name}/-/merge_requests/{pull.number}",
        "state": _STATES[pull.label],
        "draft": is_draft,
        "source_branch": pull.head,
        "target_branch": pull.base,
        "sha": pull.head_sha,
        "title": pull.title,
        "description": pull.body,
        "labels": pull.labels,
        "author": person(pull.author),
        "reviewers": [person(each) for each in pull.reviewers],
        "assignees": [person(each) for each in pull.assignees],
    }


def refuse(status: int, body: dict[str, Any]) -> NoReturn:
    abort(make_response(jsonify(body), status))
