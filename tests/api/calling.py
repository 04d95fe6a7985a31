"""Calling the API, and checking what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import db
from app.models.states import Scope
from app.services.accounts import tokens

BASE = "/api/v1"
NOBODY = "0197c1de-0000-7000-8000-000000000001"
"""An id that nothing has."""


class Api:
    """A caller with a token: `api.get("/sites")` asks below `/api/v1` with it."""

    def __init__(self, client: FlaskClient, token: str | None) -> None:
        self.client, self.token = client, token

    def __call__(self, method: str, path: str, **arguments: Any) -> TestResponse:
        headers = {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **arguments.pop("headers", {})}
        url = path if "://" in path else BASE + path
        # Buffered answers are closed, as a server does.
        return self.client.open(url, method=method, headers=headers, **{"buffered": True, **arguments})

    def get(self, path: str, **arguments: Any) -> TestResponse:
        return self("GET", path, **arguments)

    def post(self, path: str, json: Any = None, **arguments: Any) -> TestResponse:
        return self("POST", path, **({"json": json} if json is not None else {}), **arguments)

    def patch(self, path: str, json: Any, **arguments: Any) -> TestResponse:
        return self("PATCH", path, json=json, **arguments)

    def delete(self, path: str, **arguments: Any) -> TestResponse:
        return self("DELETE", path, **arguments)

    def with_token(self, token: str | None) -> Api:
        return Api(self.client, token)


@dataclass(frozen=True)
class Person:
    """A user of an account; `admin` calls with an administrator's token."""

    user: Any
    admin: Api

    def holding(self, scope: Scope) -> Api:
        """The same user with a token of that scope."""
        with db.transaction():
            return self.admin.with_token(tokens.create(self.user, scope, scope.value)[1])


def created(response: TestResponse) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    return response.json


def ok(response: TestResponse) -> Any:
    assert response.status_code == 200, response.text
    return response.json


def refused(response: TestResponse, status: int, error_code: str) -> dict[str, Any]:
    """Check the one error shape, and give its body."""
    body = response.json
    assert (response.status_code, body["error_code"]) == (status, error_code), response.text
    assert list(body) == ["code", "status", "message", "error", "error_code", "errors"]
    assert body["code"] == status and body["error"] == body["message"] and isinstance(body["errors"], dict)
    return body


def empty(response: TestResponse, status: int) -> None:
    assert (response.status_code, response.data) == (status, b""), response.text


def path_of(runner: dict[str, Any], rest: str = "") -> str:
    return f"/agent_runners/{runner['id']}{rest}"


def session_path(runner: dict[str, Any], session_id: str | None = None, rest: str = "") -> str:
    return path_of(runner, f"/sessions/{session_id or runner['latest_session_id']}{rest}")


def patch_of(text: str, file: str = "hello.txt") -> str:
    """A diff that makes a file with one line."""
    return f"diff --git a/{file} b/{file}\nnew file mode 100644\n--- /dev/null\n+++ b/{file}\n@@ -0,0 +1 @@\n+{text}\n"
