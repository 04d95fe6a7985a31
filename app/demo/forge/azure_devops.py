"""The part of the REST API of Azure DevOps that opens, finds and changes pull requests.

https://learn.microsoft.com/rest/api/azure/devops/git/pull-requests, version 7.1. The path of a repository is that of its
organization, its project and itself. `owner/name` is the repository `name` of a project that has the same name.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, NoReturn

from flask import Blueprint, Response, abort, g, jsonify, make_response, request
from werkzeug.exceptions import NotFound

from app.demo.forge import checks, pulls, shapes
from app.demo.forge.checks import Check
from app.demo.forge.forge import forge, may_write
from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import Repository, find_all

azure_devops = Blueprint("azure_devops", __name__)
REPOSITORY = "/<org>/<project>/_apis/git/repositories/<repo>"
PULL_REQUESTS = f"{REPOSITORY}/pullrequests"
# Paths are the same in any case, and the documentation writes both.
PULL_REQUEST = f"{REPOSITORY}/<any('pullrequests', 'pullRequests'):_>/<int:number>"
HEADS, VERSION = "refs/heads/", "7.1"
_STATES = {"open": "active", "draft": "active", "closed": "abandoned", "merged": "completed"}
_SUCCESS = {"succeeded": "success", "failed": "failure", "error": "error", "pending": "", "notApplicable": "neutral"}
_LIMITS, _SHOWN_IN_LISTS = {"title": 400, "description": 4_000}, 400
_EDITABLE = {"title", "description", "isDraft", "status"}
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


@azure_devops.url_value_preprocessor
def authorize(_: str | None, values: dict[str, Any] | None) -> None:
    values = values or {}
    values.pop("_", None)
    given, may = request.authorization, may_write()
    if given is None or (given.type == "bearer" and not _JWT.fullmatch(given.token or "")):
        page = make_response("<html>Azure DevOps Services | Sign In</html>", 302)
        page.headers["Location"] = f"{request.host_url}_signin?realm=dev.azure.com"
        abort(page)
    if may is None:
        abort(Response("<html>Access Denied: The Personal Access Token used has expired.</html>", 401))
    if request.args.get("api-version") != VERSION:
        refuse(400, "VssVersionNotSpecifiedException", f"No api-version was supplied for the {request.method} request.")
    g.org = values.pop("org")
    if "project" in values:
        g.project, name = values.pop("project"), values.pop("repo", None)
        g.repository = _find(g.org, g.project, name)
    if request.method != "GET" and not may:
        reason = f"TF401027: You need the Git 'PullRequestContribute' permission. Details: identity '{shapes.LOGIN}'"
        refuse(403, "GitNeedsPermissionException", reason)


@azure_devops.errorhandler(NotFound)
def refuse_missing(_: NotFound) -> tuple[dict[str, Any], int]:
    message = "TF401180: The requested pull request was not found."
    return _error("GitPullRequestNotFoundException", message), 404


@azure_devops.get(REPOSITORY)
def get_repository() -> dict[str, Any]:
    return repository_shape(g.repository)


@azure_devops.get(PULL_REQUESTS)
def list_pull_requests() -> dict[str, Any]:
    """Of a description the first 400 characters are shown."""
    status = request.args.get("searchCriteria.status", "active")
    ref = request.args.get("searchCriteria.sourceRefName")
    found = [shape(each) for each in pulls.get_all(g.repository) if ref in (None, f"{HEADS}{each.head}")]
    found = [each for each in found if status in ("all", each["status"])]
    return listed([{**each, "description": (each.get("description") or "")[:_SHOWN_IN_LISTS]} for each in found])


@azure_devops.get(PULL_REQUEST)
def get_pull_request(number: int) -> dict[str, Any]:
    return shape(pulls.get(g.repository, number))


@azure_devops.post(PULL_REQUESTS)
def create_pull_request() -> tuple[dict[str, Any], int]:
    given = _values()
    head, base = (str(given.get(name, "")).removeprefix(HEADS) for name in ("sourceRefName", "targetRefName"))
    refs = (given.get("sourceRefName"), given.get("targetRefName"))
    if not given.get("title") or refs != (f"{HEADS}{head}", f"{HEADS}{base}") or head == base:
        refuse(400, "InvalidArgumentValueException", "Invalid argument value. Parameter name: pullRequest")
    with pulls.lock:
        branches = g.repository.branches()
        if head not in branches or base not in branches:
            reason = "TF401398: The pull request cannot be activated because the source and/or the target branch no longer exists"
            refuse(400, "GitPullRequestCannotBeActivated", reason)
        for pull in pulls.get_all(g.repository):
            if pull.is_open and (pull.head, pull.base) == (head, base):
                reason = "TF401179: An active pull request for the source and target branch already exists."
                refuse(409, "GitPullRequestExistsException", reason)
        text = {"title": given["title"], "body": given.get("description"), "draft": bool(given.get("isDraft"))}
        made = pulls.add(g.repository, **text, head=head, base=base, shas=(branches[head], branches[base]))
    return shape(made), 201


@azure_devops.patch(PULL_REQUEST)
def update_pull_request(number: int) -> dict[str, Any]:
    given = _values()
    if not given or given.keys() - _EDITABLE:
        refuse(400, "InvalidArgumentValueException", "Only these properties can be updated: " + ", ".join(_EDITABLE))
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        changes = {"title": given.get("title", pull.title), "body": given.get("description", pull.body)}
        return shape(pulls.save(g.repository, pull, **changes, draft=bool(given.get("isDraft", pull.draft))))


@azure_devops.get("/<org>/<project>/_apis/wit/tags")
def list_tags() -> dict[str, Any]:
    return listed([{"id": id_of(each), "name": each} for each in pulls.LABELS])


@azure_devops.post(f"{PULL_REQUEST}/labels")
def create_label(number: int) -> dict[str, Any]:
    """Add a label, and create it if the project does not have it."""
    name = str(request.get_json().get("name") or "")
    if not name:
        refuse(400, "ArgumentNullException", "Value cannot be null. Parameter name: name")
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        pulls.save(g.repository, pull, labels=pulls.added(pull.labels, [name]))
    return _tag(name)


@azure_devops.get("/<org>/_apis/identities")
def list_identities() -> dict[str, Any]:
    """https://learn.microsoft.com/rest/api/azure/devops/ims/identities/read-identities: parts of names are found, too."""
    if request.args.get("searchFilter") != "General":
        refuse(400, "ArgumentException", "The search filter is not supported by the demonstration forge.")
    wanted = request.args.get("filterValue", "").lower()
    people = [*pulls.PEOPLE, f"{pulls.PEOPLE[1]}m", *(f"[{g.org}]\\{each}" for each in pulls.TEAMS)]
    return listed([_identity(each) for each in people if wanted in each.lower() or wanted == _mail(each)])


