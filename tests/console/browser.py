"""A browser without scripts: it keeps cookies, and sends forms with what their page says."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Browser:
    """Pages are read with `get`, forms sent with `post`."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self._csrf_of: dict[str | None, str] = {}

    def get(self, path: str, **arguments: Any) -> TestResponse:
        return self.client.get(path, **arguments)

    def part(self, path: str) -> TestResponse:
        """What htmx asks for."""
        return self.client.get(path, headers={"HX-Request": "true"})

    def page(self, path: str) -> str:
        response = self.get(path)
        assert response.status_code == 200, response.text
        return response.text

    def post(self, path: str, /, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
        return self.client.post(path, data={"csrf": self.csrf(), **fields}, headers=headers or {})

    def csrf(self) -> str:
        """What forms of this browser send. It is the same until the cookie changes, so no page is read again for it."""
        if self._cookie() is None or self._cookie() not in self._csrf_of:
            found = self._read_csrf()
            self._csrf_of[self._cookie()] = found
        return self._csrf_of[self._cookie()]

    def _cookie(self) -> str | None:
        cookie = self.client.get_cookie("agent-runners")
        return None if cookie is None else cookie.value

    def _read_csrf(self) -> str:
        for path in ("/sites/new", "/sign-in"):
            if found := _CSRF.search(self.get(path).text):
                return found[1]
        raise AssertionError("no page has a form")
