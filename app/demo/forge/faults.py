"""Troubles to order, for tests of those who publish here. Each is off until it is asked for."""

from __future__ import annotations

import math
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from app.demo.forge.access import Access
from app.demo.forge.messages import Answer, Refused

PATH = "/-/faults"


class Faults:
    """`PUT /-/faults` with a token of the forge and an object of what shall go wrong.

    * `down`: for that many seconds every request is answered 503; `slow_down`: 429 with `Retry-After`;
    * `lost_answers`: that many of the next POSTs to the API are done, but not answered;
    * `refused_pushes`: that many of the next pushes are refused;
    * `revoked`: true, and no token is good any more; false, and they are again;
    * `protected`: the branches that take no push, in every repository;
    * `holds`: each is `before` or `after`, a method, and how a request's path and query begin; the next request like
      that waits before it is done, or after it was done and before it is answered, until `holds` are ordered without
      it. `GET /-/faults` tells which have a request waiting.
    """

    def __init__(self, access: Access, orders: Path, protected: list[str], *, enabled: bool) -> None:
        self._access = access
        self._orders = orders
        self._changed = threading.Condition()
        self._enabled = enabled
        self._until = {"down": 0.0, "slow_down": 0.0}
        self._lost_answers = 0
        self._holds: dict[str, bool] = {}
        self.protected = protected

    def order(self, values: dict[str, Any]) -> None:
        """Take an order. Raise `Refused` 404 where the forge was not started for that."""
        if not self._enabled:
            raise Refused(404, "Not Found")
        with self._changed:
            for name in self._until.keys() & values.keys():
                self._until[name] = time.monotonic() + float(values[name])
            self._lost_answers = int(values.get("lost_answers", self._lost_answers))
            self.protected = list(values.get("protected", self.protected))
            self._holds = {name: self._holds.get(name, False) for name in values.get("holds", self._holds)}
            self._changed.notify_all()
        for _ in range(int(values.get("refused_pushes", 0))):
            (self._orders / f"refuse-push-{uuid.uuid4().hex}").touch()
        if "revoked" in values:
            (self._access.revoke if values["revoked"] else self._access.restore)()

    def told(self) -> dict[str, list[str]]:
        """Which requests are held."""
        with self._changed:
            return {"held": [name for name, reached in self._holds.items() if reached]}

    def hold(self, when: str, request: str) -> None:
        """Wait, where that is ordered for this moment of this request; one that was held before is let through."""
        with self._changed:
            waiting = (name for name, reached in self._holds.items() if not reached)
            name = next((name for name in waiting if f"{when} {request}".startswith(name)), None)
            if name is not None:
                self._holds[name] = True
                self._changed.wait_for(lambda: name not in self._holds)

    def instead(self) -> Answer | None:
        """The answer to any request while the forge is away."""
        left = {name: until - time.monotonic() for name, until in self._until.items()}
        if left["down"] > 0:
            page = b"<html><body><h1>Unicorn!</h1>No server is available to service this request.</body></html>"
            return Answer(503, page, "text/html; charset=utf-8")
        if left["slow_down"] > 0:
            refusal = Refused(429, "You have exceeded a secondary rate limit. Please wait a few minutes.").answer()
            return Answer(429, refusal.body, headers={"Retry-After": str(math.ceil(left["slow_down"]))})
        return None

    def loses_answer(self) -> bool:
        """Whether the answer that is about to be sent shall be lost; each time counts."""
        with self._changed:
            lost = self._lost_answers > 0
            self._lost_answers -= lost
        return lost
