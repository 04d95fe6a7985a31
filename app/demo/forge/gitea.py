"""The part of the REST API of Gitea and Forgejo that opens, finds and changes pull requests: https://docs.gitea.com/api/

Wordings and statuses are those of Gitea's `routers/api/v1/repo/pull.go`.
"""

from __future__ import annotations

from typing import Any, NoReturn

from flask import Blueprint, Response, abort, g, jsonify, make_response, request
from werkzeug.exceptions import NotFound

from app.demo.forge import checks, discussions, issues, pulls, shapes
from app.demo.forge.checks import Check
from app.demo.forge.discussions import Entry
from app.demo.forge.forge import forge, may_write
from app.demo.forge.paging import page_of
from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import find

gitea = Blueprint("gitea", __name__, url_prefix="/api/v1")
_PULLS = "/repos/<owner>/<name>/pulls"
_TITLE_CHARACTERS = 255
_STATES = {"": "pending", "action_required": "pending", "cancelled": "failure"}
_MISSING = "The target couldn't be found."


@gitea.url_value_preprocessor
def authorize(_: str | None, values: dict[str, Any] | None) -> None:
    given, may = request.headers.get("Authorization"), may_write()
    if may is None and (given or request.method != "GET"):
        refuse(401, "invalid username, password or token" if given else "token is required")
    repository = find(forge().root, values.pop("owner"), values.pop("name")) if values else None
    if repository is None or (repository.is_private and not given):
        refuse(404, _MISSING)
    if request.method != "GET" and not may:
        scopes = "required=[write:repository], token scope=read:repository"
        refuse(403, f"token does not have at least one of required scope(s), {scopes}")
    g.repository = repository


@gitea.errorhandler(NotFound)
def refuse_missing(_: NotFound) -> Response:
    return _refusal(404, _MISSING)


@gitea.get("/repos/<owner>/<name>")
def get_repository() -> dict[str, Any]:
    return {"id": _id(), "full_name": g.repository.full_name, "private": g.repository.is_private}


@gitea.get(_PULLS)
def list_pulls() -> list[dict[str, Any]]:
    state = request.args.get("state", "open")
    found = [pull for pull in pulls.get_all(g.repository) if state in ("all", pull.state)]
    return [_shape(pull) for pull in page_of(found, size_name="limit", most=50)]


@gitea.get(f"{_PULLS}/<int:number>")
def get_pull(number: int) -> dict[str, Any]:
    return _shape(pulls.get(g.repository, number))


@gitea.post(_PULLS)
def create_pull() -> tuple[dict[str, Any], int]:
    given = _values()
    head, base = given.get("head", ""), given.get("base", "")
    if head == base:
        refuse(422, "Invalid PullRequest: There are no changes between the head and the base")
    with pulls.lock:
        branches = g.repository.branches()
        if head not in branches or base not in branches:
            refuse(404, _MISSING)
        for pull in pulls.get_all(g.repository):
            if pull.is_open and (pull.head, pull.base) == (head, base):
                which = f"id: {pull.number}, issue_id: {pull.number}, head_repo_id: {_id()}, base_repo_id: {_id()}"
                refuse(409, f"pull request already exists for these targets [{which}, head_branch: {head}]")
        text = {"title": given["title"], "body": given.get("body", ""), "draft": False}
        made = pulls.add(g.repository, **text, head=head, base=base, shas=(branches[head], branches[base]))
    return _shape(made), 201


@gitea.patch(f"{_PULLS}/<int:number>")
def update_pull(number: int) -> tuple[dict[str, Any], int]:
    given = _values(is_new=False)
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        changes = {name: given.get(name, getattr(pull, name)) for name in ("title", "body")}
        return _shape(pulls.save(g.repository, pull, **changes)), 201


@gitea.get("/repos/<owner>/<name>/labels")
def list_labels() -> list[dict[str, Any]]:
    return [label(each) for each in page_of(pulls.LABELS, size_name="limit", most=50)]


