"""The part of GitHub's REST API that opens, finds and merges pull requests."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from app.demo.forge import pulls, shapes
from app.demo.forge.forge import Refused, is_authenticated, login, may_write, readable_repository
from app.demo.forge.paging import asked_page, page_of
from app.demo.forge.pulls import Pull

PREFIX = "/api/v3"
"""The path of the API on an Enterprise server."""

api = Blueprint("api", __name__, url_prefix=PREFIX)
_PULLS = "/repos/<owner>/<name>/pulls"
_ISSUES = "/repos/<owner>/<name>/issues"


@api.url_value_preprocessor
def authorize(_: str | None, parts: dict[str, Any] | None) -> None:
    """Find the repository in the path. Raises `Refused` if the caller may not do this, like GitHub."""
    if parts:
        g.repository = readable_repository(parts.pop("owner"), parts.pop("name"))
    if (request.method != "GET" or not parts) and not is_authenticated():
        raise Refused(401, "Requires authentication")
    if request.method != "GET" and not may_write():
        raise Refused(403, "Resource not accessible by personal access token")


@api.get("/user")
def get_user() -> dict[str, Any]:
    return shapes.public_user(login() or shapes.LOGIN)


@api.get("/repos/<owner>/<name>")
def get_repository() -> dict[str, Any]:
    return shapes.repository(g.repository)


@api.get(_PULLS)
def list_pulls() -> Response:
    """https://docs.github.com/en/rest/pulls/pulls#list-pull-requests"""
    found = _selected(pulls.get_all(g.repository))
    page, size = asked_page()
    last = max(1, -(-len(found) // size))
    near = {"prev": page - 1, "first": 1} if page > 1 else {}
    near |= {"next": page + 1, "last": last} if page < last else {}
    response = jsonify([shapes.pull_in_list(g.repository, pull) for pull in page_of(found)])
    for rel, number in near.items():
        response.headers.add("Link", f'<{request.base_url}?{urlencode({**request.args, "page": number})}>; rel="{rel}"')
    return response


@api.post(_PULLS)
def create_pull() -> tuple[dict[str, Any], int, dict[str, str]]:
    body = shapes.pull_request(g.repository, pulls.create(g.repository, sent_values()))
    return body, 201, {"Location": body["url"]}


@api.get(f"{_PULLS}/<int:number>")
def get_pull(number: int) -> dict[str, Any]:
    return shapes.pull_request(g.repository, pulls.get(g.repository, number))


@api.patch(f"{_PULLS}/<int:number>")
def update_pull(number: int) -> dict[str, Any]:
    return shapes.pull_request(g.repository, pulls.update(g.repository, number, sent_values()))


@api.get(f"{_PULLS}/<int:number>/merge")
def is_merged(number: int) -> tuple[str, int]:
    if not pulls.get(g.repository, number).merged_at:
        raise NotFound()
    return "", 204


@api.put(f"{_PULLS}/<int:number>/merge")
def merge_pull(number: int) -> dict[str, Any]:
    pull = pulls.merge(g.repository, number, sent_values())
    return {"sha": pull.merge_commit_sha, "merged": True, "message": "Pull Request successfully merged"}


@api.get("/repos/<owner>/<name>/labels/<label>")
def get_label(label: str) -> dict[str, Any]:
    if label not in pulls.LABELS:
        raise NotFound()
    return shapes.label(g.repository, label)


@api.post(f"{_ISSUES}/<int:number>/labels")
def add_labels(number: int) -> list[dict[str, Any]]:
    """https://docs.github.com/en/rest/issues/labels#add-labels-to-an-issue"""
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        pull = pulls.save(g.repository, pull, labels=pulls.added(pull.labels, sent_values()["labels"]))
    return [shapes.label(g.repository, each) for each in pull.labels]


@api.post(f"{_PULLS}/<int:number>/requested_reviewers")
def request_reviewers(number: int) -> tuple[dict[str, Any], int]:
    """https://docs.github.com/en/rest/pulls/review-requests#request-reviewers-for-a-pull-request"""
    values = sent_values()
    people, teams = values.get("reviewers", []), values.get("team_reviewers", [])
    if shapes.LOGIN in people:
        raise Refused(422, "Review cannot be requested from pull request author.")
    if not set(people) <= set(pulls.PEOPLE) or not set(teams) <= set(pulls.TEAMS):
        who = f"One or more of the users or teams you specified is not a collaborator of the {g.repository.full_name}"
        raise Refused(422, f"Reviews may only be requested from collaborators. {who} repository.")
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        reviewers, teams = pulls.added(pull.reviewers, people), pulls.added(pull.teams, teams)
        pull = pulls.save(g.repository, pull, reviewers=reviewers, teams=teams)
    return shapes.pull_in_list(g.repository, pull), 201


@api.post(f"{_ISSUES}/<int:number>/assignees")
def add_assignees(number: int) -> tuple[dict[str, Any], int]:
    """https://docs.github.com/en/rest/issues/assignees#add-assignees-to-an-issue: who cannot be assigned is left out."""
    known = [each for each in sent_values()["assignees"] if each in pulls.PEOPLE]
    with pulls.lock:
        pull = pulls.get(g.repository, number)
        pull = pulls.save(g.repository, pull, assignees=pulls.added(pull.assignees, known))
    return shapes.issue(g.repository, pull), 201


def sent_values() -> dict[str, Any]:
    """The JSON object in the body, whatever its Content-Type. An empty body is an empty object."""
    try:
        given = json.loads(request.get_data() or b"{}")
    except ValueError:
        raise Refused(400, "Problems parsing JSON") from None
    if not isinstance(given, dict):
        raise Refused(400, "Body should be a JSON object")
    return given


def _selected(found: list[Pull]) -> list[Pull]:
    """The pull requests that match the request's filters, in the requested order."""
    query = {"state": "open", "sort": "created", **request.args}
    if query["state"] not in ("open", "closed", "all"):
        raise pulls.invalid("state")
    owner, _, head = query.get("head", "").partition(":")
    # GitHub ignores a head without an owner.
    heads = [pull for pull in found if not head or (owner, head) == (g.repository.owner, pull.head)]
    bases = [pull for pull in heads if query.get("base", pull.base) == pull.base]
    chosen = [pull for pull in bases if query["state"] in ("all", pull.state)]
    is_down = query.get("direction", "desc" if query["sort"] == "created" else "asc") == "desc"
    return sorted(
        chosen, key=lambda pull: (query["sort"] == "updated" and pull.updated_at, pull.number), reverse=is_down
    )