@azure_devops.put(f"{PULL_REQUEST}/reviewers/<identity>")
def add_reviewer(number: int, identity: str) -> dict[str, Any]:
    given = request.get_json()
    if given.get("id") != identity or given.get("vote") not in (-10, -5, 0, 5, 10):
        refuse(400, "InvalidArgumentValueException", "Invalid argument value. Parameter name: reviewer")
    person = next((each for each in pulls.PEOPLE if id_of(each) == identity), None)
    team = next((each for each in pulls.TEAMS if id_of(f"[{g.org}]\\{each}") == identity), None)
    if not person and not team:
        refuse(404, "IdentityNotFoundException", f"The identity {identity} could not be found.")
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        reviewers, teams = (
            pulls.added(pull.reviewers, filter(None, [person])),
            pulls.added(pull.teams, filter(None, [team])),
        )
        pulls.save(g.repository, pull, reviewers=reviewers, teams=teams)
    return {**identity_ref(person or f"[{g.org}]\\{team}"), "vote": given["vote"]}


@azure_devops.post(f"{REPOSITORY}/commits/<sha>/statuses")
def set_status(sha: str) -> tuple[dict[str, Any], int]:
    """https://learn.microsoft.com/rest/api/azure/devops/git/statuses/create"""
    if g.repository.run("cat-file", "-e", f"{sha}^{{commit}}").returncode:
        refuse(404, "GitCommitDoesNotExistException", f"TF401175: The commit {sha} does not exist.")
    given = request.get_json()
    context = given.get("context") or {}
    if given.get("state") not in _SUCCESS or not context.get("name"):
        refuse(400, "InvalidArgumentValueException", "Invalid argument value. Parameter name: status")
    name = "/".join(filter(None, [context.get("genre"), context["name"]]))
    more = {"summary": given.get("description"), "url": given.get("targetUrl")}
    state = _SUCCESS[given["state"]]
    return status_shape(checks.report(g.repository, sha, name, state, is_status=True, **more)), 201


