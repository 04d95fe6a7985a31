"""What a running forge serves, and what its callers may do."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from flask import current_app, request
from werkzeug.exceptions import HTTPException, NotFound

from app.demo.forge.apps import Minted
from app.demo.forge.repositories import Repository, find


class Refused(HTTPException):
    """A refusal with GitHub's wording. Each of `errors` says what is wrong with one value."""

    def __init__(self, code: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.code = code
        self.errors = errors


@dataclass
class Forge:
    """Each of `tokens` may read every repository below `root`. It may also write if its value is true. `logins` names the
    people whom tokens belong to; all others are those of one user."""

    root: Path
    tokens: dict[str, bool] = field(repr=False)
    has_drafts: bool
    protected: list[str]
    """Branches that accept no push, in every repository."""
    logins: dict[str, str] = field(default_factory=dict, repr=False)
    tokens_of_app: dict[str, Minted] = field(default_factory=dict, repr=False)


def forge() -> Forge:
    """The forge that the current request is for."""
    return cast(Forge, current_app.extensions["forge"])


def may_write() -> bool | None:
    """Whether the request's token may write; None for an unknown or missing token.

    What a token of an App may do differs from request to request, see `check_app`. The token is that of `Bearer` or `token`, or the password of `Basic`:
    https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
    """
    given = _token()
    known = {**forge().tokens, **({given: True} if of_app() else {})}
    return next((may for token, may in known.items() if hmac.compare_digest(token.encode(), given.encode())), None)


def login() -> str | None:
    """The person whom the request's token belongs to, if the forge knows."""
    return forge().logins.get(_token())


def of_app() -> Minted | None:
    """The token of an App that the request has, if it has one that is valid."""
    found = forge().tokens_of_app.get(_token())
    return found if found and found.expires_at > time.time() else None


def _token() -> str:
    given = request.authorization
    return (given.password or given.token or "") if given else ""


def is_authenticated() -> bool:
    """Whether the request has a token. Raises `Refused` 401 if the token is invalid."""
    has_token = bool(request.headers.get("Authorization"))
    if has_token and may_write() is None:
        raise Refused(401, "Bad credentials")
    return has_token


def readable_repository(owner: str, name: str) -> Repository:
    """The repository. Raises `NotFound` if it does not exist or the caller may not see it, like GitHub."""
    authenticated, repository = is_authenticated(), find(forge().root, owner, name)
    if repository is None or (repository.is_private and not authenticated):
        raise NotFound()
    check_app(repository, *_areas(request.path.partition(f"/{name}/")[2]))
    return repository


def check_app(repository: Repository, *areas: str, writes: bool | None = None) -> None:
    """Raise an error if the request has a token of an App that is for other repositories, or without the permission."""
    made = of_app()
    if made is None:
        return
    if not made.reaches(repository.owner, repository.name):
        raise NotFound()
    is_write = request.method != "GET" if writes is None else writes
    if not made.may("write" if is_write else "read", *areas):
        raise Refused(403, "Resource not accessible by integration")


def _areas(path: str) -> tuple[str, ...]:
    """The areas of which the permission for one is needed, for a path of the API below a repository.

    https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps
    """
    first, last = path.partition("/")[0], path.rpartition("/")[2]
    if first == "commits":
        return ("checks",) if last == "check-runs" else ("statuses",)
    if first in ("issues", "labels"):
        return ("issues", "pull_requests")
    return ({"pulls": "pull_requests", "statuses": "statuses", "actions": "actions"}.get(first, "metadata"),)
