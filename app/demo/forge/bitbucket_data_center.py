"""The part of the REST API of Bitbucket Data Center for pull requests and users:
https://developer.atlassian.com/server/bitbucket/rest/

Statuses are those of Atlassian's description of the API. Wordings, and the names of exceptions, are those of real servers.
The key of a project is the name of the owner here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from flask import Blueprint, Response, abort, g, jsonify, make_response, request
from werkzeug.exceptions import NotFound

from app.demo.forge import discussions, pulls, shapes
from app.demo.forge.forge import forge, may_write
from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import find

bitbucket_data_center = Blueprint("bitbucket_data_center", __name__, url_prefix="/rest")
REPOSITORY = "/api/latest/projects/<owner>/repos/<name>"
_PULLS = f"{REPOSITORY}/pull-requests"
BRANCH = "refs/heads/"
_LIMITS = {"title": 255, "description": 32_768}
_STATES = {"open": "OPEN", "draft": "OPEN", "closed": "DECLINED", "merged": "MERGED"}
_PERMISSIONS = {"REPO_READ": ("read", "write", "admin"), "REPO_WRITE": ("write", "admin"), "REPO_ADMIN": ("admin",)}


@bitbucket_data_center.url_value_preprocessor
def authorize(_: str | None, values: dict[str, Any] | None) -> None:
    given, may = request.headers.get("Authorization"), may_write()
    if may is None and (given or request.method != "GET"):
        name = "auth.IncorrectPasswordAuthenticationException" if given else "AuthorisationException"
        refuse(401, "Authentication failed. Please check your credentials and try again.", name)
    if values and "owner" in values:
        owner, name = values.pop("owner"), values.pop("name")
        repository = find(forge().root, owner, name)
        if repository is None:
            refuse(404, f"Repository {owner}/{name} does not exist.", "repository.NoSuchRepositoryException")
        if (repository.is_private and not given) or (request.method != "GET" and not may):
            refuse(401, "You are not permitted to access this resource", "AuthorisationException")
        g.repository = repository


@bitbucket_data_center.errorhandler(NotFound)
def refuse_missing(_: NotFound) -> Response:
    name = g.repository.full_name if "repository" in g else ""
    message = f"Pull request {(request.view_args or {}).get('number')} does not exist in {name}."
    return _refusal(404, message, "pull.NoSuchPullRequestException")


@bitbucket_data_center.get("/api/latest/application-properties")
def get_properties() -> dict[str, str]:
    version = "9.4.3" if forge().has_drafts else "8.17.2"
    return {"version": version, "buildNumber": "9004003", "buildDate": "1735000000000", "displayName": "Bitbucket"}


@bitbucket_data_center.get(REPOSITORY)
def get_repository() -> dict[str, Any]:
    return _repository()


@bitbucket_data_center.get(_PULLS)
def list_pulls() -> dict[str, Any]:
    """Those to the repository, or from it: there are no forks here, so these are the same, except for the end that `at` is."""
    end = "head" if request.args.get("direction", "INCOMING") == "OUTGOING" else "base"
    state, at = request.args.get("state", "OPEN"), request.args.get("at")
    found = [pull for pull in pulls.get_all(g.repository) if state in ("ALL", _STATES[pull.label])]
    found = [pull for pull in found if at in (None, BRANCH + getattr(pull, end))]
    return page([_shape(pull) for pull in found])


@bitbucket_data_center.get(f"{_PULLS}/<int:number>")
def get_pull(number: int) -> dict[str, Any]:
    return _shape(pulls.get(g.repository, number))


@bitbucket_data_center.post(_PULLS)
def create_pull() -> tuple[dict[str, Any], int]:
    given = request.get_json()
    head, base = (_branch(given.get(name)) for name in ("fromRef", "toRef"))
    _check_texts(given, is_new=True)
    with pulls.lock:
        branches = g.repository.branches()
        for name in (head, base):
            if name not in branches:
                message = f"Branch '{name}' does not exist in repository '{g.repository.name}'."
                refuse(404, message, "repository.NoSuchBranchException")
        if head == base:
            message = "You cannot create a pull request from a branch to itself."
            refuse(409, message, "pull.InvalidPullRequestTargetException")
        for pull in pulls.get_all(g.repository):
            if pull.is_open and (pull.head, pull.base) == (head, base):
                message = "Only one pull request may be open for a given source and target branch"
                refuse(409, message, "pull.DuplicatePullRequestException", existingPullRequest=_shape(pull))
        if not g.repository.commits(branches[base], branches[head]):
            message = f"{base} is already up-to-date with all the commits from {head}."
            refuse(409, message, "pull.EmptyPullRequestException")
        texts = {"title": given["title"], "body": given.get("description", ""), "draft": _draft(given)}
        made = pulls.add(g.repository, **texts, head=head, base=base, shas=(branches[head], branches[base]))
    return _shape(made), 201


@bitbucket_data_center.put(f"{_PULLS}/<int:number>")
def update_pull(number: int) -> dict[str, Any]:
    """What a request leaves out is emptied, except for the branches and whether it is a draft."""
    given = request.get_json()
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        if not isinstance(given.get("version"), int):
            refuse_invalid("The version attribute is required when updating a pull request.")
        if given["version"] != pull.version:
            message = "You are attempting to modify a pull request based on out-of-date information."
            versions = {"currentVersion": pull.version, "expectedVersion": given["version"]}
            refuse(409, message, "pull.PullRequestOutOfDateException", **versions)
        if not pull.is_open:
            word = "merged" if pull.merged_at else "declined"
            refuse(409, f"This pull request has already been {word}.", "pull.IllegalPullRequestStateException")
        _check_texts(given)
        changes = {"body": given.get("description", ""), "reviewers": _reviewers(given.get("reviewers", []))}
        changes |= {"title": given["title"]} if given.get("title") else {}
        return _shape(pulls.save(g.repository, pull, **changes, draft=_draft(given, pull.draft)))


@bitbucket_data_center.get("/api/latest/users")
def list_users() -> dict[str, Any]:
    """Those whose names contain `filter`, with a permission for a repository if one is named."""
    if may_write() is None:
        refuse(401, "You are not permitted to access this resource", "AuthorisationException")
    wanted, part = request.args.get("permission.1"), request.args.get("filter", "").lower()
    if wanted is None:
        return page([user(name) for name in pulls.PEOPLE if part in name])
    place = [request.args.get(f"permission.1.{name}", "") for name in ("projectKey", "repositorySlug")]
    repository = find(forge().root, *place)
    if wanted not in _PERMISSIONS or repository is None:
        refuse_invalid("A valid permission, and an existing project and repository are required.")
    known = discussions.permissions(repository)
    return page([user(name) for name, may in known.items() if part in name.lower() and may in _PERMISSIONS[wanted]])


def page(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The part of the list that the request asks for."""
    start = max(0, request.args.get("start", 0, int))
    limit = min(100, max(1, request.args.get("limit", 25, int)))
    shown = list(items[start : start + limit])
    is_last = start + limit >= len(items)
    following = {} if is_last else {"nextPageStart": start + limit}
    return {"values": shown, "size": len(shown), "limit": limit, "start": start, "isLastPage": is_last, **following}


