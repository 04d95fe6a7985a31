"""PyGithub on the client of `workers/forges/http.py`, instead of its own connections."""

from __future__ import annotations

from collections.abc import ItemsView
from typing import Any

from github import Auth, Consts
from github.Requester import Requester

from workers.forges.http import Answer, Client

# A page of longer descriptions than GitHub allows still fits into an answer.
_PER_PAGE = 10


class PinnedRequester(Requester):
    """Sends every request to the server of `client`. Nothing is retried, and nothing is delayed."""

    def __init__(self, client: Client, base_url: str, token: str) -> None:
        super().__init__(
            auth=Auth.Token(token),
            base_url=base_url,
            timeout=Consts.DEFAULT_TIMEOUT,
            user_agent=Consts.DEFAULT_USER_AGENT,
            per_page=_PER_PAGE,
            verify=True,
            retry=None,
            pool_size=None,
        )
        self._client = client

    def requestJson(
        self,
        verb: str,
        url: str,
        parameters: dict[str, Any] | None = None,
        headers: dict[str, Any] | None = None,
        input: Any | None = None,
        cnx: Any = None,
        follow_302_redirect: bool = False,
    ) -> tuple[int, dict[str, Any], str]:
        """See `Requester`. `cnx` is set if the server's answers named a URL of another server, which is not called."""
        assert cnx is None, "a URL of another server"
        connection: Any = _Connection(self._client)
        return super().requestJson(verb, url, parameters, headers, input, connection)


class _Connection:
    """What PyGithub expects of a connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def request(self, verb: str, url: str, input: str | None, headers: dict[str, str], stream: bool = False) -> None:
        self._request = (verb, url, headers, input)

    def getresponse(self) -> _Response:
        return _Response(self._client.request(*self._request))


class _Response:
    def __init__(self, answer: Answer) -> None:
        self.status, self._answer = answer.status, answer

    def getheaders(self) -> ItemsView[str, str]:
        return self._answer.headers.items()

    def read(self) -> str:
        return self._answer.text
