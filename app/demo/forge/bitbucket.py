"""The part of Bitbucket Cloud's REST API that opens, finds and changes pull requests.

https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/. What is not known there is refused here, though
Bitbucket ignores it. A token that only reads may write nothing here. Bitbucket lets it comment and set statuses.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, g, jsonify, make_response, request
from werkzeug.exceptions import NotFound

from app.demo.forge import checks, discussions, pulls, shapes
from app.demo.forge.forge import forge, may_write
from app.demo.forge.paging import asked_page
from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import Repository, find

bitbucket = Blueprint("bitbucket", __name__, url_prefix="/2.0")
REPOSITORY = "/repositories/<owner>/<name>"
_PULLS = f"{REPOSITORY}/pullrequests"
_STATES = {"open": "OPEN", "draft": "OPEN", "closed": "DECLINED", "merged": "MERGED"}
_LIMITS = {"title": 255, "description": 50_000}
_FIELDS = {"title", "description", "source", "destination", "draft", "reviewers", "close_source_branch"}
_FILTERS = ("source.branch.name", "destination.branch.name", "source.repository.full_name")
_MISSING = (
    "You may not have access to this repository or it no longer exists in this workspace. If you think this repository "
    "exists and you have access, make sure you are authenticated."
)
_CONDITION = re.compile(r'([\w.]+) = "((?:[^"\\]|\\.)*)"')


def authorize(_: str | None, values: dict[str, Any] | None) -> None:
    """Find the repository or the workspace in the path, and refuse those who may not do this."""
    given, may = request.headers.get("Authorization"), may_write()
    if may is None and (given or request.method != "GET"):
        refuse(401, "Token is invalid, expired, or not supported for this endpoint.")
    values = values if values is not None else {}
    if "name" in values:
        g.repository = _readable(values.pop("owner"), values.pop("name"))
    elif not given:
        refuse(401, "Token is invalid, expired, or not supported for this endpoint.")
    if request.method != "GET" and not may:
        detail = {"required": ["pullrequest:write"], "granted": ["pullrequest", "repository"]}
        refuse(403, "Your credentials lack one or more required privilege scopes.", detail=detail)


def _readable(owner: str, name: str) -> Repository:
    repository = find(forge().root, owner, name)
    if repository is None or (repository.is_private and not request.headers.get("Authorization")):
        refuse(404, _MISSING)
    return repository


bitbucket.url_value_preprocessor(authorize)


@bitbucket.errorhandler(NotFound)
def refuse_missing(_: NotFound) -> Response:
    return _refusal(404, "Resource not found")


@bitbucket.get(REPOSITORY)
def get_repository() -> dict[str, Any]:
    return _repository()


@bitbucket.get(f"{REPOSITORY}/commit/<sha>")
def get_commit(sha: str) -> dict[str, Any]:
    """A commit by its id, which may be shortened."""
    if not re.fullmatch(r"[0-9a-f]{7,40}", sha):
        refuse(404, "Commit not found")
    return {"type": "commit", "hash": checks.resolve(g.repository, sha)}


@bitbucket.get(f"{REPOSITORY}/refs/branches/<path:branch>")
def get_branch(branch: str) -> dict[str, Any]:
    branches = g.repository.branches()
    if branch not in branches:
        refuse(404, f'Branch "{branch}" not found')
    return {"type": "branch", "name": branch, "target": {"type": "commit", "hash": branches[branch]}}


@bitbucket.get(_PULLS)
def list_pulls() -> dict[str, Any]:
    """With `q`, which finds those of all states, `state` has no effect."""
    wanted = conditions(_FILTERS)
    states = None if "q" in request.args else request.args.getlist("state") or ["OPEN"]
    found = []
    for pull in pulls.get_all(g.repository):
        values = dict(zip(_FILTERS, (pull.head, pull.base, g.repository.full_name), strict=True))
        is_listed = states is None or _STATES[pull.label] in states
        if is_listed and all(values[name] == value for name, value in wanted.items()):
            shape = _shape(pull)
            # Lists leave these out.
            del shape["reviewers"]
            found.append(shape)
    return page(found, {"q", "sort", "state"})


@bitbucket.get(f"{_PULLS}/<int:number>")
def get_pull(number: int) -> dict[str, Any]:
    return _shape(pulls.get(g.repository, number))


@bitbucket.post(_PULLS)
def create_pull() -> tuple[dict[str, Any], int]:
    """One that is open for the same branches is changed instead."""
    given = _values(_FIELDS)
    if not given.get("title"):
        refuse_field("title", "This field is required.")
    head, base = given["source"]["branch"]["name"], given["destination"]["branch"]["name"]
    with pulls.lock:
        branches = g.repository.branches()
        for field, branch in (("source", head), ("destination", base)):
            if branch not in branches:
                refuse_field(field, f"branch not found: {branch}")
        if not g.repository.commits(branches[base], branches[head]):
            refuse(400, "There are no changes to be pulled")
        text = {"title": given["title"], "body": given.get("description", ""), "draft": given.get("draft", False)}
        for pull in pulls.get_all(g.repository):
            if pull.is_open and (pull.head, pull.base) == (head, base):
                return _shape(pulls.save(g.repository, pull, **text)), 201
        made = pulls.add(g.repository, **text, head=head, base=base, shas=(branches[head], branches[base]))
    return _shape(made), 201


@bitbucket.put(f"{_PULLS}/<int:number>")
def update_pull(number: int) -> dict[str, Any]:
    """Only what is sent changes, but for the reviewers: without them all are removed."""
    given = _values({"title", "description", "draft", "reviewers"})
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        if not pull.is_open:
            refuse(400, "Can only update an open pull request.")
        changes = {
            "title": given.get("title", pull.title),
            "body": given.get("description", pull.body),
            "draft": given.get("draft", pull.draft),
            "reviewers": [_reviewer(each) for each in given.get("reviewers", [])],
        }
        if len(set(changes["reviewers"])) < len(changes["reviewers"]):
            refuse_field("reviewers", "Malformed reviewers list")
        return _shape(pulls.save(g.repository, pull, **changes))


def _reviewer(given: dict[str, str]) -> str:
    known = {person(name)[field]: name for name in pulls.PEOPLE for field in ("uuid", "account_id")}
    [(field, value)] = given.items()
    if field not in ("uuid", "account_id") or value not in known:
        refuse_field("reviewers", "Malformed reviewers list")
    if known[value] == shapes.LOGIN:
        author = person(shapes.LOGIN)["display_name"]
        refuse_field("reviewers", f"{author} is the author and cannot be included as a reviewer.")
    return known[value]


@bitbucket.get("/workspaces/<owner>/members")
def list_members(owner: str) -> dict[str, Any]:
    wanted = conditions(("user.nickname",)).get("user.nickname")
    names = [name for name in pulls.PEOPLE if wanted in (None, name)]
    return page([{"type": "workspace_membership", "user": person(name)} for name in names], {"q"})


@bitbucket.get("/workspaces/<owner>/permissions/repositories/<slug>")
def list_permissions(owner: str, slug: str) -> dict[str, Any]:
    """What each person may do, be it as a member of a group. Only administrators of the repository may read it."""
    g.repository = _readable(owner, slug)
    if not may_write():
        refuse(403, "You must be an administrator of this repository.")
    wanted = conditions(("user.account_id",)).get("user.account_id")
    known = [(person(name), may) for name, may in discussions.permissions(g.repository).items()]
    found = [
        {"type": "repository_permission", "user": who, "permission": may}
        for who, may in known
        if wanted in (None, who["account_id"])
    ]
    return page(found, {"q"})


def conditions(names: Iterable[str]) -> dict[str, str]:
    """The values of these fields that the `q` of the request asks for."""
    found: dict[str, str] = {}
    for part in filter(None, request.args.get("q", "").split(" AND ")):
        condition = _CONDITION.fullmatch(part)
        if condition is None or condition[1] not in names:
            refuse(400, f"Invalid query: {part}")
        found[condition[1]] = re.sub(r"\\(.)", r"\1", condition[2])
    return found


def page(found: Sequence[dict[str, Any]], parameters: set[str]) -> dict[str, Any]:
    """The page that the request asks for, with the address of the next one."""
    if unknown := request.args.keys() - parameters - {"pagelen", "page"}:
        refuse(400, f"Unknown parameters: {', '.join(unknown)}")
    if request.args.get("pagelen", 10, int) > 50:
        refuse(400, "Invalid pagelen")
    number, size = asked_page(size_name="pagelen", usual=10, most=50)
    shown = {"values": found[(number - 1) * size : number * size], "pagelen": size, "size": len(found), "page": number}
    following = f"{request.base_url}?{urlencode({**request.args.to_dict(flat=False), 'page': number + 1}, doseq=True)}"
    return {**shown, "next": following} if number * size < len(found) else shown


def person(name: str) -> dict[str, Any]:
    """An account. Access tokens and apps are no users."""
    own = uuid.uuid5(uuid.NAMESPACE_OID, name)
    known = {"display_name": name.title(), "uuid": f"{{{own}}}", "account_id": f"557058:{own}", "links": {}}
    return {"type": "app_user", **known} if name.endswith("-token") else {"type": "user", "nickname": name, **known}


def _repository() -> dict[str, Any]:
    full_name = g.repository.full_name
    return {
        "type": "repository",
        "uuid": f"{{{uuid.uuid5(uuid.NAMESPACE_URL, full_name)}}}",
        "full_name": full_name,
        "name": g.repository.name,
        "is_private": g.repository.is_private,
        "links": {"html": {"href": f"{request.host_url}{full_name}"}},
    }


def _values(fields: set[str]) -> dict[str, Any]:
    given: dict[str, Any] = request.get_json()
    if unknown := given.keys() - fields:
        refuse(400, f"Unknown fields: {', '.join(unknown)}")
    for name, limit in _LIMITS.items():
        if len(given.get(name) or "") > limit:
            refuse_field(name, f"Ensure this value has at most {limit} characters.")
    return given


def _shape(pull: Pull) -> dict[str, Any]:
    text = {"raw": pull.body or "", "markup": "markdown", "html": ""}
    return {
        "type": "pullrequest",
        "id": pull.number,
        "title": pull.title,
        "description": pull.body or "",
        "summary": {"type": "rendered", **text},
        "state": _STATES[pull.label],
        "draft": pull.draft,
        "author": person(pull.author),
        "source": _end(pull.head, pull.head_sha),
        "destination": _end(pull.base, pull.base_sha),
        "reviewers": [person(each) for each in pull.reviewers],
        "close_source_branch": False,
        "created_on": pull.created_at,
        "updated_on": pull.updated_at,
        "links": {"html": {"href": f"{request.host_url}{g.repository.full_name}/pull-requests/{pull.number}"}},
    }


def _end(branch: str, sha: str) -> dict[str, Any]:
    """One side of a pull request. Its commit has a shortened id."""
    return {"branch": {"name": branch}, "commit": {"hash": sha[:12]}, "repository": _repository()}


def refuse(status: int, message: str, **more: Any) -> NoReturn:
    abort(_refusal(status, message, **more))


def refuse_field(field: str, message: str) -> NoReturn:
    refuse(400, f"{field}: {message}", fields={field: [message]})


def _refusal(status: int, message: str, **more: Any) -> Response:
    return make_response(jsonify(type="error", error={"message": message, **more}), status)
