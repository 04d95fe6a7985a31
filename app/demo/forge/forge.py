"""What a running forge knows: who may do what, and the troubles that tests of those who publish here order."""

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
    """A refusal in the words of GitHub. Each of `errors` says what is wrong with one value."""

    def __init__(self, code: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.code = code
        self.errors = errors


@dataclass
class Forge:
    """Each of `tokens` may read every repository below `root`, and write as well where it says so.

    With `takes_orders`, `PUT /-/faults` with a token that may write changes the values of these, each off at first:

    * `down`: for that many seconds every request is answered 503; `slow_down`: 429, with so long to wait;
    * `lost_answers`: that many of the next POSTs to the API are done, but not answered;
    * `refused_pushes`: that many of the next pushes are refused;
    * `revoked`: no token is good any more;
    * `protected`: the branches that take no push, in every repository;
    * `holds`: each is `before` or `after`, a method, and how a request's path and query begin; the next request like
      that waits before it is done, or after it was done and before it is answered, until `holds` are ordered without
      it. `GET /-/faults` tells which have a request waiting.
    """

    root: Path
    tokens: dict[str, bool] = field(repr=False)
    has_drafts: bool
    takes_orders: bool
    down: float = 0
    slow_down: int = 0
    lost_answers: int = 0
    refused_pushes: int = 0
    revoked: bool = False
    protected: list[str] = field(default_factory=list)
    holds: dict[str, bool] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def order(self, values: dict[str, Any]) -> None:
        if unknown := values.keys() - vars(self).keys():
            raise Refused(422, f"There are no faults of these names: {', '.join(unknown)}")
        with self.changed:
            if "holds" in values:
                values["holds"] = {name: self.holds.get(name, False) for name in values["holds"]}
            if "down" in values:
                values["down"] += time.monotonic()
            vars(self).update(values)
            self.changed.notify_all()

    def takes(self, fault: str) -> bool:
        """Whether this is one of those that were ordered to go wrong; each time counts."""
        with self.changed:
            left = getattr(self, fault)
            setattr(self, fault, max(0, left - 1))
        return left > 0

    def before_request(self) -> Response | None:
        if request.path == FAULTS:
            return None
        self._hold("before")
        is_down = self.down > time.monotonic()
        if not is_down and not self.slow_down:
            return None
        # A caller whose connection is cut while it still sends would never see the answer.
        request.get_data()
        if is_down:
            return Response("<html><h1>Unicorn!</h1>No server is available to service this request.</html>", 503)
        message = "You have exceeded a secondary rate limit. Please wait a few minutes."
        raise TooManyRequests(message, retry_after=self.slow_down)

    def after_request(self, response: Response) -> Response:
        self._hold("after")
        if request.method == "POST" and request.path.startswith("/api/") and self.takes("lost_answers"):
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return response

    def _hold(self, when: str) -> None:
        """Wait, where that is ordered for this moment of this request; one that was held before is let through."""
        asked = f"{when} {request.method} {request.environ['RAW_URI']}"
        with self.changed:
            waiting = (name for name, reached in self.holds.items() if not reached)
            name = next((name for name in waiting if asked.startswith(name)), None)
            if name is not None:
                self.holds[name] = True
                self.changed.wait_for(lambda: name not in self.holds)


def forge() -> Forge:
    """The forge that the current request is for."""
    return cast(Forge, current_app.extensions["forge"])


def may_write() -> bool | None:
    """What the token is good for that is shown, revoked or not; None where it is unknown, or none is shown.

    It is that of `Bearer` or `token`, or the password of `Basic`:
    https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
    """
    given = request.authorization
    shown = ((given.password or given.token or "") if given else "").encode()
    return next((may for token, may in forge().tokens.items() if hmac.compare_digest(token.encode(), shown)), None)


def is_known() -> bool:
    """Whether a token is shown. Raise `Refused` 401 for one that is not, or no longer, good."""
    is_shown = bool(request.headers.get("Authorization"))
    if is_shown and (may_write() is None or forge().revoked):
        raise Refused(401, "Bad credentials")
    return is_shown


def readable(owner: str, name: str) -> Repository:
    """The repository, if there is one and the caller may see it. Raise `NotFound` for both alike, as GitHub does."""
    known, repository = is_known(), find(forge().root, owner, name)
    if repository is None or (repository.is_private and not known):
        raise NotFound()
    return repository