def user(name: str) -> dict[str, Any]:
    # A token of a project or a repository acts as a user of its own.
    kind = "SERVICE" if name.startswith("access-token-user") else "NORMAL"
    about = {"id": pulls.number_of(name) // 2, "emailAddress": f"{name}@example.com", "displayName": name}
    return {"name": name, "slug": name, "type": kind, "active": True, **about}


def milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def refuse_invalid(message: str) -> NoReturn:
    refuse(400, message, "validation.ArgumentValidationException")


def refuse(status: int, message: str, exception: str, **more: Any) -> NoReturn:
    abort(_refusal(status, message, exception, **more))


def _refusal(status: int, message: str, exception: str, **more: Any) -> Response:
    error = {"context": None, "message": message, "exceptionName": f"com.atlassian.bitbucket.{exception}", **more}
    return make_response(jsonify(errors=[error]), status)


def _check_texts(given: dict[str, Any], *, is_new: bool = False) -> None:
    if is_new and not given.get("title"):
        refuse_invalid("A title is required.")
    for name, longest in _LIMITS.items():
        if len(given.get(name) or "") > longest:
            refuse_invalid(f"The {name} must be at most {longest} characters long.")


def _branch(ref: Any) -> str:
    """The branch of a ref of this repository."""
    place = ref["repository"]
    if f"{place['project']['key']}/{place['slug']}" != g.repository.full_name:
        refuse(404, "The repository does not exist.", "repository.NoSuchRepositoryException")
    return str(ref["id"]).removeprefix(BRANCH)


def _draft(given: dict[str, Any], current: bool = False) -> bool:
    """Servers before 8.18 do not know the field, and take it without a word."""
    return bool(given.get("draft", current)) if forge().has_drafts else False


def _reviewers(given: list[dict[str, Any]]) -> list[str]:
    names = [str(each["user"]["name"]) for each in given]
    reasons = {name: f"{name} is not a user." for name in names if name not in pulls.PEOPLE}
    reasons |= {name: f"{name} is the author." for name in names if name == shapes.LOGIN}
    if reasons:
        wrong = [{"context": name, "message": said, "exceptionName": None} for name, said in reasons.items()]
        more = {"context": "reviewers", "reviewerErrors": wrong, "validReviewers": []}
        message = "Errors encountered while adding some reviewers to this pull request."
        abort(_refusal(409, message, "pull.InvalidPullRequestReviewersException", **more))
    return names


def _repository() -> dict[str, Any]:
    repository = g.repository
    project = {"key": repository.owner, "id": 1, "name": repository.owner, "public": False, "type": "NORMAL"}
    state = {"state": "AVAILABLE", "statusMessage": "Available", "archived": False, "forkable": True, "scmId": "git"}
    links = {"clone": [{"href": f"{request.host_url}scm/{repository.full_name}.git", "name": "http"}]}
    number = pulls.number_of(repository.full_name) // 2
    names = {"slug": repository.name, "id": number, "name": repository.name, "public": not repository.is_private}
    return {**names, **state, "project": project, "links": links}


def _ref(branch: str, sha: str) -> dict[str, Any]:
    ref = {"id": BRANCH + branch, "displayId": branch, "latestCommit": sha, "type": "BRANCH"}
    return {**ref, "repository": _repository()}


def _shape(pull: Pull) -> dict[str, Any]:
    """An empty description, and that of a draft on an older server, are left out."""
    place = f"{request.host_url}projects/{g.repository.owner}/repos/{g.repository.name}/pull-requests/{pull.number}"
    dates = {"createdDate": milliseconds(pull.created_at), "updatedDate": milliseconds(pull.updated_at)}
    state = {"state": _STATES[pull.label], "open": pull.is_open, "closed": not pull.is_open, "locked": False}
    return {
        "id": pull.number,
        "version": pull.version,
        "title": pull.title,
        **({"description": pull.body} if pull.body else {}),
        **({"draft": pull.draft} if forge().has_drafts else {}),
        **state,
        **dates,
        "fromRef": _ref(pull.head, pull.head_sha),
        "toRef": _ref(pull.base, pull.base_sha),
        "author": _participant(pull.author, "AUTHOR"),
        "reviewers": [_participant(each, "REVIEWER") for each in pull.reviewers],
        "participants": [],
        "links": {"self": [{"href": place}]},
    }


def _participant(name: str, role: str) -> dict[str, Any]:
    return {"user": user(name), "role": role, "approved": False, "status": "UNAPPROVED"}
