"""Operations that GitHub has only in GraphQL: turning a pull request into a draft, and back."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, request
from werkzeug.exceptions import NotFound

from app.demo.forge import pulls, repositories, shapes
from app.demo.forge.forge import Refused, check_app, forge, is_authenticated, may_write
from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import Repository

graphql = Blueprint("graphql", __name__)
_TO_DRAFT = {"convertPullRequestToDraft": True, "markPullRequestReadyForReview": False}


@graphql.post("/api/graphql")
def mutate() -> dict[str, Any]:
    """https://docs.github.com/en/graphql/reference/mutations#convertpullrequesttodraft"""
    if not is_authenticated():
        raise Refused(401, "This endpoint requires you to be authenticated.")
    asked = json.loads(request.get_data())
    name = next((name for name in _TO_DRAFT if f"{name}(" in asked["query"]), None)
    if name is None:
        return _refusal("undefinedField", "The demonstration forge does not support this mutation.")
    if not may_write():
        return _refusal("FORBIDDEN", "Resource not accessible by personal access token")
    node_id = asked["variables"]["input"]["pullRequestId"]
    found = _find(node_id)
    if found is None:
        return _refusal("NOT_FOUND", f"Could not resolve to a node with the global id of '{node_id}'.")
    try:
        # Both permissions are needed.
        for area in ("pull_requests", "contents"):
            check_app(found[0], area)
    except (NotFound, Refused):
        return _refusal("FORBIDDEN", "Resource not accessible by integration")
    try:
        changed = pulls.make_draft(*found, draft=_TO_DRAFT[name])
    except Refused as refusal:
        return _refusal("UNPROCESSABLE", str(refusal.description))
    return {"data": {name: {"clientMutationId": None, "pullRequest": {"isDraft": changed.draft}}}}


def _find(node_id: str) -> tuple[Repository, Pull] | None:
    for repository in repositories.find_all(forge().root):
        for pull in pulls.get_all(repository):
            if shapes.node_id_of(repository, pull) == node_id:
                return repository, pull
    return None


def _refusal(kind: str, message: str) -> dict[str, Any]:
    """An error in a response with status 200, as in GraphQL."""
    return {"data": None, "errors": [{"type": kind, "message": message}]}
