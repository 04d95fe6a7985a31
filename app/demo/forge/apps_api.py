"""The part of GitHub's REST API for Apps: https://docs.github.com/en/rest/apps/apps"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, request
from werkzeug.exceptions import NotFound

from app.demo.forge import apps, shapes
from app.demo.forge.api import PREFIX, sent_values
from app.demo.forge.apps import App, Installation, Minted
from app.demo.forge.forge import Refused, forge
from app.demo.forge.paging import page_of
from app.demo.forge.repositories import Repository, find

apps_api = Blueprint("apps_api", __name__, url_prefix=PREFIX)
SLUG = "agent-runners"


@apps_api.get("/app")
def get_app() -> dict[str, Any]:
    app = _authenticated()
    url = request.host_url
    return {
        "id": int(app.id),
        "slug": SLUG,
        "node_id": f"A_{app.id}",
        "owner": shapes.user(shapes.LOGIN),
        "name": SLUG,
        "description": None,
        "external_url": url,
        "html_url": f"{url}apps/{SLUG}",
        "created_at": shapes.EPOCH,
        "updated_at": shapes.EPOCH,
        "permissions": dict(app.permissions),
        "events": [],
        "installations_count": len(app.installations),
    }


@apps_api.get("/app/installations")
def list_installations() -> list[dict[str, Any]]:
    app = _authenticated()
    return page_of([_shape(app, each) for each in app.installations])


@apps_api.get("/repos/<owner>/<name>/installation")
def get_installation(owner: str, name: str) -> dict[str, Any]:
    app, repository = _authenticated(), find(forge().root, owner, name)
    found = next((each for each in app.installations if each.includes(owner, name)), None)
    if repository is None or found is None:
        raise NotFound()
    return _shape(app, found)


@apps_api.post("/app/installations/<int:installation_id>/access_tokens")
def create_token(installation_id: int) -> tuple[dict[str, Any], int]:
    """https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app"""
    app, values = _authenticated(), sent_values()
    installation = next((each for each in app.installations if each.id == installation_id), None)
    if installation is None:
        raise NotFound()
    if installation.suspended:
        raise Refused(403, "This installation has been suspended")
    repositories = [_included(installation, name) for name in values.get("repositories", [])]
    permissions = values.get("permissions", installation.permissions)
    if not apps.holds(installation.permissions, permissions):
        raise Refused(422, "The permissions requested are not granted to this installation.")
    names = [each.name for each in repositories] if "repositories" in values else None
    made = apps.mint(app, installation, names, permissions)
    forge().tokens_of_app[made.token] = made
    return _answer(made, repositories), 201


def _authenticated() -> App:
    """The forge's App, if its key signed the request. Raises `Refused` 401."""
    app, given = apps.load(forge().root), request.authorization
    if app is None or given is None or given.type != "bearer" or not app.accepts(given.token or ""):
        raise Refused(401, "A JSON web token could not be decoded")
    return app


def _included(installation: Installation, name: str) -> Repository:
    repository = find(forge().root, installation.owner, name)
    if repository is None or not installation.includes(installation.owner, name):
        message = (
            "There is at least one repository that does not exist or is not accessible to the parent installation."
        )
        raise Refused(422, message)
    return repository


def _answer(made: Minted, repositories: Sequence[Repository]) -> dict[str, Any]:
    ends = datetime.datetime.fromtimestamp(made.expires_at, datetime.UTC)
    answer = {
        "token": made.token,
        "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "permissions": dict(made.permissions),
        "repository_selection": "all" if made.names is None else "selected",
    }
    return answer | ({"repositories": [shapes.repository(each) for each in repositories]} if repositories else {})


def _shape(app: App, installation: Installation) -> dict[str, Any]:
    """GitHub's `installation`."""
    url = f"{request.host_url}api/v3/app/installations/{installation.id}"
    return {
        "id": installation.id,
        # GitHub's description wants the fields of a user and those of an enterprise.
        "account": {
            **shapes.user(installation.owner),
            **dict.fromkeys(["name", "slug"], installation.owner),
            **dict.fromkeys(["created_at", "updated_at"], shapes.EPOCH),
        },
        "repository_selection": "all" if installation.repositories is None else "selected",
        "access_tokens_url": f"{url}/access_tokens",
        "repositories_url": f"{request.host_url}api/v3/installation/repositories",
        "html_url": f"{request.host_url}settings/installations/{installation.id}",
        "app_id": int(app.id),
        "app_slug": SLUG,
        "target_id": 1,
        "target_type": "Organization",
        "permissions": {"metadata": "read", **installation.permissions},
        "events": [],
        "single_file_name": None,
        "created_at": shapes.EPOCH,
        "updated_at": shapes.EPOCH,
        "suspended_by": shapes.user(installation.owner) if installation.suspended else None,
        "suspended_at": shapes.EPOCH if installation.suspended else None,
    }
