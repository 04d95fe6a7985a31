"""The state of a running forge: permissions of tokens, and faults that tests of publishing can inject."""

from __future__ import annotations

import hmac
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException, NotFound, TooManyRequests

from app.demo.forge.repositories import Repository, find

FAULTS = "/-/faults"


class Refused(HTTPException):
    """A refusal with GitHub's wording. Each of `errors` says what is wrong with one value."""

    def __init__(self, code: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.code = code
        self.errors = errors


@dataclass
class Forge:
    """Each of `tokens` may read every repository below `root`. It may also write if its value is true.

    With `allow_faults`, `PUT /-/faults` with a token that may write sets these values, which are off at first:

    * `down`: every request is answered 503 for that many seconds; `slow_down`: 429, with that many seconds to wait;
    * `lost_answers`: that many of the next POSTs to the API are executed, but not answered;
    * `refused_pushes`: that many of the next pushes are refused;
    * `revoked`: no token is valid any more;
    * `protected`: branches that accept no push, in every repository;
    * `holds`: each is `before` or `after`, a method, and the beginning of a path and query. The next matching request
      waits before it is executed, or after that and before it is answered, until `holds` is set without it.
      `GET /-/faults` lists those with a waiting request.
    """

    root: Path
    tokens: dict[str, bool] = field(repr=False)
    has_drafts: bool
    allow_faults: bool
    down: float = 0
    slow_down: int = 0
    lost_answers: int = 0
    refused_pushes: int = 0
    revoked: bool = False
    protected: list[str] = field(default_factory=list)
    holds: dict[str, bool] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def set_faults(self, values: dict[str, Any]) -> None:
        if unknown := values.keys() - vars(self).keys():
            raise Refused(422, f"Unknown faults: {', '.join(unknown)}")
        with self.changed:
            if "holds" in values:
                values["holds"] = {name: self.holds.get(name, False) for name in values["holds"]}
            if "down" in values:
                values["down"] += time.monotonic()
            vars(self).update(values)
            self.changed.notify_all()

    def consume(self, fault: str) -> bool:
        """Whether the fault applies to this request. Counts it down."""
        with self.changed:
            remaining = getattr(self, fault)
            setattr(self, fault, max(0, remaining - 1))
        return remaining > 0

    def before_request(self) -> Response | None:
        if request.path == FAULTS:
            return None
        self._hold("before")
        is_down = self.down > time.monotonic()
        if not is_down and not self.slow_down:
            return None
        # The body is read first: a client whose connection closes while it still sends would not see the answer.
        request.get_data()
        if is_down:
            return Response("<html><h1>Unicorn!</h1>No server is available to service this request.</html>", 503)
        message = "You have exceeded a secondary rate limit. Please wait a few minutes."
        raise TooManyRequests(message, retry_after=self.slow_down)

    def after_request(self, response: Response) -> Response:
        self._hold("after")
        if request.method == "POST" and request.path.startswith("/api/") and self.consume("lost_answers"):
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return response

    def _hold(self, when: str) -> None:
        """Wait if a hold matches this request and has not held another one yet."""
        description = f"{when} {request.method} {request.environ['RAW_URI']}"
        with self.changed:
            waiting = (name for name, reached in self.holds.items() if not reached)
            name = next((name for name in waiting if description.startswith(name)), None)
            if name is not None:
                self.holds[name] = True
                self.changed.wait_for(lambda: name not in self.holds)


def forge() -> Forge:
    """The forge that the current request is for."""
    return cast(Forge, current_app.extensions["forge"])


def may_write() -> bool | None:
    """Whether the request's token may write, even if tokens are revoked; None for an unknown or missing token.

    The token is that of `Bearer` or `token`, or the password of `Basic`:
    https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
    """
    given = request.authorization
    token_given = ((given.password or given.token or "") if given else "").encode()
    return next(
        (may for token, may in forge().tokens.items() if hmac.compare_digest(token.encode(), token_given)), None
    )


def is_authenticated() -> bool:
    """Whether the request has a token. Raises `Refused` 401 if the token is invalid or revoked."""
    has_token = bool(request.headers.get("Authorization"))
    if has_token and (may_write() is None or forge().revoked):
        raise Refused(401, "Bad credentials")
    return has_token


def readable_repository(owner: str, name: str) -> Repository:
    """The repository. Raises `NotFound` if it does not exist or the caller may not see it, like GitHub."""
    authenticated, repository = is_authenticated(), find(forge().root, owner, name)
    if repository is None or (repository.is_private and not authenticated):
        raise NotFound()
    return repository