@gitea.post("/repos/<owner>/<name>/issues/<int:number>/labels")
def add_labels(number: int) -> list[dict[str, Any]]:
    ids = request.get_json()["labels"]
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        # Ids that there are not are left out.
        named = [each for each in pulls.LABELS if pulls.number_of(each) in ids]
        return [label(each) for each in pulls.save(g.repository, pull, labels=pulls.added(pull.labels, named)).labels]


@gitea.post(f"{_PULLS}/<int:number>/requested_reviewers")
def request_reviewers(number: int) -> tuple[list[dict[str, Any]], int]:
    given = request.get_json()
    people, teams = given.get("reviewers", []), given.get("team_reviewers", [])
    for name in people:
        if name not in pulls.PEOPLE:
            refuse(404, f"user does not exist [uid: 0, name: {name}]")
        if name == shapes.LOGIN:
            refuse(422, "poster of pr can't be reviewer")
    for name in teams:
        if name not in pulls.TEAMS:
            refuse(404, f"team does not exist [org_id 1, team_id 0, name: {name}]")
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        reviewers = pulls.added(pull.reviewers, people)
        pulls.save(g.repository, pull, reviewers=reviewers, teams=pulls.added(pull.teams, teams))
    return [], 201


@gitea.patch("/repos/<owner>/<name>/issues/<int:number>")
def update_issue(number: int) -> tuple[dict[str, Any], int]:
    """The assignees that are sent replace all."""
    assignees = request.get_json()["assignees"]
    for name in assignees:
        if name not in pulls.PEOPLE:
            refuse(422, f"Assignee does not exist: [name: {name}]")
    with pulls.lock:
        pull = pulls.save(g.repository, pulls.get(g.repository, number), assignees=assignees)
    return {"number": pull.number, "assignees": [person(each) for each in pull.assignees]}, 201


@gitea.post("/repos/<owner>/<name>/statuses/<sha>")
def create_status(sha: str) -> tuple[dict[str, Any], int]:
    if g.repository.run("cat-file", "-e", f"{sha}^{{commit}}").returncode:
        refuse(404, _MISSING)
    given = request.get_json()
    if given["state"] not in ("pending", "success", "error", "failure", "warning"):
        refuse(422, f"invalid commit status: {given['state']}")
    more = {"summary": given.get("description"), "url": given.get("target_url")}
    name = given.get("context", "default")
    return _status(checks.report(g.repository, sha, name, given["state"], is_status=True, **more)), 201


@gitea.get("/repos/<owner>/<name>/commits/<path:ref>/status")
def get_status(ref: str) -> dict[str, Any]:
    """The latest status of each name. Jobs of Actions report one, too. A page beyond the last is null."""
    sha = checks.resolve(g.repository, ref)
    both = (checks.of_commit(g.repository, sha, statuses=statuses) for statuses in (False, True))
    found = [_status(each) for reports in both for each in reports]
    return {"sha": sha, "total_count": len(found), "statuses": page_of(found, size_name="limit", most=50) or None}


@gitea.get("/repos/<owner>/<name>/collaborators/<login>/permission")
def get_permission(login: str) -> dict[str, Any]:
    known = discussions.permissions(g.repository)
    if login not in known:
        refuse(404, f"user does not exist [uid: 0, name: {login}]")
    return {"permission": known[login], "role_name": known[login], "user": person(login)}


@gitea.get("/repos/<owner>/<name>/issues/<int:number>/comments")
def list_comments(number: int) -> list[dict[str, Any]]:
    _check_subject(number)
    found = discussions.entries(g.repository, number)
    return [_comment(each) for each in found if not each.is_review and each.review_id is None]


@gitea.post("/repos/<owner>/<name>/issues/<int:number>/comments")
def create_comment(number: int) -> tuple[dict[str, Any], int]:
    _check_subject(number)
    return _comment(discussions.comment(g.repository, number, shapes.LOGIN, _body())), 201


