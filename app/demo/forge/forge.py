"""What a running forge serves, and what its callers may do."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from flask import current_app, request
from werkzeug.exceptions import HTTPException, NotFound

from app.demo.forge.repositories import Repository, find


class Refused(HTTPException):
    """A refusal with GitHub's wording. Each of `errors` says what is wrong with one value."""

    def __init__(self, code: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.code = code
        self.errors = errors


@dataclass
class Forge:
    """Each of `tokens` may read every repository below `root`. It may also write if its value is true."""

    root: Path
    tokens: dict[str, bool] = field(repr=False)
    has_drafts: bool
    protected: list[str]
    """Branches that accept no push, in every repository."""


def forge() -> Forge:
    """The forge that the current request is for."""
    return cast(Forge, current_app.extensions["forge"])


def may_write() -> bool | None:
    """Whether the request's token may write; None for an unknown or missing token.

    The token is that of `Bearer` or `token`, or the password of `Basic`:
    https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
    """
    given = request.authorization
    token_given = ((given.password or given.token or "") if given else "").encode()
    return next(
        (may for token, may in forge().tokens.items() if hmac.compare_digest(token.encode(), token_given)), None
    )


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
    return repository