def status_shape(check: Check) -> dict[str, Any]:
    genre, _, name = check.name.rpartition("/")
    state = next((each for each, of_it in _SUCCESS.items() if of_it == check.state), "notSet")
    context = {"name": name, "genre": genre or None}
    about = {"id": check.id, "state": state, "description": check.summary, "context": context}
    return {**about, "creationDate": check.at, "targetUrl": check.url, "createdBy": identity_ref(shapes.LOGIN)}


def listed(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of a list that the request asks for."""
    skip, top = request.args.get("$skip", 0, int), request.args.get("$top", 101, int)
    found = found[skip : skip + top]
    return {"count": len(found), "value": found}


def id_of(name: str) -> str:
    """The id of anything, which is derived from its name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def identity_ref(name: str) -> dict[str, Any]:
    kind = "svc" if name.endswith("Build Service") else "aad"
    return {"id": id_of(name), "displayName": name.title(), "uniqueName": name, "descriptor": f"{kind}.{id_of(name)}"}


def repository_shape(of: Repository) -> dict[str, Any]:
    project = {"id": id_of(f"{g.org}/{g.project}"), "name": g.project, "state": "wellFormed", "visibility": "private"}
    return {"id": id_of(of.full_name), "name": of.name, "project": project, "isDisabled": False}


def shape(pull: Pull) -> dict[str, Any]:
    description = {"description": pull.body} if pull.body else {}
    people = [*pull.reviewers, *(f"[{g.org}]\\{each}" for each in pull.teams)]
    return {
        "repository": repository_shape(g.repository),
        "pullRequestId": pull.number,
        "status": _STATES[pull.label],
        "createdBy": identity_ref(pull.author),
        "creationDate": pull.created_at,
        "title": pull.title,
        **description,
        "sourceRefName": f"{HEADS}{pull.head}",
        "targetRefName": f"{HEADS}{pull.base}",
        "mergeStatus": "succeeded",
        "isDraft": pull.draft,
        "lastMergeSourceCommit": {"commitId": pull.head_sha},
        "lastMergeTargetCommit": {"commitId": pull.base_sha},
        "reviewers": [{**identity_ref(each), "vote": 0} for each in people],
        "labels": [_tag(each) for each in pull.labels],
    }


def _tag(name: str) -> dict[str, Any]:
    return {"id": id_of(name), "name": name, "active": True}


def _identity(name: str) -> dict[str, Any]:
    named = (
        {"Account": name, "Mail": _mail(name)} if not name.startswith("[") else {"Account": name.rpartition("\\")[2]}
    )
    properties = {key: {"$type": "System.String", "$value": value} for key, value in named.items()}
    return {"id": id_of(name), "providerDisplayName": name.title(), "isActive": True, "properties": properties}


def _mail(name: str) -> str:
    return f"{name}@example.org"


def _values() -> dict[str, Any]:
    given: dict[str, Any] = request.get_json()
    for name, limit in _LIMITS.items():
        # What .NET calls a character is a unit of UTF-16.
        if len((given.get(name) or "").encode("utf-16-le")) > 2 * limit:
            message = f"Invalid argument value. Parameter name: The {name} must not be longer than {limit} characters."
            refuse(400, "InvalidArgumentValueException", message)
    return given


def _find(org: str, project: str, name: str | None) -> Repository:
    """A repository, or any of the project if no name is given, by names or ids."""
    for each in find_all(forge().root):
        its_org, _, its_project = each.owner.partition("/")
        its_project = its_project or each.name
        is_there = its_org == org and project in (its_project, id_of(f"{org}/{its_project}"))
        if is_there and name in (None, each.name, id_of(each.full_name)):
            g.project = its_project
            return each
    message = (
        f"TF401019: The Git repository with name or identifier {name} does not exist or you do not have permissions"
    )
    refuse(404, "GitRepositoryNotFoundException", message)


def refuse(status: int, key: str, message: str) -> NoReturn:
    abort(make_response(jsonify(_error(key, message)), status))


def _error(key: str, message: str) -> dict[str, Any]:
    name = f"Microsoft.TeamFoundation.Git.Server.{key}, Microsoft.TeamFoundation.Git.Server"
    shared = {"$id": "1", "innerException": None, "errorCode": 0, "eventId": 3000}
    return {**shared, "message": message, "typeName": name, "typeKey": key}
