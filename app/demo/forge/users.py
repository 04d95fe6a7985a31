"""Whom a token belongs to, as the APIs of forges say it. GitHub's `/user` is in `api.py`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, request

from app.demo.forge import azure_devops, bitbucket, gitea, gitlab, shapes
from app.demo.forge.forge import login, may_write

users = Blueprint("users", __name__)


@users.before_request
def authorize() -> None:
    if may_write() is None:
        abort(Response('{"message": "401 Unauthorized"}', 401, content_type="application/json"))


@users.get("/api/v4/user")
def of_gitlab() -> dict[str, Any]:
    """https://docs.gitlab.com/api/users/#get-the-current-user"""
    person = gitlab.person(_login())
    return {**person, "email": _mail(), "commit_email": f"{person['id']}-{_login()}@users.noreply.example.org"}


@users.get("/api/v1/user")
def of_gitea() -> dict[str, Any]:
    """https://docs.gitea.com/api/ "Get the authenticated user" """
    return {**gitea.person(_login()), "full_name": "", "email": _mail()}


@users.get("/2.0/user")
def of_bitbucket() -> dict[str, Any]:
    """https://developer.atlassian.com/cloud/bitbucket/rest/api-group-users/#api-user-get"""
    return bitbucket.person(_login())


@users.get("/2.0/user/emails")
def emails_of_bitbucket() -> dict[str, Any]:
    """https://developer.atlassian.com/cloud/bitbucket/rest/api-group-users/#api-user-emails-get"""
    found = [(f"old-{_mail()}", False), (_mail(), True)]
    return {"values": [{"email": each, "is_primary": main, "is_confirmed": True} for each, main in found]}


@users.get("/plugins/servlet/applinks/whoami")
def of_bitbucket_data_center() -> Response:
    """The name of the user, as text."""
    return Response(_login(), content_type="text/plain")


@users.get("/<org>/_apis/connectionData")
def of_azure_devops(org: str) -> dict[str, Any]:
    """What the clients of Azure DevOps ask first. It is a preview in every version of the API."""
    if not request.args.get("api-version", "").endswith("-preview"):
        message = "The requested version is under preview. The -preview flag must be supplied in the api-version."
        abort(Response(f'{{"message": "{message}"}}', 400, content_type="application/json"))
    account = {"Account": {"$type": "System.String", "$value": _mail()}}
    user = {"id": azure_devops.id_of(_login()), "providerDisplayName": _login().title(), "properties": account}
    return {"authenticatedUser": user, "deploymentType": "hosted"}


def _login() -> str:
    return login() or shapes.LOGIN


def _mail() -> str:
    return f"{_login()}@example.com"
