"""A forge's REST API: JSON over the client of `workers/forges/http.py`. GitHub's is used through PyGithub instead."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from workers.errors import EngineError
from workers.forges.failures import of_status, quotable, translated
from workers.forges.http import Answer, Client, Limits
from workers.forges.places import check_api_url
from workers.job import Host

_MOST_REDIRECTS = 3


class Refusal(EngineError):
    """The forge answered with an error status, and with `data` if that was JSON."""

    def __init__(self, failure: EngineError, status: int, said: str, data: Any) -> None:
        super().__init__(failure.code, failure.stage, failure.message, retryable=failure.retryable)
        self.status, self.said, self.data = status, said, data


class Rest:
    """Calls the API at `api_url` of the forge called `name`. `permission` names what the token needs.

    The constructor raises EngineError `forge_refused` for a bad URL and `forge_auth` without a token; see also `Client`.
    """

    def __init__(
        self,
        name: str,
        api_url: str,
        token: str,
        host: Host,
        limits: Limits,
        *,
        permission: str,
        authorization: str | None = None,
    ) -> None:
        check_api_url(api_url, token, permission)
        self._name, self._url, self._permission = name, api_url, permission
        self._who = urlsplit(api_url).hostname or ""
        authorization = authorization or f"Bearer {token}"
        self._secrets = (authorization.partition(" ")[2], token, token.partition(":")[2])
        self._headers = {"Authorization": authorization, "User-Agent": "agent-runners"}
        self._host, self._client = host, Client(api_url, host, limits)

    def get(self, path: str, what: str, **query: str | int) -> Any:
        """The JSON at `path` below the API's URL. Redirects on the same server are followed: repositories move."""
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path, what)

    def call(self, method: str, path: str, what: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request for `what` (words for a message) and return the JSON of the answer; None if it is empty.

        Raises EngineError, see `Forge`; a `Refusal` if the forge answered with an error status.
        """
        answer = self._send(method, urlsplit(self._url).path + path, body)
        for _ in range(_MOST_REDIRECTS):
            if method != "GET" or not 300 < answer.status < 400 or not (target := self._own_target(_location(answer))):
                break
            answer = self._send(method, target, body)
        if not 200 <= answer.status < 300:
            raise self._refusal(answer, what)
        return json.loads(answer.text) if answer.text else None

    def read_end(self, path: str, what: str, kept: int, elsewhere: Limits) -> str:
        """The last `kept` bytes of the text at `path`, which may be on another server. That one gets no token, and its
        limits are `elsewhere`."""
        answer = self._send("GET", urlsplit(self._url).path + path, None, kept, accept="*/*")
        if 300 < answer.status < 400 and (target := _another_server(self._url, _location(answer))):
            parts = urlsplit(target)
            client = Client(f"{parts.scheme}://{parts.netloc}", self._host, elsewhere)
            place = f"{parts.path}?{parts.query}" if parts.query else parts.path
            answer = client.request("GET", place, {"User-Agent": self._headers["User-Agent"]}, None, kept)
        if not 200 <= answer.status < 300:
            raise self._refusal(answer, what)
        return answer.text

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise every failure, including that of reading an answer, as an EngineError without the token."""
        with translated(self._who, self._name, *self._secrets):
            yield

    def _send(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None,
        kept: int | None = None,
        accept: str = "application/json",
    ) -> Answer:
        content = None if body is None else json.dumps(body)
        headers = {**self._headers, "Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self._client.request(method, target, headers, content, kept)

    def _own_target(self, location: str) -> str | None:
        """The path and query of a redirect's target, if that is on this server, to which the token may be sent."""
        own, parts = urlsplit(self._url), urlsplit(urljoin(self._url, location))
        if not location or (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            return None
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def _refusal(self, answer: Answer, what: str) -> Refusal:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        try:
            data = json.loads(answer.text)
            said = quotable(data)
        except (ValueError, RecursionError):
            data, said = None, ""
        failure = of_status(answer.status, headers, self._who, what, said, self._permission)
        return Refusal(failure, answer.status, said, data)


def basic(pair: str) -> str:
    """The header `Authorization` for a name and a password with a colon between them: RFC 7617."""
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _location(answer: Answer) -> str:
    return next((value for name, value in answer.headers.items() if name.lower() == "location"), "")


def _another_server(own: str, location: str) -> str | None:
    """Where a redirect leads, unless that is not HTTP, or less safe than the URL of our own."""
    target = urljoin(own, location)
    scheme = urlsplit(target).scheme
    return target if location and (scheme == "https" or scheme == "http" == urlsplit(own).scheme) else None
