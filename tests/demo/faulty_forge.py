"""`python -m tests.demo.faulty_forge`: the demonstration forge, with faults that a client injects."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import NotFound, TooManyRequests

from app.demo.forge.__main__ import main
from app.demo.forge.application import create_app
from app.demo.forge.forge import Forge, Refused

FAULTS = "/-/faults"


@dataclass
class Faults:
    """`PUT /-/faults` with a token that may write sets these values, which are off at first, or those of the forge:

    * `down`: every request is answered 503 for that many seconds; `slow_down`: 429, with that many seconds to wait;
    * `lost_answers`: that many of the next POSTs to the API are executed, but not answered;
    * `revoked`: no token is valid any more;
    * `no_checks`: no token may read checks;
    * `holds`: each is `before` or `after`, a method, and the beginning of a path and query. The next matching request
      waits before it is executed, or after that and before it is answered, until `holds` is set without it.
      `GET /-/faults` lists those with a waiting request.
    """

    down: float = 0
    slow_down: int = 0
    lost_answers: int = 0
    revoked: bool = False
    no_checks: bool = False
    holds: dict[str, bool] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def set(self, values: dict[str, Any]) -> None:
        with self.changed:
            if "holds" in values:
                values["holds"] = {name: self.holds.get(name, False) for name in values["holds"]}
            if "down" in values:
                values["down"] += time.monotonic()
            vars(self).update(values)
            self.changed.notify_all()

    def before_request(self) -> Response | None:
        if request.path == FAULTS:
            return None
        self._hold("before")
        if self.no_checks and request.path.endswith("/check-runs"):
            raise Refused(403, "Resource not accessible by personal access token")
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
        is_api = request.path.startswith(("/api/", "/2.0/", "/rest/")) or "/_apis/" in request.path
        if request.method == "POST" and is_api and self._loses_the_answer():
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return response

    def _loses_the_answer(self) -> bool:
        with self.changed:
            remaining, self.lost_answers = self.lost_answers, max(0, self.lost_answers - 1)
        return remaining > 0

    def _hold(self, when: str) -> None:
        """Wait if a hold matches this request and has not held another one yet."""
        description = f"{when} {request.method} {request.environ['RAW_URI']}"
        with self.changed:
            waiting = (name for name, reached in self.holds.items() if not reached)
            name = next((name for name in waiting if description.startswith(name)), None)
            if name is not None:
                self.holds[name] = True
                self.changed.wait_for(lambda: name not in self.holds)


def create_faulty_app(serving: Forge) -> Flask:
    app, faults, tokens = create_app(serving), Faults(), serving.tokens

    def set_faults() -> Response:
        """Set faults, or list the holds with a waiting request."""
        if not request.authorization or not tokens.get(request.authorization.token or ""):
            raise NotFound()
        if request.method == "PUT":
            values = request.get_json()
            if unknown := values.keys() - vars(faults).keys() - {"protected"}:
                raise Refused(422, f"Unknown faults: {', '.join(unknown)}")
            serving.protected = values.pop("protected", serving.protected)
            faults.set(values)
        serving.tokens = {} if faults.revoked else tokens
        return jsonify(held=[name for name, reached in faults.holds.items() if reached])

    app.add_url_rule(FAULTS, view_func=set_faults, methods=["GET", "PUT"])
    app.before_request(faults.before_request)
    app.after_request(faults.after_request)
    return app


if __name__ == "__main__":
    main(create_faulty_app)