@gitea.get("/repos/<owner>/<name>/issues/comments/<int:comment_id>")
def get_comment(comment_id: int) -> dict[str, Any]:
    return _comment(_find_comment(comment_id))


@gitea.patch("/repos/<owner>/<name>/issues/comments/<int:comment_id>")
def update_comment(comment_id: int) -> dict[str, Any]:
    _find_comment(comment_id)
    return _comment(discussions.edit(g.repository, comment_id, _body()))


def _check_subject(number: int) -> None:
    """Raise `NotFound` unless there is such an issue or pull request."""
    if issues.find(g.repository, number) is None:
        pulls.get(g.repository, number)


def _body() -> str:
    body = request.get_json().get("body")
    if not body:
        refuse(422, "[Body]: Required")
    return str(body)


def _find_comment(comment_id: int) -> Entry:
    found = discussions.find(g.repository, comment_id)
    if found.is_review:
        raise NotFound()
    return found


def _comment(entry: Entry) -> dict[str, Any]:
    is_issue = issues.find(g.repository, entry.number) is not None
    page = f"{request.host_url}{g.repository.full_name}/{'issues' if is_issue else 'pulls'}/{entry.number}"
    about = {"issue_url": page if is_issue else "", "pull_request_url": "" if is_issue else page}
    links = {"html_url": f"{page}#issuecomment-{entry.id}", **about}
    return {"id": entry.id, "body": entry.body, "user": person(entry.user), "created_at": entry.created_at, **links}


def _status(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "status": _STATES.get(check.state, check.state),
        "context": check.name,
        "description": check.summary or "",
        "target_url": check.url or "" if check.is_status else page_of_job(check),
        "creator": person(shapes.LOGIN),
        "created_at": check.at,
    }


def page_of_job(check: Check) -> str:
    """The page of a job, without its server. It has the number of the run, and that of the job within the run."""
    run, job = checks.numbers(g.repository, check)
    return f"/{g.repository.full_name}/actions/runs/{run}/jobs/{job}"


def label(name: str) -> dict[str, Any]:
    return {"id": pulls.number_of(name), "name": name, "color": "ededed"}


def person(name: str) -> dict[str, Any]:
    # The server's own users have no id of a person.
    return {"id": -2 if name.endswith("-actions") else pulls.number_of(name), "login": name}


def _values(*, is_new: bool = True) -> dict[str, Any]:
    given: dict[str, Any] = request.get_json()
    title = given.get("title", "")
    if is_new and not title:
        refuse(422, "[Title]: Required")
    if len(title) > _TITLE_CHARACTERS:
        refuse(422, f"[Title]: MaxSize (maximum is {_TITLE_CHARACTERS})")
    return given


def _id() -> int:
    return int(shapes.repository(g.repository)["id"])


def _shape(pull: Pull) -> dict[str, Any]:
    has_branch = pull.head in g.repository.branches()
    head = {"label": pull.head, "ref": pull.head if has_branch else f"refs/pull/{pull.number}/head"}
    return {
        "id": pull.number,
        "number": pull.number,
        "user": person(pull.author),
        "html_url": f"{request.host_url}{g.repository.full_name}/pulls/{pull.number}",
        "state": pull.state,
        "merged": pull.merged_at is not None,
        "draft": pull.title.lower().startswith(("wip:", "[wip]")),
        "title": pull.title,
        "body": pull.body or "",
        "assignees": [person(each) for each in pull.assignees] or None,
        "head": {**head, "sha": pull.head_sha, "repo_id": _id()},
        "base": {"label": pull.base, "ref": pull.base, "sha": pull.base_sha, "repo_id": _id()},
    }


def refuse(status: int, message: str) -> NoReturn:
    abort(_refusal(status, message))


def _refusal(status: int, message: str) -> Response:
    return make_response(jsonify(message=message, url=f"{request.host_url}api/swagger"), status)
